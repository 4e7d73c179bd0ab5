package fsm

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// begin makes the current subjects those that traces want to follow of a message that a client has published, on its way to some
// queues. It is to be called for each publish, in order: how many of them an entry has brought is what messages are named by.
func (t *tracer) begin(vhost string, msg *command.Message, names []string) bool {
	t.current = t.current[:0]
	if t.entry != t.m.index {
		t.entry, t.publishes = t.m.index, 0
	}
	t.publishes++
	id := messageID(msg.Properties)
	for _, f := range t.all {
		goes := func(name string) bool { return slices.Contains(names, name) }
		if f.VHost == vhost && f.alive(t.m.now) && f.wants(msg, id, goes) {
			t.current = append(t.current, f.follow(strconv.FormatUint(t.m.index, 10)+"."+strconv.FormatUint(t.publishes, 10), id))
		}
	}
	return len(t.current) > 0
}

// published tells of a publish, and where it goes. m.message is the message.
func (t *tracer) published(e *epoch, v *vhost, c *command.Publish, names []string, refused *command.Error) {
	msg := &command.Message{Exchange: string(c.Exchange), Key: c.Key, Properties: c.Properties}
	if !t.begin(v.name, msg, names) {
		return
	}
	event := t.publishEvent(e, c)
	if refused != nil {
		event.Event, event.Reason = EventRefused, refused.Text
		t.tellAll(event)
		return
	}
	event.Queues, event.Hops = first(names), way(v, &t.m.message, names)
	t.tellAll(event)
	if len(names) == 0 {
		t.tellAll(TraceEvent{Event: EventUnroutable})
	}
}

// postponed tells of a publish that is to be routed later.
func (t *tracer) postponed(e *epoch, v *vhost, c *command.Publish, until int64, refused *command.Error) {
	t.until = until
	if refused != nil {
		t.published(e, v, c, nil, refused)
		return
	}
	t.begin(v.name, &command.Message{Exchange: string(c.Exchange), Key: c.Key, Properties: c.Properties}, nil)
	t.tellAll(t.publishEvent(e, c))
}

func (t *tracer) publishEvent(e *epoch, c *command.Publish) TraceEvent {
	by := t.m.committing
	return TraceEvent{
		Event: EventPublished, Exchange: string(c.Exchange), Default: len(c.Exchange) == 0, Key: string(c.Key), Size: len(c.Body),
		Epoch: e.number, Node: e.name, Conn: by.Conn, Channel: by.Number,
	}
}

// way tells why a message goes to some queues: the steps that lead there.
func way(v *vhost, msg *topology.Message, names []string) []TraceHop {
	if _, bindings := v.topology.Count(); bindings > traceBindings {
		return nil
	}
	var hops []TraceHop
	room := traceArgs
	explained := v.topology.Explain(msg, traceHops)
	for i := range explained.Hops {
		h := &explained.Hops[i]
		if !h.ToExchange && !slices.Contains(names, h.Destination) {
			continue // one that chance did not choose
		}
		hop := TraceHop{Why: h.Why, Source: h.Source, Destination: h.Destination, ToExchange: h.ToExchange, Key: h.Key}
		if len(h.Args) > 0 {
			if args := wire.AppendTable(nil, h.Args); len(args) <= room {
				hop.Args, room = args, room-len(args)
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

// first are those of some queues that an event tells of.
func first(names []string) []string { return slices.Clone(names[:min(len(names), traceQueues)]) }

// in makes an event of what happens in a queue.
func in(event Event, q *queue.Queue, n uint64) TraceEvent {
	return TraceEvent{Event: event, Queue: q.Spec.Name, QueueID: q.ID, Sequence: n}
}

// hidden reports whether a queue is none of a client's.
func hidden(q *queue.Queue) bool { return len(q.Spec.Name) > 0 && q.Spec.Name[0] == '\n' }

// Entered is of queue.Watcher.
func (t *tracer) Entered(q *queue.Queue, n uint64) {
	event := in(EventQueued, q, n)
	if hidden(q) {
		if q.Spec.Name != queue.DelayedName {
			return // a history
		}
		event = TraceEvent{Event: EventDelayed, QueueID: q.ID, Sequence: n, Until: t.until}
	}
	for i := range t.current {
		s := &t.current[i]
		if !s.alive(t.m.now) || s.crowded {
			continue
		}
		if len(s.places) >= s.Messages*tracePlaces {
			s.crowded = true
			e := event
			e.Reason = "it is in too many queues to be followed in this one and those behind it too"
			t.tell(*s, e)
			continue
		}
		s.places[place{q.ID, n}] = &standing{name: s.name, id: s.id}
		t.tell(*s, event)
	}
}

// at makes the current subjects those that stand at a place. A message that no trace follows yet, though one wants it, was there before
// the trace or before this machine; msg is nil when it is not at hand. With leaves it is about to go.
func (t *tracer) at(q *queue.Queue, n uint64, msg *command.Message, leaves bool) bool {
	t.current = t.current[:0]
	for _, f := range t.all {
		if f.VHost != q.Spec.VHost || !f.alive(t.m.now) {
			continue
		}
		where := place{q.ID, n}
		if s := f.places[where]; s != nil {
			t.current = append(t.current, subject{follower: f, name: s.name, id: s.id})
			if leaves {
				delete(f.places, where)
			}
			continue
		}
		if msg == nil || hidden(q) {
			continue
		}
		id := messageID(msg.Properties)
		if !f.wants(msg, id, func(name string) bool { return name == q.Spec.Name }) {
			continue
		}
		s := f.follow("q"+strconv.FormatUint(q.ID, 10)+"."+strconv.FormatUint(n, 10), id)
		found := in(EventFound, q, n)
		found.Exchange, found.Default, found.Key, found.Size = msg.Exchange, msg.Exchange == "", string(msg.Key), len(msg.Body)
		t.tell(s, found)
		t.current = append(t.current, s)
		if !leaves {
			f.places[where] = &standing{name: s.name, id: s.id}
		}
	}
	return len(t.current) > 0
}

// Given is of queue.Watcher.
func (t *tracer) Given(g *queue.Given) {
	if !t.at(g.Queue, g.Sequence, g.Message, g.Ordinal == 0) {
		return
	}
	event := in(EventDelivered, g.Queue, g.Sequence)
	event.Ordinal, event.Redelivered, event.Acquired, event.Failed = g.Ordinal, g.Redelivered, g.Tries.Acquired, g.Tries.Failed
	if g.Consumer == nil {
		event.Event = EventGot
	} else {
		event.Tag = g.Consumer.Spec.Tag
	}
	to := t.getting // without acknowledgement
	if g.Channel != nil {
		to = g.Channel.Owner
	}
	t.client(&event, to)
	for _, s := range t.current {
		if at := s.places[place{g.Queue.ID, g.Sequence}]; at != nil {
			at.lent = true
		}
		t.tell(s, event)
	}
}

// client says in an event which channel it is about.
func (t *tracer) client(event *TraceEvent, o command.Owner) {
	event.Epoch, event.Conn, event.Channel = o.Epoch, o.Conn, o.Number
	if e := t.m.epochs[o.Epoch]; e != nil {
		event.Node = e.name
	}
}

// Settled is of queue.Watcher.
func (t *tracer) Settled(ch *queue.Channel, q *queue.Queue, n uint64, outcome command.Outcome, by queue.Settler) {
	if !t.at(q, n, nil, outcome == command.Ack) {
		return
	}
	event := in(EventRequeued, q, n)
	switch outcome {
	case command.Ack:
		event.Event = EventAcked
	case command.Reject:
		event.Event = EventRejected
	default:
		event.Reason = t.whyReturned(outcome, by)
	}
	t.client(&event, ch.Owner)
	for _, s := range t.current {
		if at := s.places[place{q.ID, n}]; at != nil {
			at.lent = false
		}
		t.tell(s, event)
	}
}

// whyReturned tells why a message comes back.
func (t *tracer) whyReturned(outcome command.Outcome, by queue.Settler) string {
	switch by {
	case queue.ByNodeLoss:
		return "the node of its client was given up"
	case queue.ByTimeout:
		return "its client kept it for longer than the acknowledgement timeout"
	}
	kind := command.Kind(0)
	if n := len(t.m.out.Results); n > 0 {
		kind = t.m.out.Results[n-1].Kind
	}
	switch kind {
	case command.KindChannelClose:
		return "its channel was closed"
	case command.KindConnectionClose:
		return "its connection was closed"
	case command.KindRecover:
		return "basic.recover"
	}
	if outcome == command.Return {
		return "basic.nack"
	}
	return "basic.reject"
}

// SetAside is of queue.Watcher.
func (t *tracer) SetAside(q *queue.Queue, n uint64, parked bool, until int64) {
	if !t.at(q, n, nil, false) {
		return
	}
	event := in(EventWaiting, q, n)
	event.Until = until
	if parked {
		event.Event = EventParked
	}
	t.tellAll(event)
}

// Dropped is of queue.Watcher.
func (t *tracer) Dropped(q *queue.Queue, n uint64, reason queue.Reason) {
	if !t.at(q, n, nil, true) {
		return
	}
	event := in(EventDropped, q, n)
	event.Reason = string(reason)
	t.tellAll(event)
}

// died makes the current subjects those of a message that is to be dead-lettered. One that a full queue refuses is on its way
// already.
func (t *tracer) died(d *queue.Dead) {
	if d.Sequence != 0 {
		t.at(d.Queue, d.Sequence, d.Message, true)
	}
}

// gone tells that a dead message cannot be dead-lettered, and why.
func (t *tracer) gone(d *queue.Dead, why string) {
	event := in(EventDropped, d.Queue, d.Sequence)
	event.Reason = string(d.Reason) + ", and " + why
	t.tellAll(event)
}

// deadLettered tells where a dead message goes.
func (t *tracer) deadLettered(v *vhost, d *queue.Dead, to *topology.Message, names []string) {
	if len(t.current) == 0 {
		return
	}
	event := in(EventDeadLettered, d.Queue, d.Sequence)
	event.Reason, event.Exchange, event.Default, event.Key = string(d.Reason), string(to.Exchange), len(to.Exchange) == 0, string(to.Key)
	event.Queues, event.Hops = first(names), way(v, to, names)
	t.tellAll(event)
	if len(names) == 0 {
		t.tellAll(TraceEvent{Event: EventUnroutable})
	}
}

// cycled tells that a dead letter does not go to a queue.
func (t *tracer) cycled(name string) {
	t.tellAll(TraceEvent{Event: EventDropped, Queue: name, Reason: "it has died in this queue before, and no client has rejected it since"})
}

// due makes the current subjects those of a message whose delay is over.
func (t *tracer) due(d *queue.Delayed, n uint64) { t.at(d.Queue(), n, nil, true) }

// late tells where a message goes whose delay is over. One that a trace did not want before, as it was for no queue yet, may be
// wanted now; it is named by its place among the delayed.
func (t *tracer) late(v *vhost, d *queue.Delayed, n uint64, to *topology.Message, names []string) {
	msg := &command.Message{Exchange: string(to.Exchange), Key: to.Key, Properties: to.Properties}
	id := messageID(to.Properties)
	for _, f := range t.all {
		known := slices.ContainsFunc(t.current, func(s subject) bool { return s.follower == f })
		goes := func(name string) bool { return slices.Contains(names, name) }
		if !known && f.VHost == v.name && f.alive(t.m.now) && f.wants(msg, id, goes) {
			t.current = append(t.current, f.follow("q"+strconv.FormatUint(d.Queue().ID, 10)+"."+strconv.FormatUint(n, 10), id))
		}
	}
	if len(t.current) == 0 {
		return
	}
	t.tellAll(TraceEvent{
		Event: EventRouted, Exchange: msg.Exchange, Default: msg.Exchange == "", Key: string(to.Key), QueueID: d.Queue().ID, Sequence: n,
		Queues: first(names), Hops: way(v, to, names),
	})
	if len(names) == 0 {
		t.tellAll(TraceEvent{Event: EventUnroutable})
	}
}

// cancelled tells that a delayed message was taken out.
func (t *tracer) cancelled(d *queue.Delayed, n uint64) {
	if t.at(d.Queue(), n, nil, true) {
		t.tellAll(TraceEvent{Event: EventDropped, QueueID: d.Queue().ID, Sequence: n, Reason: "it was cancelled while it was delayed"})
	}
}

// moving tells that a message is moved.
func (t *tracer) moving(w *mover, n uint64, msg *command.Message, names []string) {
	if !t.at(w.source, n, msg, true) {
		return
	}
	event := in(EventMoved, w.source, n)
	event.Exchange, event.Default, event.Key, event.Queues = msg.Exchange, msg.Exchange == "", string(msg.Key), first(names)
	t.tellAll(event)
}

// emptied tells what becomes of the messages of a queue that is purged or deleted. What a client holds is not purged.
func (t *tracer) emptied(q *queue.Queue, deleted bool) {
	event := EventPurged
	if deleted {
		event = EventQueueDeleted
	}
	for _, f := range t.all {
		var all []uint64
		for where, s := range f.places { // sorted below
			if where.queue == q.ID && (deleted || !s.lent) {
				all = append(all, where.sequence)
			}
		}
		slices.SortFunc(all, cmp.Compare)
		for _, n := range all {
			where := place{q.ID, n}
			s := f.places[where]
			delete(f.places, where)
			if f.alive(t.m.now) {
				t.tell(subject{follower: f, name: s.name, id: s.id}, in(event, q, n))
			}
		}
	}
}

// notPut tells that a message does not come to a queue that it was for.
func (t *tracer) notPut(event Event, name string) { t.tellAll(TraceEvent{Event: event, Queue: name}) }

// String tells of an event in one line, for tests and logs.
func (e *TraceEvent) String() string {
	s := fmt.Sprintf("%s %s", e.Message, e.Event)
	if e.Queue != "" {
		s += fmt.Sprintf(" queue=%s/%d", e.Queue, e.Sequence)
	}
	if e.Exchange != "" || e.Default {
		s += fmt.Sprintf(" exchange=%q key=%q", e.Exchange, e.Key)
	}
	if e.Tag != "" || e.Ordinal != 0 {
		s += fmt.Sprintf(" tag=%s ordinal=%d redelivered=%t acquired=%d failed=%d", e.Tag, e.Ordinal, e.Redelivered, e.Acquired, e.Failed)
	}
	if e.Node != "" {
		s += fmt.Sprintf(" client=%s/%d/%d", e.Node, e.Conn, e.Channel)
	}
	if len(e.Queues) > 0 {
		s += fmt.Sprintf(" to=%q", e.Queues)
	}
	for _, h := range e.Hops {
		s += fmt.Sprintf(" %s:%q>%q[%s]", h.Why, h.Source, h.Destination, h.Key)
	}
	if e.Reason != "" {
		s += fmt.Sprintf(" reason=%q", e.Reason)
	}
	if e.Until != 0 {
		s += fmt.Sprintf(" until=%d", e.Until)
	}
	return s
}
