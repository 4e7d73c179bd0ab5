package fsm

import (
	"fmt"

	"warren/fsm/access"
	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
)

// Meta is what Raft says of a log entry.
type Meta struct {
	Index uint64 // higher than that of every entry before
	Term  uint64
}

// A Verdict says what became of an entry as a whole.
type Verdict uint8

// The verdicts. Only Applied and Unsequenced entries have results.
const (
	// Applied: it was the next of its epoch, and its commands were carried out
	// or refused one by one.
	Applied Verdict = iota + 1
	// Repeat: its sequence was applied before; nothing was done.
	Repeat
	// Gap: sequences before it were not applied yet; nothing was done.
	Gap
	// Fenced: its epoch is over, or never was; nothing was done.
	Fenced
	// Unsequenced: it belongs to no epoch (EpochOpen, EpochRemove, Tick), and its
	// commands were carried out or refused.
	Unsequenced
)

// String returns the verdict's name in lower case.
func (v Verdict) String() string {
	names := [...]string{"none", "applied", "repeat", "gap", "fenced", "unsequenced"}
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Output is what an entry gave. Apply overwrites it, so one Output can serve
// many entries; the messages that it points to stay valid.
type Output struct {
	Header  command.Header
	Verdict Verdict
	Results []command.Result // one for each command, in order
	// Effects are in order of their commands. Those that time caused, and no command, are
	// first, and belong to command -1.
	Effects []command.Effect
	// Due is a time before which nothing happens by itself, if AnyDue (see Machine.NextDue).
	Due    int64
	AnyDue bool

	Version uint64 // of the machine, see Machine.Version
	// Parameters is another one after each change of the parameters of vhosts. It belongs to this Machine, not to the state.
	Parameters uint64

	// Traced is what happened to messages that are traced, in order; see Machine.Trace. It is no part of what an entry gives: a
	// machine that was restored may know less.
	Traced []TraceEvent
}

// Reset empties the output and keeps its memory.
func (o *Output) Reset() {
	clear(o.Results)
	clear(o.Effects)
	clear(o.Traced)
	*o = Output{Results: o.Results[:0], Effects: o.Effects[:0], Traced: o.Traced[:0]}
}

// Unreadable is the error of Apply when a message could not be read from disk, and the
// value with which other methods panic then.
type Unreadable = queue.Unreadable

// A Machine is the replicated state. Make one with New. Its methods must not be
// called concurrently.
type Machine struct {
	records command.Records
	limit   int64
	node    string // whose clients are served here, see Serve
	state

	// Scratch of Apply.
	out        *Output
	opened     bool // the entry has opened an epoch
	decoded    scratch
	routes     []string
	deadRoutes []string
	budget     queue.Budget // of the entry, for what time and limits do
	message    topology.Message
	seeds      uint64 // given out by seed within the entry

	metaSize, holds int // of the last capture, to make room for the next

	seen Seen

	parameterChanges uint64 // see Output.Parameters

	tracing    *tracer         // nil: no message is traced
	committing command.Channel // of the present commit; zero: there is none
}

// state is what a snapshot holds and Restore replaces.
type state struct {
	store   *queue.Store
	version uint64 // see Version
	index   uint64
	term    uint64
	now     int64  // highest stamp seen, milliseconds
	hash    uint64 // see Hash
	ids     uint64 // the last id given to a queue or consumer
	vhosts  map[string]*vhost
	epochs  map[uint64]*epoch
	ended   []ended // in the order of their removal
	access  *access.State

	strangers bool // an epoch may be no witness; follows from epochs

	limits map[string]limits // of users
	global map[string]string // global parameters: JSON by name
	counts counts
	seeded bool // see command.Seed
}

// scratch are the commands that are decoded again and again.
type scratch struct {
	publish command.Publish
	settle  command.Settle
	credit  command.Credit
}

// New returns a machine that has seen no entry: one vhost, "/", and nothing in
// it but the predeclared exchanges. Messages that a snapshot stored in records may leave
// memory; with nil all stay.
func New(records command.Records) *Machine {
	m := &Machine{records: records, limit: -1, state: newState(records)}
	m.vhosts[defaultVHost] = newVHost(defaultVHost)
	return m
}

func newState(records command.Records) state {
	return state{
		store:   queue.NewStore(records),
		version: firstVersion,
		vhosts:  make(map[string]*vhost),
		epochs:  make(map[uint64]*epoch),
		access:  access.New(),
		limits:  make(map[string]limits),
		global:  make(map[string]string),
		counts:  newCounts(),
	}
}

// SetLimit bounds the memory of messages that are on disk too, in bytes. Messages
// that no snapshot has stored yet stay in memory, and count. Below 0, as at first,
// there is no bound. It has no influence on the state.
func (m *Machine) SetLimit(bytes int64) {
	m.limit = bytes
	m.store.SetLimit(bytes)
}

// Serve says that the clients of one node are served from this machine, and "", as at first, those of
// all: messages that are on disk only are then not read for deliveries to others, whose effects
// have no Message. It has no influence on the state.
func (m *Machine) Serve(node string) {
	m.node = node
	m.serve()
}

// serve tells the store.
func (m *Machine) serve() {
	if m.node == "" {
		m.store.Serve = nil
		return
	}
	m.store.Serve = func(epoch uint64) bool {
		e := m.epochs[epoch]
		return e == nil || e.node == m.node
	}
}

// Resident returns the memory that messages take, in bytes. One that stands in
// several queues counts in each.
func (m *Machine) Resident() int64 { return m.store.Resident() }

// Evict lets go of all messages in memory that are on disk too.
func (m *Machine) Evict() { m.store.Evict() }

// Index returns the index of the last entry applied, of whatever verdict.
func (m *Machine) Index() uint64 { return m.index }

// Now returns the machine's time: the highest stamp seen, in milliseconds since
// the Unix epoch.
func (m *Machine) Now() int64 { return m.now }

// Apply carries out one log entry and writes what came of it to out. The
// machine may keep parts of batch, which nobody may change afterwards.
//
// An error means that the entry cannot be understood: its bytes are damaged, or
// a newer version wrote them. The machine may then have applied a part of it and
// must not be used any more; the node has to stop. The same holds when a message
// cannot be read from disk: then the error is an *Unreadable.
func (m *Machine) Apply(meta Meta, batch []byte, out *Output) (err error) {
	defer func() {
		if p := recover(); p != nil {
			unreadable, ok := p.(*Unreadable)
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("log entry %d: %w", meta.Index, unreadable)
		}
	}()
	out.Reset()
	if meta.Index <= m.index {
		return fmt.Errorf("log entry %d comes after %d", meta.Index, m.index)
	}
	header, commands, err := command.ReadHeader(batch)
	if err != nil {
		return fmt.Errorf("log entry %d: %w", meta.Index, err)
	}
	out.Header = header
	m.out, m.opened, m.seeds = out, false, 0
	m.index, m.term = meta.Index, meta.Term
	m.now = max(m.now, header.Stamp)
	m.passTime()
	if err := m.applyBatch(header, commands); err != nil {
		return fmt.Errorf("log entry %d: %w", meta.Index, err)
	}
	m.foldHash(out)
	m.store.Trim()
	out.Due, out.AnyDue = m.NextDue()
	out.Version, out.Parameters = m.version, m.parameterChanges
	m.out = nil
	return nil
}

func (m *Machine) applyBatch(h command.Header, commands []byte) error {
	m.witness(m.epochs[h.LeaderEpoch])
	e := m.epochs[h.Epoch]
	m.out.Verdict = verdict(h, e)
	switch m.out.Verdict {
	case Applied:
		e.sequence = h.Sequence
		m.witness(e)
	case Unsequenced:
	default:
		return nil
	}
	for i := range h.Count {
		kind, payload, rest, err := command.Next(commands)
		if err != nil {
			return fmt.Errorf("command %d: %w", i, err)
		}
		if err := m.applyCommand(e, kind, payload); err != nil {
			return fmt.Errorf("command %d: %w", i, err)
		}
		commands = rest
	}
	if len(commands) != 0 {
		return fmt.Errorf("%w: %d bytes behind the last command", command.ErrTruncated, len(commands))
	}
	return nil
}

// verdict decides whether a batch is to be applied. e is its epoch, nil when unknown.
func verdict(h command.Header, e *epoch) Verdict {
	switch {
	case h.Epoch == 0:
		return Unsequenced
	case e == nil:
		return Fenced
	case h.Sequence <= e.sequence:
		return Repeat
	case h.Sequence != e.sequence+1:
		return Gap
	default:
		return Applied
	}
}

// applyCommand carries out one command of epoch e, nil for none, and appends
// its result and effects.
func (m *Machine) applyCommand(e *epoch, kind command.Kind, payload []byte) error {
	m.out.Results = append(m.out.Results, command.Result{Kind: kind})
	r := &m.out.Results[len(m.out.Results)-1]
	var err error
	switch kind {
	case command.KindPublish:
		if err = command.Decode(payload, &m.decoded.publish); err == nil && allowed(e, r) {
			m.publish(e, &m.decoded.publish, r)
			m.note(e, r)
		}
	case command.KindSettle:
		if err = command.Decode(payload, &m.decoded.settle); err == nil && allowed(e, r) {
			m.settle(e, &m.decoded.settle)
		}
	case command.KindCredit:
		if err = command.Decode(payload, &m.decoded.credit); err == nil && allowed(e, r) {
			m.credit(e, &m.decoded.credit)
		}
	default:
		err = m.applyRare(e, kind, payload, r)
	}
	if err != nil {
		return err
	}
	m.settleDown()
	return nil
}

// allowed refuses commands that need an epoch in a batch that has none.
func allowed(e *epoch, r *command.Result) bool {
	if e == nil {
		r.Err = refuse(commandInvalid, "a command of this kind needs an epoch")
	}
	return e != nil
}

// applyRare carries out the kinds of command that need not be fast.
func (m *Machine) applyRare(e *epoch, kind command.Kind, payload []byte, r *command.Result) error {
	cmd := command.New(kind)
	if cmd == nil {
		return fmt.Errorf("%w: %d", command.ErrKind, kind)
	}
	if err := command.Decode(payload, cmd); err != nil {
		return err
	}
	if c, ok := cmd.(*command.Upgrade); ok {
		return m.upgrade(e, c, r)
	}
	if m.applyToEpochs(e, cmd, r) || !allowed(e, r) || m.applyToVHosts(e, cmd, r) || m.applyToAccess(cmd, r) || m.applyToParameters(cmd, r) {
		return nil
	}
	switch c := cmd.(type) {
	case *command.ConnectionClose:
		m.closeConnection(e, c.Conn)
	case *command.ChannelClose:
		m.closeChannel(e, c.Channel)
	case *command.ExchangeDeclare:
		r.Err = m.declareExchange(c)
	case *command.PolicyPut:
		r.Err = m.putPolicy(c)
	case *command.PolicyClear:
		r.Err = m.clearPolicy(c)
	case *command.ExchangeDelete:
		r.Err = m.deleteExchange(c)
	case *command.Bind:
		r.Err = m.bind(e, &c.Binding, false)
	case *command.Unbind:
		r.Err = m.bind(e, &c.Binding, true)
	case *command.QueueDeclare:
		r.Err = m.declareQueue(e, c, r)
	case *command.QueueDelete:
		r.Err = m.deleteQueue(e, c, r)
	case *command.QueuePurge:
		r.Err = m.purgeQueue(e, c, r)
	case *command.Consume:
		r.Err = m.consume(e, c)
	case *command.Cancel:
		m.cancel(e, c)
	case *command.Get:
		r.Err = m.get(e, c, r)
	case *command.Qos:
		m.qos(e, c)
	case *command.Recover:
		m.recover(e, c.Channel)
	case *command.Commit:
		return m.commit(e, c, r)
	case *command.DelayedCancel:
		r.Err = m.cancelDelayed(c)
	case *command.Move:
		r.Err = m.move(e, c, r)
	case *command.Emit:
		m.emit(c)
	default:
		return fmt.Errorf("%w: %d", command.ErrKind, kind)
	}
	return nil
}

// applyToEpochs carries out the commands that travel outside epochs, and tells
// whether cmd is one.
func (m *Machine) applyToEpochs(e *epoch, cmd command.Command, r *command.Result) bool {
	switch c := cmd.(type) {
	case *command.EpochOpen:
		if e != nil {
			r.Err = refuse(commandInvalid, "epoch.open within an epoch")
		} else {
			r.Err = m.openEpoch(c)
		}
	case *command.EpochRemove:
		if e != nil {
			r.Err = refuse(commandInvalid, "epoch.remove within an epoch")
		} else {
			m.endEpoch(m.epochs[c.Epoch])
		}
	case *command.Tick:
	default:
		return false
	}
	return true
}

// effect appends an effect of the present command.
func (m *Machine) effect(e command.Effect) {
	e.Command = len(m.out.Results) - 1
	m.out.Effects = append(m.out.Effects, e)
}

// sink is the machine as it takes deliveries.
type sink Machine

// Deliver makes an effect of a delivery.
func (s *sink) Deliver(c *queue.Consumer, ordinal uint64, redelivered bool, tries queue.Tries, msg *command.Message, size uint32) {
	(*Machine)(s).effect(command.Effect{
		Kind: command.EffectDeliver, To: c.Channel.Owner,
		Tag: c.Spec.Tag, Queue: c.Queue.Spec.Name,
		Ordinal: ordinal, Redelivered: redelivered, More: c.Queue.Ready() > 0, Acquired: tries.Acquired, Failed: tries.Failed, Size: size, Message: msg,
	})
}
