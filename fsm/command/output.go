package command

// A Message is a published message. It is not changed once made: queues, effects
// and results share it.
type Message struct {
	Exchange   string
	Key        []byte // routing key
	Properties []byte // property list as published
	Body       []byte // content; the machine never looks inside
}

// An Error is a command refused, in AMQP's terms. Text is RabbitMQ's explanation
// without the leading name of the code: "no queue 'q' in vhost '/'".
type Error struct {
	Code uint16 // AMQP reply code: 403, 404, 405, 406, 530, 540, 541 …
	Text string
}

// Error makes *Error an error.
func (e *Error) Error() string { return e.Text }

// A Result answers one command, on the node that proposed it.
type Result struct {
	Kind Kind
	Err  *Error // nil: done

	// Lost says that the command is known not to have happened, or happened
	// unseen (its answer was skipped by a snapshot: then Applied is set too), or that nobody can
	// tell (a snapshot skipped it, and the epoch that it belonged to: then Unsure is set too). With Applied
	// Unsure says that a publish may have been refused, rejected or returned; without it, it is done.
	Lost, Applied, Unsure bool

	Unroutable  bool   // Publish: no queue took it
	Rejected    bool   // Publish: a queue that it was for is full and refused it; Move: it ended at such a queue
	Name        string // QueueDeclare: the queue's name
	Messages    uint32 // QueueDeclare: ready; QueueDelete, QueuePurge: removed; Get: left ready; Move: moved
	Consumers   uint32 // QueueDeclare
	Ordinal     uint64 // Get without NoAck: see Effect.Ordinal
	Redelivered bool   // Get
	Acquired    uint32 // Get: see Effect
	Failed      uint32 // Get: see Effect

	Kept uint32 // Move: messages that matched and stayed, as no queue took them
	Next uint64 // Move: sequence of the message at which to go on, 0 when none is left

	// Message is what Get found (nil: the queue is empty), or a mandatory
	// Publish that was unroutable. Valid for as long as it is referred to.
	Message *Message

	// Returned are the mandatory messages of a Commit that no queue took, in order.
	Returned []*Message
}

// A Waiter is who waits for the result of a command; To is nil when nobody does.
type Waiter struct {
	To    Receiver
	Token uint64
}

// EffectKind says what an effect asks for.
type EffectKind uint8

// The kinds of effect.
const (
	// EffectDeliver: send Message to the consumer Tag on the channel To.
	EffectDeliver EffectKind = iota + 1
	// EffectCancel: the consumer Tag on the channel To was ended by the broker
	// (its queue went).
	EffectCancel
	// EffectEpochOpened: Node's epoch To.Epoch began, as Nonce asked for.
	EffectEpochOpened
	// EffectEpochRemoved: the epoch To.Epoch of Node is over.
	EffectEpochRemoved

	// EffectOverdue: the client of the channel To has kept a delivery of Queue for longer than Nonce
	// milliseconds without settling it, and it was taken back. The consumer Tag was ended; an empty
	// Tag says that it was basic.get's, or of a consumer that its client had ended.
	EffectOverdue EffectKind = 26

	// EffectAccess: users or what they may do have changed. For every node.
	EffectAccess EffectKind = 50
)

// An Effect is something that a node must do because of an applied command.
type Effect struct {
	Kind    EffectKind
	Command int // index in its batch of the command that caused it
	To      Owner

	Tag   string // consumer tag; of EffectVHostDeleted the vhost
	Queue string
	// Ordinal numbers the deliveries of a channel that have to be settled:
	// 1, 2, 3 … in the order of the effects, gets included. 0 for a consumer
	// without acknowledgements.
	Ordinal     uint64
	Redelivered bool
	More        bool   // of a delivery: other messages of the queue were ready behind it
	Acquired    uint32 // times that the message was given out before, and came back
	Failed      uint32 // of those, the ones that count for the delivery limit
	Size        uint32 // of the body of Message
	// Message is nil in a delivery to another node's client, if it is not in memory (see
	// fsm.Machine.Serve).
	Message *Message

	Node  string
	Nonce uint64
}

// A Receiver is the part of a session that takes what the log brings for it:
// results of its commands and effects on its channels, in log order. Its methods
// are called from the goroutine that applies the log and must not block; Result also from
// the one that proposes, for a command that is refused before it gets in the log. The
// arguments are valid during the call only; what they point to stays valid.
type Receiver interface {
	Result(token uint64, r *Result)
	Effect(e *Effect)
	// EpochLost says that the cluster removed the epoch in which the session's
	// consumers, unsettled deliveries and exclusive queues lived: they are gone.
	EpochLost()
	// Restored says that a snapshot took the place of log entries whose effects
	// were not seen, and what the session's channels are now (nil: nothing is
	// known of the connection, as it has no consumer, delivery or exclusive queue).
	Restored(c *ConnState)
}

// ConnState is what the machine holds of one connection.
type ConnState struct {
	Conn      uint64
	Exclusive []string // names of its exclusive queues, sorted
	Channels  []ChannelState
}

// ChannelState is what the machine holds of one channel.
type ChannelState struct {
	Number    uint16
	Ordinal   uint64 // the last one given out
	Consumers []ConsumerState
	Unsettled []Effect // EffectDeliver, and gets with an empty Tag, by ordinal
}

// ConsumerState is what the machine holds of one consumer.
type ConsumerState struct {
	Tag       string
	Queue     string
	Delivered uint64 // deliveries since it began
	Limit     uint64 // see Credit
}
