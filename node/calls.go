package node

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"warren/cluster"
	"warren/node/management"
	"warren/node/session"
)

// Names of the calls between nodes. They are part of the protocol between
// versions: never change what one means.
const (
	callSessions        = "sessions"         // () or sessionQuery -> [nodeInfo]
	callRefs            = "session-refs"     // () or sessionQuery -> [nodeRef]
	callCloseConnection = "close-connection" // closeRequest -> bool: it was here
	callAlarms          = "alarms"           // alarm.Report -> alarm.Report of the other
	callStats           = "stats"            // () -> nodeStats
	callHistory         = "history"          // management.HistoryQuery -> nodeHistory
	callAttempts        = "auth-attempts"    // attemptsQuery -> [guard.Attempts]
	callShovels         = "shovels"          // () -> [management.ShovelStatus]
	callRestartShovel   = "restart-shovel"   // shovelKey -> bool: it runs here
	callReplies         = "replies"          // see replyParcel -> a byte for each: 1 when it was taken
	callDrain           = "drain"            // drainRequest -> drainAnswer
	callRevive          = "revive"           // () -> drainAnswer
	callTrace           = "trace"            // id of a trace -> [trace.Part]: one, or none
	callLogLevel        = "log-level"        // a level -> what is wrong with it, "" for nothing
	callTraceNotes      = "trace-notes"      // [trace.Note] -> true
	callShortcuts       = "shortcuts"        // see shortcutParcel -> a byte for each: 1 when it was taken
)

// closeRequest closes the connection of a name, or when that is empty all of a user.
type closeRequest struct {
	Name, Reason string
	User         string
}

func (n *Node) handlers() map[string]cluster.Handler {
	return map[string]cluster.Handler{
		callReplies:    n.replies.answer,
		callShortcuts:  n.answerShortcuts,
		callAlarms:     n.alarms.answer,
		callDrain:      n.answerDrain,
		callRevive:     n.answerRevive,
		callReload:     n.answerReload,
		callTrace:      n.traces.answer,
		callLogLevel:   n.answerLogLevel,
		callTraceNotes: n.traces.answerNotes,
		callStats: func(context.Context, string, []byte) ([]byte, error) {
			return json.Marshal(nodeStats{n.id, n.stats()})
		},
		callHistory: n.answerHistory,
		callShovels: func(context.Context, string, []byte) ([]byte, error) {
			return json.Marshal(n.shovels.statuses())
		},
		callRestartShovel: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			var k shovelKey
			if err := json.Unmarshal(payload, &k); err != nil {
				return nil, fmt.Errorf("restart-shovel: %w", err)
			}
			return json.Marshal(n.shovels.restart(k))
		},
		callAttempts: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			var q attemptsQuery
			if err := json.Unmarshal(payload, &q); err != nil {
				return nil, fmt.Errorf("auth-attempts: %w", err)
			}
			if q.Reset {
				n.attempts.Reset()
			}
			return json.Marshal(n.attempts.Counts(q.BySource))
		},
		callSessions: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			return answerSessions(n, payload, func(s *session.Session) nodeInfo { return nodeInfo{n.id, s.Info()} })
		},
		callRefs: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			return answerSessions(n, payload, func(s *session.Session) nodeRef { return nodeRef{n.id, s.Ref()} })
		},
		callCloseConnection: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			var r closeRequest
			if err := json.Unmarshal(payload, &r); err != nil {
				return nil, fmt.Errorf("close-connection: %w", err)
			}
			return json.Marshal(n.closeLocal(r))
		},
	}
}

// answerShortcuts waits for the parts that are made after the cluster.
func (n *Node) answerShortcuts(ctx context.Context, from string, payload []byte) ([]byte, error) {
	if !n.waitWired() {
		return nil, cluster.ErrClosed
	}
	return n.shortcuts.answer(ctx, from, payload)
}

// A sessionQuery says which connections of a node are meant.
type sessionQuery struct {
	IDs  []uint64 `json:"ids,omitempty"`  // these; nil: all
	Name string   `json:"name,omitempty"` // the one of that name; empty: any
}

// A nodeInfo is a session.Info with the id of its node.
type nodeInfo struct {
	NodeID string `json:"node_id"`
	session.Info
}

// A nodeRef is a session.Ref with the id of its node.
type nodeRef struct {
	NodeID string `json:"node_id"`
	session.Ref
}

// answerSessions describes the connections of this node that are asked for.
func answerSessions[T any](n *Node, payload []byte, describe func(*session.Session) T) ([]byte, error) {
	var q sessionQuery
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &q); err != nil {
			return nil, fmt.Errorf("sessions: %w", err)
		}
	}
	all := []T{}
	for _, s := range n.localSessions(q) {
		all = append(all, describe(s))
	}
	return json.Marshal(all)
}

func (n *Node) localSessions(q sessionQuery) []*session.Session {
	var some []*session.Session
	if q.IDs != nil {
		for _, id := range q.IDs {
			if s, ok := n.sessions.Get(id); ok {
				some = append(some, s)
			}
		}
		return some
	}
	for _, s := range n.sessions.All() {
		if q.Name == "" || s.Name() == q.Name {
			some = append(some, s)
		}
	}
	return some
}

// connectionForced is AMQP's reply code 320: an operator closes the connection.
const connectionForced = 320

func (n *Node) closeLocal(r closeRequest) bool {
	found := false
	for _, s := range n.sessions.All() {
		_, user := s.Place()
		if r.Name != "" && s.Name() == r.Name || r.Name == "" && r.User != "" && user == r.User {
			s.Close(connectionForced, r.Reason)
			found = true
		}
	}
	return found
}

// ask calls every node that is alive, this one too, at the same time, and gives
// each answer to take, one after the other. A node that does not answer is
// logged and left out: operators want to see the others.
func (n *Node) ask(ctx context.Context, method string, payload []byte, take func([]byte) error) {
	n.askEach(ctx, method, func(string) ([]byte, bool) { return payload, true }, take)
}

// askEach is ask with a payload for each node; payloadFor gives it by the node's id, or false when
// that node is not to be asked.
func (n *Node) askEach(ctx context.Context, method string, payloadFor func(id string) ([]byte, bool), take func([]byte) error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	handlers := n.handlers()
	for _, m := range n.cluster.Members() {
		payload, asked := payloadFor(m.ID)
		if !m.Alive || !asked {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			var answer []byte
			var err error
			if m.ID == n.id {
				answer, err = handlers[method](ctx, n.id, payload)
			} else {
				answer, err = n.cluster.Call(ctx, m.ID, method, payload)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = take(answer)
			}
			if err != nil {
				n.log.Warn("call to node failed", "method", method, "to", m.Name, "err", err)
			}
		}()
	}
	wg.Wait()
}

// ConnectionRefs lists the connections of the whole cluster, or those of one name.
func (n *Node) ConnectionRefs(ctx context.Context, name string) ([]management.ConnectionRef, error) {
	payload, err := json.Marshal(sessionQuery{Name: name})
	if err != nil {
		return nil, err
	}
	var all []management.ConnectionRef
	n.ask(ctx, callRefs, payload, gather(&all))
	return all, nil
}

// Connections describes connections. Those that have gone, and those of nodes that do not
// answer, are left out.
func (n *Node) Connections(ctx context.Context, keys []management.ConnectionKey) ([]management.Connection, error) {
	var all []management.Connection
	n.askEach(ctx, callSessions, queryFor(keys), gather(&all))
	return all, nil
}

// RefsOf returns the references of connections, as Connections does.
func (n *Node) RefsOf(ctx context.Context, keys []management.ConnectionKey) ([]management.ConnectionRef, error) {
	var all []management.ConnectionRef
	n.askEach(ctx, callRefs, queryFor(keys), gather(&all))
	return all, nil
}

// queryFor gives each node the question for its own of some connections.
func queryFor(keys []management.ConnectionKey) func(id string) ([]byte, bool) {
	byNode := make(map[string][]uint64)
	for _, k := range keys {
		byNode[k.NodeID] = append(byNode[k.NodeID], k.ID)
	}
	return func(id string) ([]byte, bool) {
		if len(byNode[id]) == 0 {
			return nil, false
		}
		payload, err := json.Marshal(sessionQuery{IDs: byNode[id]})
		return payload, err == nil
	}
}

// gather appends each answer, which is a list, to all.
func gather[T any](all *[]T) func(answer []byte) error {
	return func(answer []byte) error {
		var some []T
		if err := json.Unmarshal(answer, &some); err != nil {
			return err
		}
		*all = append(*all, some...)
		return nil
	}
}

// CloseConnection closes the connection of that name, wherever it is, with 320
// and the reason. It returns false when there is none.
func (n *Node) CloseConnection(ctx context.Context, name, reason string) (bool, error) {
	return n.closeConnections(ctx, closeRequest{Name: name, Reason: reason})
}

// CloseUserConnections does that with all connections of a user.
func (n *Node) CloseUserConnections(ctx context.Context, user, reason string) error {
	_, err := n.closeConnections(ctx, closeRequest{User: user, Reason: reason})
	return err
}

// closeConnections tells whether there was one.
func (n *Node) closeConnections(ctx context.Context, r closeRequest) (bool, error) {
	payload, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	found := false
	n.ask(ctx, callCloseConnection, payload, func(answer []byte) error {
		var here bool
		err := json.Unmarshal(answer, &here)
		found = found || here
		return err
	})
	return found, nil
}

// nodeStats are the numbers of one node.
type nodeStats struct {
	ID    string
	Stats management.NodeStats
}

// nodeHistory is what one node has counted over time.
type nodeHistory struct {
	ID      string
	History management.HistoryAnswer
}

// numbersPatience is how long a node may take to tell its numbers, which it has at hand. One that stands still is not known to be gone
// for some seconds: whoever looks at the cluster meanwhile is to see that, and the others.
const numbersPatience = 2 * time.Second

// answerHistory waits for the parts that are made after the cluster.
func (n *Node) answerHistory(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var q management.HistoryQuery
	if err := json.Unmarshal(payload, &q); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if !n.waitWired() {
		return nil, cluster.ErrClosed
	}
	return json.Marshal(nodeHistory{n.id, n.api.History(q)})
}

// History asks every node that is alive for what it has counted over time. The answers are listed by the
// node's id; a node that does not answer is left out.
func (n *Node) History(ctx context.Context, q management.HistoryQuery) map[string]management.HistoryAnswer {
	all := make(map[string]management.HistoryAnswer)
	ctx, cancel := context.WithTimeout(ctx, numbersPatience)
	defer cancel()
	payload, err := json.Marshal(q)
	if err != nil {
		n.log.Error("question for statistics", "err", err)
		return all
	}
	n.ask(ctx, callHistory, payload, func(answer []byte) error {
		var one nodeHistory
		if err := json.Unmarshal(answer, &one); err != nil {
			return err
		}
		all[one.ID] = one.History
		return nil
	})
	return all
}

// NodeStats asks every node that is alive for its numbers. They are listed by the
// node's id; a node that does not answer is left out.
func (n *Node) NodeStats(ctx context.Context) map[string]management.NodeStats {
	all := make(map[string]management.NodeStats)
	ctx, cancel := context.WithTimeout(ctx, numbersPatience)
	defer cancel()
	n.ask(ctx, callStats, nil, func(answer []byte) error {
		var one nodeStats
		if err := json.Unmarshal(answer, &one); err != nil {
			return err
		}
		all[one.ID] = one.Stats
		return nil
	})
	return all
}

// An attemptsQuery asks for the logins that were tried.
type attemptsQuery struct {
	BySource bool `json:"by_source"`
	Reset    bool `json:"reset"` // forget them first
}

// Attempts returns the logins that were tried on a node.
func (n *Node) Attempts(ctx context.Context, nodeID string, bySource bool) ([]management.Attempts, error) {
	return n.askAttempts(ctx, nodeID, attemptsQuery{BySource: bySource})
}

// ResetAttempts makes a node count logins anew.
func (n *Node) ResetAttempts(ctx context.Context, nodeID string) error {
	_, err := n.askAttempts(ctx, nodeID, attemptsQuery{Reset: true})
	return err
}

func (n *Node) askAttempts(ctx context.Context, nodeID string, q attemptsQuery) ([]management.Attempts, error) {
	payload, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	answered := false
	var all []management.Attempts
	add := gather(&all)
	n.askEach(ctx, callAttempts, func(id string) ([]byte, bool) { return payload, id == nodeID }, func(answer []byte) error {
		answered = true
		return add(answer)
	})
	if !answered {
		return nil, fmt.Errorf("%w, or it does not answer: %s", management.ErrUnknownNode, nodeID)
	}
	return all, nil
}
