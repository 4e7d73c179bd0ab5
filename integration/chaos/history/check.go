package history

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Violation is a broken promise.
type Violation struct {
	Check   string // which: lost, duplicated …
	Queue   string
	Message uint64
	Text    string
}

func (v Violation) String() string {
	s := v.Check + ": "
	if v.Queue != "" {
		s += "queue " + v.Queue + ": "
	}
	if v.Message != 0 {
		s += fmt.Sprintf("message %d ", v.Message)
	}
	return s + v.Text
}

// Rules say what holds for a queue.
type Rules struct {
	// Final: what was confirmed has to come out here, and be acknowledged. It is not so for a
	// queue that messages leave in other ways, as those of an exclusive queue or of a dead-letter chain do.
	Final bool
	// DeadLetters: messages come here from other queues, so their order is not that of
	// their publishers.
	DeadLetters bool
}

// Check judges a history at whose end all was quiet and all queues were empty. Queues that
// rules do not name have the zero Rules.
//
// What the checks rest on: a delivery counts as effective when a synchronous method was answered
// later on its channel, as that says that the cluster still knew the channel. A node that was cut off
// may still show its client what the cluster has taken back meanwhile, but then it closes the
// connection, and nothing that the client answers has an effect.
func Check(events []Event, rules map[string]Rules) []Violation {
	c := newChecker(events, rules)
	c.publishes()
	for _, name := range slices.Sorted(maps.Keys(c.queues)) {
		q := c.queues[name]
		c.phantoms(q)
		c.lost(q)
		c.duplicates(q)
		c.redeliveries(q)
		c.order(q)
		c.places(q)
	}
	return c.found
}

type checker struct {
	events   []Event
	rules    map[string]Rules
	messages map[uint64]*message
	channels map[int]*channel
	queues   map[string]*queue
	found    []Violation
}

// A message is one publish.
type message struct {
	published           bool
	index               int           // of the event
	at, took            time.Duration // of the publish, and until its confirm
	channel             int
	to                  []string
	mandatory           bool
	perishable          bool
	confirmed, nacked   bool
	returned, afterward bool // afterward: returned when it was confirmed already
}

type channel struct {
	synced   []int // indices of events, ascending
	broken   bool  // it ended unexpectedly
	brokenAt time.Duration
}

// lives says whether something on the channel was answered after an event.
func (c *channel) lives(index int) bool {
	return len(c.synced) > 0 && c.synced[len(c.synced)-1] > index
}

// sure returns the index of the event by which what was sent at an event was in the log, -1: never.
func (c *channel) sure(index int) int {
	i, _ := slices.BinarySearch(c.synced, index)
	if i == len(c.synced) {
		return -1
	}
	return c.synced[i]
}

type queue struct {
	name      string
	consumers map[int]consumer // by channel
	stays     map[uint64]*stay
	arrivals  []arrival
}

// A consumer is a channel that takes messages.
type consumer struct {
	began    int // index
	prefetch int // 0: none
}

// A stay is a message in a queue.
type stay struct {
	arrivals []arrival
	requeued []settle
	settled  []settle
}

type settle struct {
	index, channel int
	kind           Kind
}

type arrival struct {
	index, channel int
	message        uint64
	redelivered    bool
}

func newChecker(events []Event, rules map[string]Rules) *checker {
	c := &checker{
		events: events, rules: rules, messages: map[uint64]*message{}, channels: map[int]*channel{}, queues: map[string]*queue{},
	}
	for i := range events {
		c.take(i, &events[i])
	}
	return c
}

func (c *checker) take(i int, e *Event) {
	switch e.Kind {
	case Published:
		*c.message(e.Message) = message{published: true, index: i, at: e.At, channel: e.Channel, to: e.To, mandatory: e.Mandatory, perishable: e.Perishable}
		for _, q := range e.To {
			c.queue(q)
		}
	case Confirmed:
		m := c.message(e.Message)
		m.confirmed, m.took = true, e.At-m.at
	case Nacked:
		c.message(e.Message).nacked = true
	case Returned:
		m := c.message(e.Message)
		m.returned, m.afterward = true, m.confirmed
	case Consuming:
		c.queue(e.Queue).consumers[e.Channel] = consumer{i, e.Prefetch}
	case Delivered:
		q, a := c.queue(e.Queue), arrival{i, e.Channel, e.Message, e.Redelivered}
		q.arrivals = append(q.arrivals, a)
		s := q.stay(e.Message)
		s.arrivals = append(s.arrivals, a)
	case Acked, Rejected:
		s := c.queue(e.Queue).stay(e.Message)
		s.settled = append(s.settled, settle{i, e.Channel, e.Kind})
	case Requeued:
		s := c.queue(e.Queue).stay(e.Message)
		s.requeued = append(s.requeued, settle{i, e.Channel, e.Kind})
	case Synced:
		ch := c.channel(e.Channel)
		ch.synced = append(ch.synced, i)
	case Broken:
		ch := c.channel(e.Channel)
		ch.broken, ch.brokenAt = true, e.At
	}
}

func (c *checker) message(id uint64) *message {
	m := c.messages[id]
	if m == nil {
		m = &message{}
		c.messages[id] = m
	}
	return m
}

func (c *checker) channel(number int) *channel {
	ch := c.channels[number]
	if ch == nil {
		ch = &channel{}
		c.channels[number] = ch
	}
	return ch
}

func (c *checker) queue(name string) *queue {
	q := c.queues[name]
	if q == nil {
		q = &queue{name: name, consumers: map[int]consumer{}, stays: map[uint64]*stay{}}
		c.queues[name] = q
	}
	return q
}

func (q *queue) stay(id uint64) *stay {
	s := q.stays[id]
	if s == nil {
		s = &stay{}
		q.stays[id] = s
	}
	return s
}

// at is when an event was.
func (c *checker) at(index int) time.Duration { return c.events[index].At }

func (c *checker) complain(check, queue string, id uint64, format string, args ...any) {
	c.found = append(c.found, Violation{check, queue, id, fmt.Sprintf(format, args...)})
}

// CaughtUp is how long a confirm takes at least when its node catches up by a snapshot meanwhile. The node knows then that the
// message was applied, but not whether it had a route: it is confirmed, and no return is promised.
const CaughtUp = 200 * time.Millisecond

// publishes judges what publishers were told.
func (c *checker) publishes() {
	for _, id := range slices.Sorted(maps.Keys(c.messages)) {
		m := c.messages[id]
		switch {
		case !m.published:
			c.complain("phantom", "", id, "was confirmed or returned, but never published")
		case m.returned && len(m.to) > 0 && !m.perishable:
			c.complain("returned", "", id, "was returned, though it was published to %v, which were there and bound", m.to)
		case m.returned && !m.mandatory:
			c.complain("returned", "", id, "was returned, though it was not mandatory")
		case m.afterward:
			c.complain("returned", "", id, "was returned after its confirm")
		case m.confirmed && m.mandatory && len(m.to) == 0 && !m.returned && m.took < CaughtUp:
			c.complain("returned", "", id, "has no route and is mandatory, and was confirmed but not returned")
		}
		if m.nacked {
			c.complain("nacked", "", id, "was refused, though no queue has a limit")
		}
		if m.nacked && m.confirmed {
			c.complain("nacked", "", id, "was both confirmed and refused")
		}
	}
}

// phantoms: nothing arrives that was not published to the queue, nor before that.
func (c *checker) phantoms(q *queue) {
	for _, a := range q.arrivals {
		switch m := c.messages[a.message]; {
		case m == nil || !m.published || m.index > a.index:
			c.complain("phantom", q.name, a.message, "arrived, but was not published before")
		case !slices.Contains(m.to, q.name):
			c.complain("phantom", q.name, a.message, "arrived, but was published to %v", m.to)
		case m.returned:
			c.complain("phantom", q.name, a.message, "arrived, but was returned")
		}
	}
}

// lost: what was confirmed for a final queue arrives, and somebody could acknowledge it.
func (c *checker) lost(q *queue) {
	if !c.rules[q.name].Final {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.messages)) {
		m := c.messages[id]
		if !m.confirmed || m.returned || !slices.Contains(m.to, q.name) {
			continue
		}
		switch s := q.stays[id]; {
		case s == nil || len(s.arrivals) == 0:
			c.complain("lost", q.name, id, "was confirmed and never arrived")
		case len(s.settled) == 0:
			c.complain("lost", q.name, id, "arrived %d times, was never acknowledged, and is gone", len(s.arrivals))
		case c.heldLast(s) >= 0:
			c.complain("lost", q.name, id, "arrived, was not acknowledged after that, and is gone (event %d)", c.heldLast(s))
		}
	}
}

// heldLast returns the index of an effective arrival after which nobody acknowledged the message: whatever was
// sent before it had no effect. -1: there is none.
func (c *checker) heldLast(s *stay) int {
	for _, a := range s.arrivals {
		later := slices.ContainsFunc(s.settled, func(t settle) bool { return t.index > a.index })
		if !later && c.channel(a.channel).lives(a.index) {
			return a.index
		}
	}
	return -1
}

// duplicates: a message arrives again only when marked, and never when its ack was in the log.
func (c *checker) duplicates(q *queue) {
	for _, id := range slices.Sorted(maps.Keys(q.stays)) {
		s := q.stays[id]
		unmarked := 0
		for _, a := range s.arrivals {
			if !a.redelivered {
				unmarked++
			}
		}
		if unmarked > 1 {
			c.complain("duplicated", q.name, id, "arrived %d times without being marked as redelivered", unmarked)
		}
		gone := -1 // since when it is surely settled
		for _, t := range s.settled {
			if sure := c.channel(t.channel).sure(t.index); sure >= 0 && (gone < 0 || sure < gone) {
				gone = sure
			}
		}
		if gone < 0 {
			continue
		}
		for _, a := range s.arrivals {
			if a.index > gone && c.channel(a.channel).lives(a.index) {
				c.complain("duplicated", q.name, id, "was delivered after its ack was in the log (events %d, %d)", gone, a.index)
			}
		}
	}
}

// redeliveries: a message is marked only when it was given back, or somebody who may have
// held it went away.
func (c *checker) redeliveries(q *queue) {
	for _, id := range slices.Sorted(maps.Keys(q.stays)) {
		s, m := q.stays[id], c.messages[id]
		for _, a := range s.arrivals {
			if !a.redelivered || m == nil {
				continue
			}
			if len(s.requeued) > 0 && s.requeued[0].index < a.index || c.someoneLeft(q, a, m.at) {
				continue
			}
			c.complain("redelivered", q.name, id, "is marked as redelivered, but nobody gave it back and no consumer went (event %d)", a.index)
		}
	}
}

// Noticed is how long after a client the cluster may notice that a consumer is gone: its node is waited for, and
// without a quorum nothing is noticed at all. Until then messages are given to that consumer, and come back marked.
const Noticed = 30 * time.Second

// someoneLeft says whether a consumer of the queue that was there before an arrival has broken off, not long before the
// publish. Its client may also have noticed long after the cluster.
func (c *checker) someoneLeft(q *queue, a arrival, published time.Duration) bool {
	for number, consumer := range q.consumers {
		if ch := c.channel(number); consumer.began < a.index && ch.broken && ch.brokenAt > published-Noticed {
			return true
		}
	}
	return false
}

// order: what one publisher sent on one channel comes to each consumer in that order, when
// it comes for the first time.
func (c *checker) order(q *queue) {
	if c.rules[q.name].DeadLetters {
		return
	}
	type pair struct{ publisher, consumer int }
	last := map[pair]arrival{}
	for _, a := range q.arrivals {
		m := c.messages[a.message]
		if a.redelivered || m == nil || !m.published {
			continue
		}
		p := pair{m.channel, a.channel}
		if before, ok := last[p]; ok && c.messages[before.message].index > m.index {
			c.complain("reordered", q.name, a.message, "arrived after message %d, which its publisher sent later", before.message)
		}
		last[p] = a
	}
}

// text returns the violation with a text.
func (v Violation) text(format string, args ...any) Violation {
	v.Text = fmt.Sprintf(format, args...)
	return v
}
