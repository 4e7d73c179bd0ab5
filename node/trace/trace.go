// Package trace keeps what happened to messages that are traced, a bounded number of events for each trace, and makes one
// story of what the nodes of a cluster have kept. Which messages are followed is the state machine's to find out; who the
// clients are, the node's. See "Traces" in node/DESIGN.md.
package trace

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"warren/fsm"
)

// A Client is the client that an event is about, as the node that serves it knows it.
type Client struct {
	Conn       uint64 `json:"conn,omitempty"` // 0: none of AMQP's
	Channel    uint16 `json:"channel,omitempty"`
	Connection string `json:"connection,omitempty"` // its name
	User       string `json:"user,omitempty"`
}

// An Event is one thing that happened to a message.
type Event struct {
	fsm.TraceEvent
	Connection string `json:"connection,omitempty"` // name of the client's connection; "": nobody knows it
	User       string `json:"user,omitempty"`
}

// A key tells an event from others, on all nodes alike. Numbers of events do not do that: a node that has restored a
// snapshot may know less of what stood in queues.
type key struct {
	Trace    string    `json:"trace"`
	Index    uint64    `json:"index"`
	Command  int       `json:"c"`
	Event    fsm.Event `json:"event"`
	Message  string    `json:"message,omitempty"` // of what is in no queue
	Queue    string    `json:"queue,omitempty"`
	QueueID  uint64    `json:"queue_id,omitempty"`
	Sequence uint64    `json:"seq,omitempty"`
}

func keyOf(e *fsm.TraceEvent) key {
	k := key{Trace: e.Trace, Index: e.Index, Command: e.Command, Event: e.Event, Queue: e.Queue, QueueID: e.QueueID, Sequence: e.Sequence}
	if e.QueueID == 0 {
		k.Message = e.Message
	}
	return k
}

// A Note tells other nodes who the client of an event is: the log does not say it.
type Note struct {
	Of  key    `json:"of"`
	Who Client `json:"who"`
}

// A Wanted is a trace that is to be kept.
type Wanted struct {
	ID   string
	Most int // events
}

// mostEarly bounds the notes that come before their events do.
const mostEarly = 4096

// A Log keeps the events of all traces on one node. Its methods may be called by several goroutines.
type Log struct {
	mu     sync.Mutex
	traces map[string]*record
	early  map[key]Client
}

// A record is what is kept of one trace.
type record struct {
	most   int
	since  uint64 // log index of the first entry that it knows all of
	whole  bool   // the trace did not begin before that
	lost   uint64 // events that had to make room
	events []Event
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{traces: make(map[string]*record), early: make(map[key]Client)} }

// Set says which traces there are from the log entry behind index on; all others are forgotten. restored: the node knows of no
// entry before, as a snapshot took their place.
func (l *Log) Set(all []Wanted, index uint64, restored bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.traces
	l.traces = make(map[string]*record, len(all))
	for _, w := range all {
		r := before[w.ID]
		if r == nil {
			r = &record{since: index + 1, whole: !restored}
		} else if restored {
			r.since, r.whole = index+1, false
		}
		r.most = w.Most
		l.traces[w.ID] = r
	}
	if len(all) == 0 {
		clear(l.early)
	}
}

// Add keeps the events of a log entry. who names the client of an event of this node's; what it says is
// returned for the other nodes.
func (l *Log) Add(events []fsm.TraceEvent, who func(*fsm.TraceEvent) (Client, bool)) (notes []Note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		r := l.traces[events[i].Trace]
		if r == nil {
			continue
		}
		e := Event{TraceEvent: events[i]}
		k := keyOf(&e.TraceEvent)
		if c, ok := who(&e.TraceEvent); ok {
			e.name(c)
			notes = append(notes, Note{k, c})
		} else if c, ok := l.early[k]; ok {
			e.name(c)
			delete(l.early, k)
		}
		r.add(e)
	}
	return notes
}

func (e *Event) name(c Client) {
	if e.Conn == 0 {
		e.Conn, e.Channel = c.Conn, c.Channel
	}
	e.Connection, e.User = c.Connection, c.User
}

// add drops a quarter of the events when there are too many.
func (r *record) add(e Event) {
	if len(r.events) >= r.most {
		n := max(r.most/4, 1)
		r.lost += uint64(n)
		r.events = slices.Delete(r.events, 0, n)
	}
	r.events = append(r.events, e)
}

// Name takes notes of another node.
func (l *Log) Name(notes []Note) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range notes {
		r := l.traces[n.Of.Trace]
		if r != nil && r.name(&n) || len(l.early) >= mostEarly {
			continue
		}
		l.early[n.Of] = n.Who
	}
}

// name looks for the event of a note, and tells whether it was there.
func (r *record) name(n *Note) (found bool) {
	for i := len(r.events) - 1; i >= 0 && r.events[i].Index >= n.Of.Index; i-- {
		if e := &r.events[i]; e.Connection == "" && keyOf(&e.TraceEvent) == n.Of {
			e.name(n.Who)
			return true
		}
	}
	return false
}

// A Part is what one node knows of a trace.
type Part struct {
	Node   string  `json:"node"`  // its name
	Since  uint64  `json:"since"` // log index of the first entry that it knows all of
	Whole  bool    `json:"whole"` // the trace did not begin before that
	Lost   uint64  `json:"lost"`  // events that had to make room for later ones
	Events []Event `json:"events"`
}

// Part returns what is known of a trace; false: there is no such trace here.
func (l *Log) Part(id string) (Part, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.traces[id]
	if r == nil {
		return Part{}, false
	}
	return Part{Since: r.since, Whole: r.whole, Lost: r.lost, Events: slices.Clone(r.events)}, true
}

// A Story is what all nodes know of a trace.
type Story struct {
	Events   []Event // in the order of the log
	Parts    []Part  // without their events, by the names of nodes
	Complete bool    // a node knows the trace from its beginning on, and had room for all
}

// Merge makes one story of what nodes know. Each event comes once, with what any of them knows of it.
func Merge(parts []Part) Story {
	var s Story
	slices.SortFunc(parts, func(a, b Part) int { return cmp.Compare(a.Node, b.Node) })
	best := slices.Clone(parts)
	// Numbers of events count within a node, so most should come from one.
	slices.SortStableFunc(best, func(a, b Part) int {
		return cmp.Or(-compareBool(a.Whole, b.Whole), cmp.Compare(len(b.Events), len(a.Events)), cmp.Compare(a.Since, b.Since))
	})
	type nth struct {
		key
		n int
	}
	at := make(map[nth]int)
	for i := range best {
		met := make(map[key]int)
		for _, e := range best[i].Events {
			k := keyOf(&e.TraceEvent)
			met[k]++
			where, known := at[nth{k, met[k]}]
			if !known {
				at[nth{k, met[k]}] = len(s.Events)
				s.Events = append(s.Events, e)
				continue
			}
			one := &s.Events[where]
			if one.Connection == "" && e.Connection != "" {
				one.name(Client{e.Conn, e.Channel, e.Connection, e.User})
			}
		}
	}
	s.rename()
	slices.SortStableFunc(s.Events, func(a, b Event) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Number, b.Number)) })
	for i := range parts {
		p := parts[i]
		s.Complete = s.Complete || p.Whole && p.Lost == 0
		p.Events = nil
		s.Parts = append(s.Parts, p)
	}
	return s
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// rename gives messages that a node has found in a queue the names that they have on nodes which saw them come there.
func (s *Story) rename() {
	type place struct{ queue, sequence uint64 }
	names := make(map[place]string)
	for i := range s.Events {
		if e := &s.Events[i]; e.QueueID != 0 && !found(e.Message) {
			names[place{e.QueueID, e.Sequence}] = e.Message
		}
	}
	real := make(map[string]string)
	for i := range s.Events {
		e := &s.Events[i]
		if name := names[place{e.QueueID, e.Sequence}]; e.QueueID != 0 && name != "" && found(e.Message) {
			real[e.Message] = name
		}
	}
	s.Events = slices.DeleteFunc(s.Events, func(e Event) bool { return e.Event == fsm.EventFound && real[e.Message] != "" })
	for i := range s.Events {
		if name := real[s.Events[i].Message]; name != "" {
			s.Events[i].Message = name
		}
	}
}

// found reports whether a message is named by the place where it was met.
func found(message string) bool { return strings.HasPrefix(message, "q") }

// Of keeps the events of one message, given by its name or its message-id.
func (s *Story) Of(message string) {
	s.Events = slices.DeleteFunc(s.Events, func(e Event) bool { return e.Message != message && e.MessageID != message })
}

// Cursor is where an event stands in the story.
func (e *Event) Cursor() string {
	return strconv.FormatUint(e.Index, 10) + "." + strconv.Itoa(e.Number)
}

// After drops the events up to a cursor. It returns false when that is none.
func (s *Story) After(cursor string) bool {
	index, number, ok := strings.Cut(cursor, ".")
	i, err := strconv.ParseUint(index, 10, 64)
	n, err2 := strconv.Atoi(number)
	if !ok || err != nil || err2 != nil {
		return false
	}
	s.Events = slices.DeleteFunc(s.Events, func(e Event) bool { return e.Index < i || e.Index == i && e.Number <= n })
	return true
}
