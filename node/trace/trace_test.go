package trace

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"warren/fsm"
)

// event makes one of trace t; queue and seq are 0 where it is in none.
func event(index uint64, n int, what fsm.Event, message string, queue, seq uint64) fsm.TraceEvent {
	return fsm.TraceEvent{Trace: "t", Index: index, Number: n, Event: what, Message: message, QueueID: queue, Sequence: seq}
}

func nobody(*fsm.TraceEvent) (Client, bool) { return Client{}, false }

func (s *Story) text() string {
	var all []string
	for i := range s.Events {
		e := &s.Events[i]
		all = append(all, fmt.Sprintf("%s %s %s %s", e.Cursor(), e.Event, e.Message, e.Connection))
	}
	return strings.Join(all, "\n")
}

func part(t *testing.T, l *Log, node string) Part {
	t.Helper()
	p, ok := l.Part("t")
	if !ok {
		t.Fatal("there is no trace t")
	}
	p.Node = node
	return p
}

// TestMerge: each node names the clients that it serves; one knows nothing of what came before a snapshot, and calls a message
// by the place where it found it.
func TestMerge(t *testing.T) {
	one, two := NewLog(), NewLog()
	one.Set([]Wanted{{"t", 100}}, 10, false)
	two.Set([]Wanted{{"t", 100}}, 12, true)
	publish := event(11, 0, fsm.EventPublished, "11.1", 0, 0)
	queued := event(11, 1, fsm.EventQueued, "11.1", 5, 1)
	notes := one.Add([]fsm.TraceEvent{publish, queued}, func(e *fsm.TraceEvent) (Client, bool) {
		return Client{4, 1, "publisher", "u"}, e.Event == fsm.EventPublished
	})
	if len(notes) != 1 {
		t.Fatal(notes)
	}
	delivered := event(13, 0, fsm.EventDelivered, "11.1", 5, 1)
	one.Add([]fsm.TraceEvent{delivered}, nobody)
	delivered.Message, delivered.Number = "q5.1", 1
	two.Add([]fsm.TraceEvent{event(13, 0, fsm.EventFound, "q5.1", 5, 1), delivered}, func(e *fsm.TraceEvent) (Client, bool) {
		return Client{9, 2, "consumer", "v"}, e.Event == fsm.EventDelivered
	})
	s := Merge([]Part{part(t, two, "n2"), part(t, one, "n1")})
	want := "11.0 published 11.1 publisher\n11.1 queued 11.1 \n13.0 delivered 11.1 consumer"
	if got := s.text(); got != want || !s.Complete {
		t.Errorf("complete %t\n%s\nwant\n%s", s.Complete, got, want)
	}
	if s.Events[0].Conn != 4 || s.Events[0].Channel != 1 || s.Events[0].User != "u" {
		t.Errorf("%+v", s.Events[0])
	}
	s = Merge([]Part{part(t, two, "n2")})
	if got := s.text(); got != "13.0 found q5.1 \n13.1 delivered q5.1 consumer" || s.Complete {
		t.Errorf("complete %t\n%s", s.Complete, got)
	}
}

// TestNotes: a note may come before its event, and of another node's.
func TestNotes(t *testing.T) {
	e := event(3, 0, fsm.EventAcked, "1.1", 5, 1)
	from := NewLog()
	from.Set([]Wanted{{"t", 10}}, 1, false)
	notes := from.Add([]fsm.TraceEvent{e}, func(*fsm.TraceEvent) (Client, bool) { return Client{1, 2, "c", "u"}, true })
	for _, early := range []bool{true, false} {
		l := NewLog()
		l.Set([]Wanted{{"t", 10}}, 1, false)
		if early {
			l.Name(notes)
		}
		l.Add([]fsm.TraceEvent{e}, nobody)
		if !early {
			l.Name(notes)
		}
		if p := part(t, l, "n"); p.Events[0].Connection != "c" || p.Events[0].User != "u" {
			t.Errorf("early %t: %+v", early, p.Events[0])
		}
		if len(l.early) != 0 {
			t.Errorf("early %t: %d notes are left", early, len(l.early))
		}
	}
	l := NewLog()
	l.Set([]Wanted{{"t", 10}}, 1, false)
	for i := range uint64(2 * mostEarly) {
		n := notes[0]
		n.Of.Index = i + 10
		l.Name([]Note{n})
	}
	if len(l.early) != mostEarly {
		t.Errorf("%d notes wait", len(l.early))
	}
	l.Set(nil, 5, false)
	if len(l.early) != 0 {
		t.Errorf("%d notes wait for no trace", len(l.early))
	}
}

// TestBound: the oldest events make room, and that is told.
func TestBound(t *testing.T) {
	l := NewLog()
	l.Set([]Wanted{{"t", 8}}, 1, false)
	for i := range uint64(20) {
		l.Add([]fsm.TraceEvent{event(i+2, 0, fsm.EventPublished, fmt.Sprint(i), 0, 0)}, nobody)
	}
	p := part(t, l, "n")
	if len(p.Events) > 8 || p.Lost+uint64(len(p.Events)) != 20 || p.Events[len(p.Events)-1].Index != 21 {
		t.Errorf("%d events, %d lost", len(p.Events), p.Lost)
	}
	if s := Merge([]Part{p}); s.Complete {
		t.Error("it is complete, though events were lost")
	}
	l.Set([]Wanted{{"other", 8}}, 30, false)
	if _, ok := l.Part("t"); ok {
		t.Error("a trace is kept that is not wanted")
	}
	if got := l.Add([]fsm.TraceEvent{event(31, 0, fsm.EventAcked, "m", 0, 0)}, nobody); got != nil {
		t.Error(got)
	}
}

// TestRestored: what a node knew before a snapshot took the place of entries stays, and it knows that it may lack some.
func TestRestored(t *testing.T) {
	l := NewLog()
	l.Set([]Wanted{{"t", 8}}, 1, false)
	l.Add([]fsm.TraceEvent{event(2, 0, fsm.EventPublished, "2.1", 0, 0)}, nobody)
	l.Set([]Wanted{{"t", 8}}, 9, true)
	if p := part(t, l, "n"); len(p.Events) != 1 || p.Whole || p.Since != 10 {
		t.Errorf("%+v", p)
	}
}

func TestOfAndAfter(t *testing.T) {
	s := Story{}
	for i := range 4 {
		e := Event{TraceEvent: event(uint64(i/2+1), i%2, fsm.EventAcked, fmt.Sprint("m", i), 0, 0)}
		e.MessageID = fmt.Sprint("id", i%2)
		s.Events = append(s.Events, e)
	}
	part := s
	part.Events = slices.Clone(s.Events)
	part.Of("id1")
	if got := part.text(); got != "1.1 acked m1 \n2.1 acked m3 " {
		t.Error(got)
	}
	if !part.After("1.1") || part.text() != "2.1 acked m3 " {
		t.Error(part.text())
	}
	for _, cursor := range []string{"", "1", "a.b", "1.b", "-1.0"} {
		if part.After(cursor) {
			t.Errorf("%q is a cursor", cursor)
		}
	}
}
