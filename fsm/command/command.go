// Package command is the vocabulary of the state machine: the commands that
// nodes put in the Raft log, the results and effects that applying them gives,
// and the encoding of a batch, which is one log entry.
//
// Numbers of kinds and the meaning of their bytes never change; new ones are
// appended. A node that meets a number that it does not know must stop rather
// than guess (see fsm.Machine.Apply).
//
// The package is pure data: it routes nothing and keeps nothing.
package command

import "warren/protocol/wire"

// Kind numbers a command in the log.
type Kind uint8

// The kinds of command. Only ever append.
const (
	KindEpochOpen       Kind = 1
	KindEpochRemove     Kind = 2
	KindTick            Kind = 3
	KindConnectionClose Kind = 4
	KindChannelClose    Kind = 5
	KindExchangeDeclare Kind = 6
	KindExchangeDelete  Kind = 7
	KindBind            Kind = 8
	KindUnbind          Kind = 9
	KindQueueDeclare    Kind = 10
	KindQueueDelete     Kind = 11
	KindQueuePurge      Kind = 12
	KindPublish         Kind = 13
	KindSettle          Kind = 14
	KindConsume         Kind = 15
	KindCancel          Kind = 16
	KindGet             Kind = 17
	KindCredit          Kind = 18
	KindQos             Kind = 19
	KindRecover         Kind = 20
	KindCommit          Kind = 21
	KindUpgrade         Kind = 22
)

// Kinds that came later have numbers by their subject.
const (
	KindDelayedCancel Kind = 30
)

// A Command is one change of broker state. The concrete types are the structs
// of this file, used by pointer so that a caller may reuse one.
type Command interface {
	Kind() Kind
	// Append appends the command's payload: what stands behind kind and length.
	Append(dst []byte) []byte
	// decode fills the command from a payload. Byte slices alias it.
	decode(c *cursor)
}

// A Channel names an AMQP channel within an epoch. Conn is unique in the epoch
// (a node numbers its connections and never reuses a number); number 0 stands
// for the connection itself, as in AMQP.
type Channel struct {
	Conn   uint64
	Number uint16
}

// An Owner names a channel in the cluster.
type Owner struct {
	Epoch uint64
	Channel
}

// EpochOpen begins a new epoch of a node and ends the one it had. It travels in
// a batch of epoch 0. The new epoch's number is the index of the log entry, so
// epochs are unique in the cluster and grow. Opening again with the same nonce
// changes nothing and answers with the same epoch.
type EpochOpen struct {
	Node  string // node id, as in the Raft configuration
	Name  string // node name, for people
	Nonce uint64 // random, one per attempt to open
}

// EpochRemove ends an epoch: its consumers and exclusive queues go, what it held
// unacknowledged returns to the queues, marked redelivered. Later batches of the
// epoch are refused whole. An epoch that is already gone is left alone.
type EpochRemove struct{ Epoch uint64 }

// Tick carries nothing but its batch's stamp: time passes.
type Tick struct{}

// ConnectionClose ends a connection: its channels close, its exclusive queues go.
type ConnectionClose struct{ Conn uint64 }

// ChannelClose ends a channel: its consumers go, what it held unacknowledged
// returns to the queues, marked redelivered.
type ChannelClose struct{ Channel }

// ExchangeDeclare is exchange.declare. Conn and Type are ignored when Passive.
type ExchangeDeclare struct {
	VHost, Name, Type                      string
	Passive, Durable, AutoDelete, Internal bool
	Args                                   wire.Table
}

// ExchangeDelete is exchange.delete.
type ExchangeDelete struct {
	VHost, Name string
	IfUnused    bool
}

// Binding is what queue.bind, queue.unbind, exchange.bind and exchange.unbind name.
type Binding struct {
	VHost       string
	Conn        uint64 // who asks: an exclusive queue answers only to its own
	Source      string
	Destination string
	ToExchange  bool // Destination is an exchange
	Key         string
	Args        wire.Table
}

// Bind is queue.bind or exchange.bind. Binding twice is one binding.
type Bind struct{ Binding }

// Unbind is queue.unbind or exchange.unbind. A binding that is not there is fine.
type Unbind struct{ Binding }

// QueueDeclare is queue.declare. The session has made the name where the client
// left it out; Generated tells that, and lifts the ban on names that begin with
// "amq.". Args are the client's.
type QueueDeclare struct {
	VHost                                              string
	Conn                                               uint64
	Name                                               string
	Passive, Durable, Exclusive, AutoDelete, Generated bool
	Args                                               wire.Table
}

// QueueDelete is queue.delete.
type QueueDelete struct {
	VHost             string
	Conn              uint64
	Name              string
	IfUnused, IfEmpty bool
}

// QueuePurge is queue.purge.
type QueuePurge struct {
	VHost string
	Conn  uint64
	Name  string
}

// Publish is basic.publish with its content. Properties is the property list as
// it stood in the content header: flags word and values. All slices of a decoded
// Publish alias the batch.
type Publish struct {
	VHost, Exchange, Key []byte
	Mandatory            bool
	// Keyed says that the headers CC and BCC are arrays of further routing keys, and
	// that BCC is to be removed (https://www.rabbitmq.com/docs/sender-selected). A
	// message without these headers need not be looked through for them.
	Keyed      bool
	Properties []byte
	Body       []byte
}

// Outcome says what becomes of a settled delivery.
type Outcome uint8

// The outcomes of a delivery.
const (
	Ack     Outcome = 0 // the message is done with
	Requeue Outcome = 1 // back to its original place, marked redelivered
	Reject  Outcome = 2 // dead-lettered, or dropped
	// Return is Requeue by a client that did not fail with the message: basic.nack. It must not be
	// proposed before version 3 of the machine.
	Return Outcome = 3
)

// Settle settles the unsettled deliveries of a channel with ordinals From to To,
// both included (see Effect.Ordinal). Ordinals that are already settled, or
// never were, are passed over.
type Settle struct {
	Channel
	From, To uint64
	Outcome  Outcome
}

// Consume is basic.consume. The tag is never empty, and the session has made
// sure that it is new on the channel.
type Consume struct {
	VHost string
	Channel
	Queue, Tag       string
	NoAck, Exclusive bool
	Prefetch         uint32 // most unacknowledged deliveries; 0: no limit
	Limit            uint64 // see Credit; the consumer's first limit
	Args             wire.Table
}

// Cancel is basic.cancel. Deliveries in flight stay unacknowledged.
type Cancel struct {
	Channel
	Tag string
}

// Get is basic.get.
type Get struct {
	VHost string
	Channel
	Queue string
	NoAck bool
}

// Credit raises the number of deliveries that a consumer may have been given
// since it began. A session raises it as it writes deliveries to the socket, so
// that consumers without acknowledgements or with a large prefetch do not
// make a node hold a whole queue for a slow client. A lower limit than the
// present one is passed over, and so is a consumer that is gone.
type Credit struct {
	Channel
	Tag   string
	Limit uint64
}

// Qos sets the channel-wide prefetch: basic.qos with global=true. The consumers'
// own prefetch is part of Consume. 0: no limit.
type Qos struct {
	Channel
	Prefetch uint32
}

// Recover is basic.recover with requeue=true: all that is unacknowledged on the
// channel goes back to its original place, marked redelivered.
type Recover struct{ Channel }

// Commit is tx.commit: its commands happen together or, when one would be
// refused, not at all. They are Publish and Settle only.
type Commit struct {
	VHost string
	Channel
	Commands []byte // encoded with AppendCommand, one behind the other
}

// Upgrade raises the version of the machine: what the commands that were there before it
// do may depend on it (see fsm.Version). It travels in a batch of epoch 0, and is proposed when all
// members of the cluster know the version; one that does not must stop at this command.
// A version that the machine has, or a lower one, changes nothing.
type Upgrade struct{ Version uint64 }

// DelayedCancel takes out a message that is not routed yet. It is refused when there is none
// with that id: it was routed, or cancelled, before.
type DelayedCancel struct {
	VHost string
	ID    uint64
}

func (*DelayedCancel) Kind() Kind { return KindDelayedCancel }

func (*EpochOpen) Kind() Kind       { return KindEpochOpen }
func (*EpochRemove) Kind() Kind     { return KindEpochRemove }
func (*Tick) Kind() Kind            { return KindTick }
func (*ConnectionClose) Kind() Kind { return KindConnectionClose }
func (*ChannelClose) Kind() Kind    { return KindChannelClose }
func (*ExchangeDeclare) Kind() Kind { return KindExchangeDeclare }
func (*ExchangeDelete) Kind() Kind  { return KindExchangeDelete }
func (*Bind) Kind() Kind            { return KindBind }
func (*Unbind) Kind() Kind          { return KindUnbind }
func (*QueueDeclare) Kind() Kind    { return KindQueueDeclare }
func (*QueueDelete) Kind() Kind     { return KindQueueDelete }
func (*QueuePurge) Kind() Kind      { return KindQueuePurge }
func (*Publish) Kind() Kind         { return KindPublish }
func (*Settle) Kind() Kind          { return KindSettle }
func (*Consume) Kind() Kind         { return KindConsume }
func (*Cancel) Kind() Kind          { return KindCancel }
func (*Get) Kind() Kind             { return KindGet }
func (*Credit) Kind() Kind          { return KindCredit }
func (*Qos) Kind() Kind             { return KindQos }
func (*Recover) Kind() Kind         { return KindRecover }
func (*Commit) Kind() Kind          { return KindCommit }
func (*Upgrade) Kind() Kind         { return KindUpgrade }

// Integer returns an argument that is an integer, of whatever width; false if it is none, or not there.
func Integer(args wire.Table, name string) (int64, bool) {
	v, _ := args.Get(name)
	return wire.Int(v)
}
