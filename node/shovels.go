package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"warren/cluster"
	"warren/fsm"
	"warren/fsm/command"
	"warren/node/management"
	"warren/node/shovel"
)

// shovelComponent is the component of the parameters that set shovels.
const shovelComponent = "shovel"

// shovelRetry is how long a node waits before it looks once more whether it may run shovels, or proposes again that one
// has ended.
const shovelRetry = 200 * time.Millisecond

// A shovelKey names a shovel.
type shovelKey struct{ VHost, Name string }

// shovels runs the shovels of the cluster, on the node that leads: see DESIGN.md, "Shovels".
type shovels struct {
	n    *Node
	wake chan struct{} // capacity 1: parameters or the leader have changed
	term uint64        // in which this node leads and nobody else runs shovels; of run

	mu      sync.Mutex
	running map[shovelKey]*shovelRun
}

// A shovelRun is a shovel that runs here, or has ended and waits for a change of its parameter or a restart.
type shovelRun struct {
	value  string // of the parameter
	parsed *shovel.Shovel
	worker *shovel.Worker // nil: the parameter cannot be understood
	fault  error          // then
	since  time.Time
	cancel context.CancelFunc
	done   chan struct{}
}

func newShovels(n *Node) *shovels {
	return &shovels{n: n, wake: make(chan struct{}, 1), running: make(map[shovelKey]*shovelRun)}
}

// look makes run look anew at what is to run here. It does not block.
func (s *shovels) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// noteParameters takes the count of changes after a log entry. It runs on the goroutine that applies the log.
func (n *Node) noteParameters(changes uint64) {
	if n.changes.Swap(changes) != changes {
		n.shovels.look()
		n.replica.View(n.tapVHosts)
		n.traces.look()
	}
}

// run keeps running what is to run here, until ctx ends and all have stopped.
func (s *shovels) run(ctx context.Context) {
	defer s.stopAll()
	for {
		retry := time.Hour
		switch {
		case !s.n.cluster.IsLeader():
			s.stopAll()
		case !s.settled(ctx):
			retry = shovelRetry
		default:
			s.adjust(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(retry):
		}
	}
}

// settled makes sure that no other node runs shovels: it waits until a former leader, if its process runs, has
// lost its lease, has stopped taking messages and has given back what it held. It returns false when this node does not
// lead then.
func (s *shovels) settled(ctx context.Context) bool {
	before := s.n.cluster.Leader()
	if before.Self && before.Term == s.term {
		return true
	}
	s.stopAll() // another node may have led in between
	select {
	case <-ctx.Done():
		return false
	case <-time.After(2 * cmp.Or(s.n.cfg.HeartbeatTimeout, defaultHeartbeatTimeout)):
	}
	if now := s.n.cluster.Leader(); !now.Self || now.Term != before.Term || !s.n.proposer.Began() {
		return false
	}
	s.term = before.Term
	return true
}

// defaultHeartbeatTimeout is that of Config.
const defaultHeartbeatTimeout = 500 * time.Millisecond

// wanted are the values of all parameters that set shovels.
func (s *shovels) wanted() map[shovelKey]string {
	all := make(map[shovelKey]string)
	s.n.replica.View(func(m *fsm.Machine) {
		for _, vhost := range m.VHosts() {
			for _, p := range m.Parameters(vhost) {
				if p.Component == shovelComponent {
					all[shovelKey{vhost, p.Name}] = p.Value
				}
			}
		}
	})
	return all
}

// adjust stops what is not wanted any more, or otherwise, and then starts what is missing.
func (s *shovels) adjust(ctx context.Context) {
	wanted := s.wanted()
	var leave []*shovelRun
	s.mu.Lock()
	for k, r := range s.running {
		if value, ok := wanted[k]; !ok || value != r.value {
			leave = append(leave, r)
			delete(s.running, k)
		}
	}
	s.mu.Unlock()
	stopShovels(leave)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, value := range wanted {
		if s.running[k] == nil {
			s.running[k] = s.start(ctx, k, value)
		}
	}
}

// stopShovels ends some shovels, all at the same time.
func stopShovels(runs []*shovelRun) {
	for _, r := range runs {
		r.cancel()
	}
	for _, r := range runs {
		<-r.done
	}
}

func (s *shovels) stopAll() {
	var all []*shovelRun
	s.mu.Lock()
	for _, r := range s.running {
		all = append(all, r)
	}
	clear(s.running)
	s.mu.Unlock()
	stopShovels(all)
}

// start starts a shovel. The caller holds the lock.
func (s *shovels) start(ctx context.Context, k shovelKey, value string) *shovelRun {
	node := ctx // whose end is that of its connections
	ctx, cancel := context.WithCancel(ctx)
	r := &shovelRun{value: value, since: time.Now(), cancel: cancel, done: make(chan struct{})}
	r.parsed, r.fault = shovel.Parse(k.VHost, k.Name, []byte(value))
	if r.fault != nil {
		s.n.log.Error("shovel cannot run", "vhost", k.VHost, "shovel", k.Name, "err", r.fault)
		close(r.done)
		return r
	}
	r.worker = shovel.New(r.parsed, shovel.Config{
		Local: func(trusted bool) (net.Conn, error) { return s.n.connectInside(node, trusted) },
		Type:  "dynamic", Cluster: s.n.clusterName(), Version: s.n.cfg.Version, Logger: s.n.log,
	})
	go func() {
		defer close(r.done)
		if r.parsed.Source.DeleteAfter == shovel.QueueLength {
			s.awaitReturns(ctx)
		}
		if r.worker.Run(ctx) == nil {
			s.finished(ctx, k, value)
		}
	}()
	return r
}

// awaitReturns waits until the cluster has given up the nodes that are gone, a while at most: then what a shovel that ran there
// held is in its queue again, and counts for its length.
func (s *shovels) awaitReturns(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.n.cfg.NodeGrace, defaultNodeGrace)+returnsSlack)
	defer cancel()
	for {
		var epochs []fsm.EpochInfo
		s.n.replica.View(func(m *fsm.Machine) { epochs = m.Epochs() })
		gone := slices.ContainsFunc(epochs, func(e fsm.EpochInfo) bool { return e.Node != s.n.id && !s.answers(ctx, e.Node) })
		if !gone {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(shovelRetry):
		}
	}
}

// answers reports whether a node does. Gossip takes longer to miss one.
func (s *shovels) answers(ctx context.Context, node string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := s.n.cluster.Call(ctx, node, callShovels, nil)
	return err == nil || errors.Is(err, cluster.ErrNoMethod)
}

const (
	// defaultNodeGrace is that of Config.
	defaultNodeGrace = 10 * time.Second
	// returnsSlack is how long after its grace a node may be removed.
	returnsSlack = 10 * time.Second
)

// finished clears the parameter of a shovel that has moved all it was asked for, unless somebody has set it anew.
func (s *shovels) finished(ctx context.Context, k shovelKey, value string) {
	for ctx.Err() == nil && s.wanted()[k] == value {
		_, err := broker{s.n}.Propose(ctx, &command.ParameterClear{VHost: k.VHost, Component: shovelComponent, Name: k.Name})
		if err == nil {
			return
		}
		s.n.log.Warn("a shovel that has ended is not cleared yet", "vhost", k.VHost, "shovel", k.Name, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(shovelRetry):
		}
	}
}

// restart makes a shovel that runs here begin anew, and tells whether it does.
func (s *shovels) restart(k shovelKey) bool {
	s.mu.Lock()
	r := s.running[k]
	delete(s.running, k)
	s.mu.Unlock()
	if r == nil {
		return false
	}
	stopShovels([]*shovelRun{r})
	s.look()
	return true
}

// statuses describes what runs here.
func (s *shovels) statuses() []management.ShovelStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []management.ShovelStatus{}
	for k, r := range s.running {
		st := management.ShovelStatus{Node: s.n.cfg.NodeName, VHost: k.VHost, Name: k.Name}
		if r.worker == nil {
			st.State, st.Reason, st.Changed = shovel.Terminated, r.fault.Error(), r.since
		} else {
			w := r.worker.Status()
			st.State, st.Reason, st.Changed = w.State, w.Reason, w.Changed
			st.SrcURI, st.DestURI = w.Source, w.Destination
			st.SrcProtocol, st.DestProtocol = r.parsed.Source.Protocol, r.parsed.Destination.Protocol
			st.Ends = r.parsed.Ends()
			st.Remaining, st.Forwarded, st.Pending = w.Remaining, w.Forwarded, w.Pending
		}
		all = append(all, st)
	}
	return all
}

// Shovels describes the shovels that run, on whichever node.
func (n *Node) Shovels(ctx context.Context) []management.ShovelStatus {
	var all []management.ShovelStatus
	n.ask(ctx, callShovels, nil, gather(&all))
	return all
}

// RestartShovel makes a shovel begin anew, on whichever node it runs.
func (n *Node) RestartShovel(ctx context.Context, vhost, name string) error {
	payload, err := json.Marshal(shovelKey{vhost, name})
	if err != nil {
		return err
	}
	n.ask(ctx, callRestartShovel, payload, func([]byte) error { return nil })
	return nil
}
