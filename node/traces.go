package node

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/management"
	"warren/node/session"
	"warren/node/trace"
)

const (
	// notesMost bounds the notes for other nodes that wait to be sent. What comes above is dropped: an event then lacks the name of
	// a connection where its node is gone.
	notesMost = 4096
	// tracesCheck is how often it is looked whether a trace has ended.
	tracesCheck = time.Second
	// tracesKept is how long a trace can be read after its end.
	tracesKept = time.Hour
)

// overHTTP is the name of the connection of what comes over HTTP.
const overHTTP = "HTTP API"

// traces keeps what happens to messages that are traced: see DESIGN.md, "Traces".
type traces struct {
	n    *Node
	log  *trace.Log
	wake chan struct{} // capacity 1: notes wait

	setting sync.Mutex // held from reading which traces there are until that is in force
	any     bool       // there are traces; with setting

	mu    sync.Mutex
	notes []trace.Note
}

func newTraces(n *Node) *traces {
	return &traces{n: n, log: trace.NewLog(), wake: make(chan struct{}, 1)}
}

// look looks anew which traces there are.
func (t *traces) look() {
	t.setting.Lock()
	defer t.setting.Unlock()
	var all []management.Trace
	var index uint64
	var now int64
	t.n.replica.View(func(m *fsm.Machine) { all, index, now = management.Traces(m), m.Index(), m.Now() })
	t.set(all, index, now, false)
}

// restored is look when a snapshot took the place of log entries.
func (t *traces) restored(m *fsm.Machine) {
	t.setting.Lock()
	defer t.setting.Unlock()
	t.set(management.Traces(m), m.Index(), m.Now(), true)
}

// set puts into force which traces there are at a log entry and a time of the machine. The caller holds setting.
func (t *traces) set(all []management.Trace, index uint64, now int64, restored bool) {
	if len(all) == 0 && !t.any {
		return
	}
	t.any = len(all) > 0
	var running []fsm.Trace
	wanted := make([]trace.Wanted, 0, len(all))
	for i := range all {
		wanted = append(wanted, trace.Wanted{ID: all[i].ID, Most: all[i].Events()})
		if all[i].Until > now {
			running = append(running, all[i].Machine())
		}
	}
	t.log.Set(wanted, index, restored)
	t.n.replica.Trace(running)
}

// add takes the events of a log entry. waiters are those of its commands, if it is one of this epoch of the
// node. It runs on the goroutine that applies the log.
func (t *traces) add(epoch uint64, out *fsm.Output, waiters []command.Waiter) {
	notes := t.log.Add(out.Traced, func(e *fsm.TraceEvent) (trace.Client, bool) {
		if epoch == 0 || e.Epoch != epoch {
			return trace.Client{}, false
		}
		return t.who(e, waiters)
	})
	if len(notes) == 0 {
		return
	}
	t.mu.Lock()
	t.notes = append(t.notes, notes...)
	t.notes = t.notes[:min(len(t.notes), notesMost)]
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// who finds the client of an event. The log does not say who publishes: that is whoever waits for the result.
func (t *traces) who(e *fsm.TraceEvent, waiters []command.Waiter) (trace.Client, bool) {
	if e.Conn == 0 && e.Command >= 0 && e.Command < len(waiters) && (e.Event == fsm.EventPublished || e.Event == fsm.EventRefused) {
		w := waiters[e.Command]
		switch to := w.To.(type) {
		case *session.Session:
			return clientOf(to, session.ChannelOf(w.Token)), true
		case waiter:
			return trace.Client{Connection: overHTTP}, true
		}
		return trace.Client{}, false
	}
	if e.Conn == 0 {
		return trace.Client{Connection: overHTTP}, true
	}
	s, ok := t.n.sessions.Get(e.Conn)
	if !ok {
		return trace.Client{}, false // it has just gone
	}
	return clientOf(s, e.Channel), true
}

func clientOf(s *session.Session, channel uint16) trace.Client {
	_, user := s.Place()
	return trace.Client{Conn: s.Ref().ID, Channel: channel, Connection: s.Name(), User: user}
}

// run tells the other nodes who the clients of this one are, and ends traces, until ctx ends.
func (t *traces) run(ctx context.Context) {
	check := time.NewTicker(tracesCheck)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
			t.send(ctx)
		case <-check.C:
			if t.running() {
				t.look()
				t.clear(ctx)
			}
		}
	}
}

func (t *traces) running() bool {
	t.setting.Lock()
	defer t.setting.Unlock()
	return t.any
}

func (t *traces) send(ctx context.Context) {
	t.mu.Lock()
	notes := t.notes
	t.notes = nil
	t.mu.Unlock()
	payload, err := json.Marshal(notes)
	if err != nil {
		t.n.log.Error("notes of traces", "err", err)
		return
	}
	others := func(id string) ([]byte, bool) { return payload, id != t.n.id }
	t.n.askEach(ctx, callTraceNotes, others, func([]byte) error { return nil })
}

// clear forgets the traces that have ended long ago, on the node that leads.
func (t *traces) clear(ctx context.Context) {
	if !t.n.cluster.IsLeader() {
		return
	}
	var all []management.Trace
	t.n.replica.View(func(m *fsm.Machine) { all = management.Traces(m) })
	for i := range all {
		if time.Since(time.UnixMilli(all[i].Until)) < tracesKept {
			continue
		}
		if _, err := (broker{t.n}).Propose(ctx, all[i].Clear()); err != nil {
			t.n.log.Warn("a trace that has ended is not forgotten yet", "vhost", all[i].VHost, "trace", all[i].Name, "err", err)
			return
		}
	}
}

// answerNotes takes what another node knows of the clients of events.
func (t *traces) answerNotes(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var notes []trace.Note
	if err := json.Unmarshal(payload, &notes); err != nil {
		return nil, fmt.Errorf("trace-notes: %w", err)
	}
	t.log.Name(notes)
	return []byte("true"), nil
}

// answer tells what this node knows of a trace.
func (t *traces) answer(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var id string
	if err := json.Unmarshal(payload, &id); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	parts := []trace.Part{}
	if p, ok := t.log.Part(id); ok {
		p.Node = t.n.cfg.NodeName
		parts = append(parts, p)
	}
	return json.Marshal(parts)
}

// TraceStory tells what the nodes know of a trace. Those that do not answer are left out.
func (n *Node) TraceStory(ctx context.Context, id string) (trace.Story, error) {
	payload, err := json.Marshal(id)
	if err != nil {
		return trace.Story{}, err
	}
	var parts []trace.Part
	n.ask(ctx, callTrace, payload, gather(&parts))
	return trace.Merge(parts), nil
}
