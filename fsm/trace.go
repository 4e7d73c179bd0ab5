package fsm

import (
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// A Trace says which messages of a vhost to follow. All that it names has to fit: see DESIGN.md, "Traces".
type Trace struct {
	ID    string // tells it from all others, also from others of its name
	VHost string
	Queue string // that they come to; "": any, and none
	Key   string // pattern of their routing key, as of a topic exchange; "": any
	// Filter is what they are like otherwise. Its ByKey is not looked at.
	command.Filter
	MessageID string // property of the message; "": any
	Until     int64  // nothing is told from then on; milliseconds since the Unix epoch
	Messages  int    // most to follow
}

// A TraceEvent is one thing that happened to a message that a Trace follows.
type TraceEvent struct {
	Trace   string `json:"trace"` // its ID
	Index   uint64 `json:"index"` // of the log entry
	Number  int    `json:"n"`     // among the events of the entry
	Command int    `json:"c"`     // of the entry; below 0: none, but that time passed
	Time    int64  `json:"at"`    // the machine's, in milliseconds since the Unix epoch
	Event   Event  `json:"event"`
	// Message is the machine's name of the message, the same in all queues that it comes to: where in the log it came
	// from, or the place where it was first met.
	Message   string `json:"message"`
	MessageID string `json:"message_id,omitempty"` // property of the message, cut off if it is long

	Exchange string `json:"exchange,omitempty"`
	Key      string `json:"key,omitempty"`
	Size     int    `json:"size,omitempty"`    // of the body, in bytes
	Default  bool   `json:"default,omitempty"` // Exchange is told, and is the default one

	Queue    string `json:"queue,omitempty"`
	QueueID  uint64 `json:"queue_id,omitempty"`
	Sequence uint64 `json:"seq,omitempty"` // that the message has in the queue

	Queues []string   `json:"queues,omitempty"` // that it goes to, the first hundred
	Hops   []TraceHop `json:"hops,omitempty"`   // why; none where there are too many bindings to look at
	Reason string     `json:"reason,omitempty"`
	Until  int64      `json:"until,omitempty"` // when it goes on, as Time

	// The client that has to do with it. Conn is 0 for none, and where the log does not say: it does not
	// say who publishes.
	Epoch   uint64 `json:"epoch,omitempty"`
	Conn    uint64 `json:"conn,omitempty"`
	Channel uint16 `json:"channel,omitempty"`
	Node    string `json:"node,omitempty"` // name of the one that serves it

	Tag         string `json:"tag,omitempty"`     // of the consumer
	Ordinal     uint64 `json:"ordinal,omitempty"` // see command.Effect
	Redelivered bool   `json:"redelivered,omitempty"`
	Acquired    uint32 `json:"acquired,omitempty"` // see command.Effect
	Failed      uint32 `json:"failed,omitempty"`
}

// A TraceHop is a topology.Hop.
type TraceHop struct {
	Why         topology.HopReason `json:"why"`
	Source      string             `json:"source"`
	Destination string             `json:"destination"`
	ToExchange  bool               `json:"to_exchange,omitempty"`
	Key         string             `json:"key"`
	Args        []byte             `json:"args,omitempty"` // as wire.AppendTable writes them
}

// An Event names what happened to a message.
type Event string

// What happens to messages.
const (
	EventPublished    Event = "published"     // by a client; Queues and Hops tell where to
	EventRefused      Event = "refused"       // the publish was refused: Reason
	EventUnroutable   Event = "unroutable"    // no queue is there for it: it is gone, or returned to its publisher
	EventDuplicate    Event = "duplicate"     // the exchange or the queue has had it, and drops it
	EventFull         Event = "full"          // the queue is full, and refused it
	EventDelayed      Event = "delayed"       // it is to be routed later
	EventRouted       Event = "routed"        // its delay is over: Queues and Hops
	EventQueued       Event = "queued"        // it is in the queue
	EventFound        Event = "found"         // it was there before the trace was
	EventDelivered    Event = "delivered"     // to a consumer
	EventGot          Event = "got"           // by basic.get
	EventAcked        Event = "acked"         // it is done with
	EventRequeued     Event = "requeued"      // it came back
	EventRejected     Event = "rejected"      // by the client, and leaves the queue
	EventWaiting      Event = "waiting"       // it came back, and is given out again at Until
	EventParked       Event = "parked"        // it came back too often, and is kept for an operator
	EventDeadLettered Event = "dead_lettered" // it left the queue for Reason: Exchange, Key, Queues and Hops tell where to
	EventDropped      Event = "dropped"       // it left the queue for Reason, and is gone
	EventMoved        Event = "moved"         // by an operator, to Queues
	EventPurged       Event = "purged"
	EventQueueDeleted Event = "queue_deleted" // it is gone with its queue
)

const (
	// traceHops is how many steps of a way are told.
	traceHops = 50
	// traceBindings is how many bindings a vhost may have for the way of a message to be looked at: the machine waits
	// meanwhile.
	traceBindings = 20_000
	// tracePlaces is in how many places a trace follows one message, on average.
	tracePlaces = 20
	// traceQueues is how many of the queues that a message goes to are told in one event.
	traceQueues = 100
	// traceArgs is how many bytes of arguments of bindings are told in one event; those that do not fit are left out.
	traceArgs = 16 << 10
	// traceIDs is how many bytes of a message-id are told.
	traceIDs = 128
)

// Trace says which messages to follow: what happens to them is told in Output.Traced. One that was there before goes on. Like
// Serve it has no influence on the state, and begins with the next entry.
func (m *Machine) Trace(traces []Trace) {
	old := m.tracing
	m.tracing, m.store.Watch = nil, nil
	if len(traces) == 0 {
		return
	}
	m.tracing = &tracer{m: m}
	for i := range traces {
		f := &follower{Trace: traces[i], places: make(map[place]*standing), ids: make(map[string]bool)}
		if old != nil {
			for _, known := range old.all {
				if known.ID == f.ID {
					f.places, f.ids, f.count = known.places, known.ids, known.count
				}
			}
		}
		m.tracing.all = append(m.tracing.all, f)
	}
	m.store.Watch = m.tracing
}

// restoreTraces forgets where messages stand, as the state is another.
func (m *Machine) restoreTraces() {
	if m.tracing == nil {
		return
	}
	for _, f := range m.tracing.all {
		clear(f.places)
	}
	m.store.Watch = m.tracing
}

// A tracer follows messages for all traces. It looks on, as queue.Watcher: it is no part of the state.
type tracer struct {
	m       *Machine
	all     []*follower
	current []subject // of whom it is told in which queues they are put next

	until   int64         // when what is delayed now is due
	getting command.Owner // the channel of the present basic.get

	entry, publishes uint64 // the present one, and how many publishes it has brought: see begin
}

// A follower is a trace, and where its messages are.
type follower struct {
	Trace
	places map[place]*standing
	ids    map[string]bool // message-ids of those that it follows: a copy that is published again belongs to them
	count  int             // messages followed so far
}

// A place is where a message stands.
type place struct{ queue, sequence uint64 }

// A standing is a message that stands in a queue.
type standing struct {
	name, id string // TraceEvent.Message and MessageID
	lent     bool
}

// A subject is a message that a trace follows, on its way.
type subject struct {
	*follower
	name, id string
	crowded  bool // it was told that it is in too many queues
}

// tell adds an event about a subject.
func (t *tracer) tell(s subject, e TraceEvent) {
	out := t.m.out
	e.Trace, e.Message, e.MessageID = s.ID, s.name, s.id
	e.Index, e.Time, e.Command, e.Number = t.m.index, t.m.now, len(out.Results)-1, len(out.Traced)
	out.Traced = append(out.Traced, e)
}

// tellAll adds an event about all current subjects.
func (t *tracer) tellAll(e TraceEvent) {
	for _, s := range t.current {
		t.tell(s, e)
	}
}

// alive reports whether a trace still tells.
func (f *follower) alive(now int64) bool { return now < f.Until }

// wants reports whether a trace is to follow a message that it does not know yet. goes reports whether it comes to a queue.
func (f *follower) wants(msg *command.Message, id string, goes func(queue string) bool) bool {
	switch {
	case f.count >= f.Messages:
		return false
	case id != "" && f.ids[id]:
		return true
	case f.ByExchange && f.Exchange != msg.Exchange:
		return false
	}
	if f.Key != "" && !topology.KeyMatches(f.Key, string(msg.Key)) || f.MessageID != "" && f.MessageID != id || f.Queue != "" && !goes(f.Queue) {
		return false
	}
	filter := f.Filter
	filter.ByExchange, filter.ByKey = false, false
	return filter.Matches(msg)
}

// follow begins to follow a message.
func (f *follower) follow(name, id string) subject {
	f.count++
	if id != "" {
		f.ids[id] = true
	}
	if len(id) > traceIDs {
		id = id[:traceIDs]
	}
	return subject{follower: f, name: name, id: id}
}

func messageID(properties []byte) string {
	id, _ := wire.ShortProperty(properties, wire.FlagMessageID)
	return string(id)
}
