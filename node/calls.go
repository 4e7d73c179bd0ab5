package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"warren/cluster"
	"warren/node/alarm"
	"warren/node/management"
	"warren/node/session"
)

// Names of the calls between nodes. They are part of the protocol between
// versions: never change what one means.
const (
	callSessions        = "sessions"         // () -> [session.Info]
	callCloseConnection = "close-connection" // closeRequest -> bool: it was here
	callAlarms          = "alarms"           // alarm.Report -> alarm.Report of the other
	callStats           = "stats"            // () -> nodeStats
	callReplies         = "replies"          // see replyParcel -> a byte for each: 1 when it was taken
	callShortcuts       = "shortcuts"        // see shortcutParcel -> a byte for each: 1 when it was taken
)

// closeRequest closes the connection of a name, or when that is empty all of a user.
type closeRequest struct {
	Name, Reason string
	User         string
}

func (n *Node) handlers() map[string]cluster.Handler {
	return map[string]cluster.Handler{
		callReplies:   n.replies.answer,
		callShortcuts: n.answerShortcuts,
		callAlarms:    n.alarms.answer,
		callStats: func(context.Context, string, []byte) ([]byte, error) {
			return json.Marshal(nodeStats{n.id, n.stats()})
		},
		callSessions: func(context.Context, string, []byte) ([]byte, error) {
			return json.Marshal(n.localSessions())
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

func (n *Node) localSessions() []session.Info {
	all := n.sessions.All()
	infos := make([]session.Info, 0, len(all))
	for _, s := range all {
		infos = append(infos, s.Info())
	}
	return infos
}

// connectionForced is AMQP's reply code 320: an operator closes the connection.
const connectionForced = 320

func (n *Node) closeLocal(r closeRequest) bool {
	found := false
	for _, s := range n.sessions.All() {
		_, user := s.Place()
		if r.Name != "" && s.Info().Name == r.Name || r.Name == "" && r.User != "" && user == r.User {
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
	var mu sync.Mutex
	var wg sync.WaitGroup
	handlers := n.handlers()
	for _, m := range n.cluster.Members() {
		if !m.Alive {
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

// Connections lists the connections of the whole cluster.
func (n *Node) Connections(ctx context.Context) ([]management.Connection, error) {
	all := []management.Connection{}
	n.ask(ctx, callSessions, nil, func(answer []byte) error {
		var some []management.Connection
		if err := json.Unmarshal(answer, &some); err != nil {
			return err
		}
		all = append(all, some...)
		return nil
	})
	return all, nil
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

// stats measures this node.
func (n *Node) stats() management.NodeStats {
	s := n.alarms.monitor.State()
	return management.NodeStats{
		MemoryUsed: s.MemoryUsed, MemoryLimit: s.MemoryLimit, MemoryAlarm: s.Raised&alarm.Memory != 0,
		DiskFree: s.DiskFree, DiskFreeLimit: s.DiskLimit, DiskFreeAlarm: s.Raised&alarm.Disk != 0,
		Uptime: time.Since(n.started).Milliseconds(), PID: os.Getpid(),
		Processors: runtime.NumCPU(), Processes: runtime.NumGoroutine(),
	}
}

// NodeStats asks every node that is alive for its numbers. They are listed by the
// node's id; a node that does not answer is left out.
func (n *Node) NodeStats(ctx context.Context) map[string]management.NodeStats {
	all := make(map[string]management.NodeStats)
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
