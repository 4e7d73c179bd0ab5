package command

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A batch is one log entry:
//
//	offset  size
//	     0     1  version, 1
//	     1     1  zero
//	     2     8  stamp: milliseconds since the Unix epoch, written by the leader; before it 1 in
//	              a batch that may wait for company (Patient)
//	    10     8  the leader's own epoch, 0 before it has one; written by the leader
//	    18     8  epoch of the proposing node, 0 for EpochOpen, EpochRemove and Tick
//	    26     8  sequence of the batch in that epoch: 1, 2, 3 …
//	    34     4  number of commands
//	    38        commands: kind (1), length of the payload (4), payload
//
// Integers of the header and lengths of commands are big endian; inside payloads
// they are unsigned varints.
const (
	// BatchHeader is the length of a batch without commands.
	BatchHeader = 38

	batchVersion  = 1
	stampAt       = 2
	leaderEpochAt = 10
	epochAt       = 18
	sequenceAt    = 26
	countAt       = 34
	commandsAt    = BatchHeader
	commandHeader = 5
)

// Errors of decoding a batch. Each means that the log holds bytes that this
// version did not write or does not know; a node must stop on them.
var (
	ErrVersion   = errors.New("batch of an unknown version")
	ErrKind      = errors.New("command of an unknown kind")
	ErrTruncated = errors.New("truncated batch")
)

// NewBatch appends the header of an empty batch to dst, which should be empty.
func NewBatch(dst []byte, epoch, sequence uint64) []byte {
	var h [commandsAt]byte
	h[0] = batchVersion
	binary.BigEndian.PutUint64(h[epochAt:], epoch)
	binary.BigEndian.PutUint64(h[sequenceAt:], sequence)
	return append(dst, h[:]...)
}

// AppendToBatch appends a command to a batch and counts it.
func AppendToBatch(batch []byte, cmd Command) []byte {
	return Counted(AppendCommand(batch, cmd))
}

// Counted counts a command that AppendCommand has put behind a batch.
func Counted(batch []byte) []byte {
	n := binary.BigEndian.Uint32(batch[countAt:])
	binary.BigEndian.PutUint32(batch[countAt:], n+1)
	return batch
}

// AppendEncoded appends a command that Next split off another batch, and counts it.
func AppendEncoded(batch []byte, kind Kind, payload []byte) []byte {
	batch = append(batch, byte(kind), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(batch[len(batch)-4:], uint32(len(payload)))
	batch = append(batch, payload...)
	n := binary.BigEndian.Uint32(batch[countAt:])
	binary.BigEndian.PutUint32(batch[countAt:], n+1)
	return batch
}

// AppendCommand appends one command: kind, length, payload.
func AppendCommand(dst []byte, cmd Command) []byte {
	at := len(dst)
	dst = append(dst, byte(cmd.Kind()), 0, 0, 0, 0)
	dst = cmd.Append(dst)
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-commandHeader))
	return dst
}

// Stamp writes the leader's clock (milliseconds since the Unix epoch) and own
// epoch into a batch that is about to be put in the log.
func Stamp(batch []byte, ms int64, leaderEpoch uint64) {
	binary.BigEndian.PutUint64(batch[stampAt:], uint64(ms))
	binary.BigEndian.PutUint64(batch[leaderEpochAt:], leaderEpoch)
}

// patience is the stamp, before the leader's, of a batch that may wait. A leader that does not know
// of it writes its own over it.
const patience = 1

// Patient marks a batch that has no stamp yet as one that nobody waits for: the leader may let it
// wait a little, to take the way through the log together with the next.
func Patient(batch []byte) { binary.BigEndian.PutUint64(batch[stampAt:], patience) }

// IsPatient reports whether a batch that is about to be put in the log may wait a little.
func IsPatient(batch []byte) bool {
	return len(batch) >= BatchHeader && binary.BigEndian.Uint64(batch[stampAt:]) == patience
}

// SetSequence changes epoch and sequence of a batch that was not applied.
func SetSequence(batch []byte, epoch, sequence uint64) {
	binary.BigEndian.PutUint64(batch[epochAt:], epoch)
	binary.BigEndian.PutUint64(batch[sequenceAt:], sequence)
}

// Header is what a batch says of itself.
type Header struct {
	Stamp       int64  // milliseconds since the Unix epoch
	LeaderEpoch uint64 // epoch of the leader's process, 0 when it had none yet
	Epoch       uint64
	Sequence    uint64
	Count       int
}

// ReadHeader checks and reads the header of a batch and returns the commands.
func ReadHeader(batch []byte) (h Header, commands []byte, err error) {
	if len(batch) < commandsAt {
		return h, nil, ErrTruncated
	}
	if batch[0] != batchVersion || batch[1] != 0 {
		return h, nil, fmt.Errorf("%w: %d.%d", ErrVersion, batch[0], batch[1])
	}
	h.Stamp = int64(binary.BigEndian.Uint64(batch[stampAt:]))
	h.LeaderEpoch = binary.BigEndian.Uint64(batch[leaderEpochAt:])
	h.Epoch = binary.BigEndian.Uint64(batch[epochAt:])
	h.Sequence = binary.BigEndian.Uint64(batch[sequenceAt:])
	h.Count = int(binary.BigEndian.Uint32(batch[countAt:]))
	return h, batch[commandsAt:], nil
}

// Next splits the first command off commands: its kind and payload, and the rest.
func Next(commands []byte) (kind Kind, payload, rest []byte, err error) {
	if len(commands) < commandHeader {
		return 0, nil, nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint32(commands[1:]))
	if n > len(commands)-commandHeader {
		return 0, nil, nil, ErrTruncated
	}
	return Kind(commands[0]), commands[commandHeader : commandHeader+n], commands[commandHeader+n:], nil
}

// Decode fills cmd, which must be of the payload's kind. Byte slices of the
// command alias the payload, strings are copies.
func Decode(payload []byte, cmd Command) error {
	// The frequent kinds are called by their type, not through the interface, so
	// that the cursor stays on the stack.
	switch m := cmd.(type) {
	case *Publish:
		c := cursor{b: payload}
		m.decode(&c)
		return c.finish(KindPublish)
	case *Settle:
		c := cursor{b: payload}
		m.decode(&c)
		return c.finish(KindSettle)
	case *Credit:
		c := cursor{b: payload}
		m.decode(&c)
		return c.finish(KindCredit)
	}
	c := cursor{b: payload}
	cmd.decode(&c)
	return c.finish(cmd.Kind())
}

// finish returns the error of decoding a command; bytes left over are one.
func (c *cursor) finish(kind Kind) error {
	if c.err != nil {
		return fmt.Errorf("command of kind %d: %w", kind, c.err)
	}
	if len(c.b) != 0 {
		return fmt.Errorf("command of kind %d: %w: %d bytes too many", kind, ErrTruncated, len(c.b))
	}
	return nil
}

// New returns an empty command of the kind, nil when the kind is unknown.
func New(kind Kind) Command {
	if int(kind) >= len(makers) || makers[kind] == nil {
		return nil
	}
	return makers[kind]()
}

var makers = [...]func() Command{
	KindEpochOpen:       func() Command { return new(EpochOpen) },
	KindEpochRemove:     func() Command { return new(EpochRemove) },
	KindTick:            func() Command { return new(Tick) },
	KindConnectionClose: func() Command { return new(ConnectionClose) },
	KindChannelClose:    func() Command { return new(ChannelClose) },
	KindExchangeDeclare: func() Command { return new(ExchangeDeclare) },
	KindExchangeDelete:  func() Command { return new(ExchangeDelete) },
	KindBind:            func() Command { return new(Bind) },
	KindUnbind:          func() Command { return new(Unbind) },
	KindQueueDeclare:    func() Command { return new(QueueDeclare) },
	KindQueueDelete:     func() Command { return new(QueueDelete) },
	KindQueuePurge:      func() Command { return new(QueuePurge) },
	KindPublish:         func() Command { return new(Publish) },
	KindSettle:          func() Command { return new(Settle) },
	KindConsume:         func() Command { return new(Consume) },
	KindCancel:          func() Command { return new(Cancel) },
	KindGet:             func() Command { return new(Get) },
	KindCredit:          func() Command { return new(Credit) },
	KindQos:             func() Command { return new(Qos) },
	KindRecover:         func() Command { return new(Recover) },
	KindCommit:          func() Command { return new(Commit) },
	KindUpgrade:         func() Command { return new(Upgrade) },
	KindPolicyPut:       func() Command { return new(PolicyPut) },
	KindPolicyClear:     func() Command { return new(PolicyClear) },
	KindDelayedCancel:   func() Command { return new(DelayedCancel) },

	KindUserPut:              func() Command { return new(UserPut) },
	KindUserDelete:           func() Command { return new(UserDelete) },
	KindPermissionSet:        func() Command { return new(PermissionSet) },
	KindPermissionClear:      func() Command { return new(PermissionClear) },
	KindTopicPermissionSet:   func() Command { return new(TopicPermissionSet) },
	KindTopicPermissionClear: func() Command { return new(TopicPermissionClear) },
	KindAccessInit:           func() Command { return new(AccessInit) },
	KindVHostPut:             func() Command { return new(VHostPut) },
	KindVHostDelete:          func() Command { return new(VHostDelete) },
	KindVHostLimits:          func() Command { return new(VHostLimits) },
	KindUserLimits:           func() Command { return new(UserLimits) },
	KindConnectionOpen:       func() Command { return new(ConnectionOpen) },
	KindChannelOpen:          func() Command { return new(ChannelOpen) },
	KindSeed:                 func() Command { return new(Seed) },
	KindMove:                 func() Command { return new(Move) },
	KindEmit:                 func() Command { return new(Emit) },
	KindParameterPut:         func() Command { return new(ParameterPut) },
	KindParameterClear:       func() Command { return new(ParameterClear) },
	KindGlobalParameterPut:   func() Command { return new(GlobalParameterPut) },
	KindGlobalParameterClear: func() Command { return new(GlobalParameterClear) },
}
