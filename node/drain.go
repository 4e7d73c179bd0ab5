package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"warren/cluster"
	"warren/node/management"
)

// drainReason is RabbitMQ's text for clients of a node that is drained, with 320.
const drainReason = "Node was put into maintenance mode"

const (
	// drainTransfer bounds the wait for another leader, drainClients that for clients that are told to go.
	drainTransfer = 3 * time.Second
	drainClients  = 5 * time.Second
	drainPoll     = 5 * time.Millisecond
)

// maintenance is whether a node serves clients.
type maintenance uint8

const (
	inService maintenance = iota
	draining              // it asks whether it may: others count it out already
	drained
)

// A drainRequest asks a node to serve no clients any more.
type drainRequest struct {
	Force bool `json:"force,omitempty"` // though the others would be no quorum
}

// A drainAnswer is what came of it, or of a revive.
type drainAnswer struct {
	Refused string `json:"refused,omitempty"` // why the cluster needs the node
	Failed  string `json:"failed,omitempty"`
	Closed  int    `json:"closed"` // connections
}

func (n *Node) maintenance() maintenance {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.service
}

func (n *Node) setMaintenance(m maintenance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.service = m
}

// drain takes this node out of service: another node leads, the system refuses its clients, and those that are
// connected are sent away. The node stays a member that votes and answers over HTTP. Nothing
// of it is remembered: a node that starts is in service.
func (n *Node) drain(ctx context.Context, r drainRequest) drainAnswer {
	n.draining.Lock()
	defer n.draining.Unlock()
	if n.maintenance() == drained {
		return drainAnswer{}
	}
	// Before the others are asked: of two nodes that are drained at once one at least counts the other out.
	n.setMaintenance(draining)
	if !r.Force {
		if reason := n.neededFor(ctx); reason != "" {
			n.setMaintenance(inService)
			return drainAnswer{Refused: reason}
		}
	}
	n.log.Warn("this node is being put into maintenance (drain) mode", "forced", r.Force)
	n.setMaintenance(drained)
	for _, d := range n.doors {
		if err := d.shut(); err != nil {
			n.log.Warn("stop listening", "addr", d.Addr().String(), "err", err)
		}
	}
	// Leadership before the clients: those of other nodes go on while ours say good-bye.
	n.cluster.SetReluctant(true)
	if n.cluster.IsLeader() {
		tctx, cancel := context.WithTimeout(ctx, drainTransfer)
		if err := n.cluster.TransferLeadership(tctx, ""); err != nil {
			n.log.Warn("leadership was not handed over yet; the node goes on to try", "err", err)
		}
		cancel()
	}
	closed := n.sendAway(ctx)
	n.log.Warn("the node is drained: it may be stopped", "connections_closed", closed)
	return drainAnswer{Closed: closed}
}

// neededFor tells why the cluster cannot do without this node, or nothing when it can.
func (n *Node) neededFor(ctx context.Context) string {
	info := broker{n}.Cluster(ctx)
	return management.WithoutNode(&info, n.NodeStats(ctx), n.id)
}

// sendAway closes all connections and waits until they have ended, so that what their consumers held is on its way to others.
func (n *Node) sendAway(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, drainClients)
	defer cancel()
	all := n.sessions.All()
	for _, s := range all {
		s.Close(connectionForced, drainReason)
	}
	for n.sessions.Len() > 0 {
		select {
		case <-time.After(drainPoll):
		case <-ctx.Done():
			n.log.Warn("some clients take long to go", "connections", n.sessions.Len())
			return len(all)
		}
	}
	return len(all)
}

// revive puts the node back into service.
func (n *Node) revive() drainAnswer {
	n.draining.Lock()
	defer n.draining.Unlock()
	if n.maintenance() == inService {
		return drainAnswer{}
	}
	for i, d := range n.doors {
		err := d.open()
		if err == nil {
			continue
		}
		for _, opened := range n.doors[:i] {
			err = errors.Join(err, opened.shut())
		}
		return drainAnswer{Failed: fmt.Sprintf("the node stays drained, as it cannot listen: %v; free the port, or restart the node", err)}
	}
	n.cluster.SetReluctant(false)
	n.setMaintenance(inService)
	n.log.Info("the node is back from maintenance and serves clients")
	return drainAnswer{}
}

func (n *Node) answerDrain(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	var r drainRequest
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("drain: %w", err)
	}
	if !n.waitWired() {
		return nil, cluster.ErrClosed
	}
	return json.Marshal(n.drain(ctx, r))
}

func (n *Node) answerRevive(context.Context, string, []byte) ([]byte, error) {
	if !n.waitWired() {
		return nil, cluster.ErrClosed
	}
	return json.Marshal(n.revive())
}

// Drain takes a node out of service, and tells how many connections were closed.
func (b broker) Drain(ctx context.Context, node string, force bool) (int, error) {
	payload, err := json.Marshal(drainRequest{Force: force})
	if err != nil {
		return 0, err
	}
	return b.maintain(ctx, node, callDrain, payload)
}

// Revive puts a node back into service.
func (b broker) Revive(ctx context.Context, node string) error {
	_, err := b.maintain(ctx, node, callRevive, nil)
	return err
}

func (b broker) maintain(ctx context.Context, node, method string, payload []byte) (int, error) {
	m, err := b.member(node)
	if err != nil {
		return 0, err
	}
	answer, err := b.cluster.Call(ctx, m.ID, method, payload)
	switch {
	case errors.Is(err, cluster.ErrNoMethod):
		return 0, fmt.Errorf("%w: node %s is of a version without maintenance mode: stop it instead, it goes in order", management.ErrNotSupported, m.Name)
	case err != nil:
		return 0, err
	}
	var a drainAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return 0, fmt.Errorf("answer of node %s: %w", m.Name, err)
	}
	switch {
	case a.Refused != "":
		return 0, fmt.Errorf("%w: %s", management.ErrNeeded, a.Refused)
	case a.Failed != "":
		return 0, errors.New(a.Failed)
	}
	return a.Closed, nil
}

// member finds a member by id or name; of several of a name the one that runs.
func (b broker) member(node string) (cluster.Member, error) {
	var found []cluster.Member
	for _, m := range b.cluster.Members() {
		if m.ID == node {
			return m, nil
		}
		if m.Name == node {
			found = append(found, m)
		}
	}
	for _, m := range found {
		if m.Alive {
			return m, nil
		}
	}
	if len(found) > 0 {
		return cluster.Member{}, fmt.Errorf("node %s does not run", node)
	}
	return cluster.Member{}, fmt.Errorf("%w: %s", management.ErrUnknownNode, node)
}
