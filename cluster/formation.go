package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Methods of formation; every node answers them, also before it is a member.
const (
	methodPromise = "form.promise" // attempt → nothing; an error is a refusal
	methodFounded = "form.founded" // attempt → nothing
	methodOutcome = "form.outcome" // attempt → one of the outcomes
)

// What a node knows of an attempt.
const (
	outcomeUnknown = "unknown"
	outcomeOpen    = "open"
	outcomeAborted = "aborted" // for good
	outcomeFounded = "founded"
)

// form takes the next step of a node that belongs to no cluster yet. It runs on
// the steward's goroutine only. See DESIGN.md, "Formation".
func (c *Cluster) form(ctx context.Context) {
	s := c.state.get()
	switch {
	case s.Attempt != nil:
		// This goroutine ends every attempt before it returns: this one is left over
		// from a process that was killed, and was not founded.
		c.abort(s.Attempt)
	case s.Promise != nil:
		c.keepPromise(ctx, s.Promise)
	case c.startsAlone():
		if c.found(&attempt{Cluster: newClusterID(), Coordinator: c.cfg.ID, Nodes: []string{c.cfg.ID}}) {
			c.standFirst()
		}
	default:
		c.findOthers(ctx)
	}
}

// startsAlone reports whether a fresh node is a cluster by itself.
func (c *Cluster) startsAlone() bool {
	return c.cfg.Expect <= 1 && !slices.ContainsFunc(c.cfg.Join, func(a string) bool { return a != c.advertise })
}

// findOthers founds a cluster with the fresh nodes that gossip shows, or adopts
// the one that is there.
func (c *Cluster) findOthers(ctx context.Context) {
	fresh, clusters := c.seen()
	n := c.cfg.Expect
	switch {
	case len(clusters) > 1:
		c.waitFor("nodes of several clusters (" + strings.Join(clusters, ", ") + ") are in sight: join only one")
	case len(clusters) == 1:
		c.adopt(clusters[0])
	case n <= 1:
		c.waitFor("a cluster to join: none is in sight at " + strings.Join(c.cfg.Join, ", "))
	case len(fresh) < n:
		c.waitFor(fmt.Sprintf("%d nodes that expect %d, to form a cluster: sees %d (%s)", n, n, len(fresh), strings.Join(fresh, ", ")))
	case fresh[0] != c.cfg.ID:
		c.waitFor("node " + fresh[0] + " to found the cluster")
	default:
		c.coordinate(ctx, fresh[:n])
	}
}

// seen returns the fresh nodes alive that expect as many as this one, sorted, this
// one included, and the ids of the clusters that living nodes belong to.
func (c *Cluster) seen() (fresh, clusters []string) {
	for _, id := range c.gossip.aliveNodes() {
		e, ok := c.book.get(id)
		switch {
		case id == c.cfg.ID:
			fresh = append(fresh, id)
		case !ok:
		case e.Cluster != "":
			if !slices.Contains(clusters, e.Cluster) {
				clusters = append(clusters, e.Cluster)
			}
		case e.Expect == c.cfg.Expect:
			fresh = append(fresh, id)
		}
	}
	slices.Sort(fresh)
	return fresh, clusters
}

// coordinate tries to found a cluster of the nodes: all must promise themselves
// to it. The decision is one write to this node's disk.
func (c *Cluster) coordinate(ctx context.Context, nodes []string) {
	a := &attempt{Cluster: newClusterID(), Coordinator: c.cfg.ID, Nodes: slices.Clone(nodes)}
	err := c.state.try(func(s *savedState) error {
		if s.Cluster != "" || s.Promise != nil || s.Attempt != nil {
			return errBusy
		}
		s.Attempt = a.clone()
		return nil
	})
	if err != nil {
		c.log.Debug("cannot found a cluster now", "error", err)
		return
	}
	c.log.Info("founding a cluster", "cluster", a.Cluster, "nodes", a.Nodes)
	if err := c.askAll(ctx, a, methodPromise); err != nil {
		c.waitFor("all of " + strings.Join(nodes, ", ") + " to promise themselves to a new cluster: " + err.Error())
		c.abort(a)
		// Others may coordinate too, by another view: do not meet again at once.
		pause(ctx, mrand.N(c.cfg.Timing.Retry))
		return
	}
	if !c.found(a) {
		return
	}
	if err := c.askAll(ctx, a, methodFounded); err != nil {
		c.log.Info("not every founding node has heard yet; they ask by themselves", "error", err)
	}
	c.standFirst()
}

// standFirst makes this node a candidate at once where no leader can be yet.
func (c *Cluster) standFirst() {
	if !c.isVoter(c.cfg.ID) {
		return
	}
	if _, id := c.raftNow().LeaderWithID(); id != "" || c.raftNow().State() != raft.Follower {
		return
	}
	if err := c.transport.stand(c.cfg.ID, c.cfg.Timing.Election); err != nil {
		c.log.Debug("could not stand for the first election", "error", err)
	}
}

// askAll calls all other nodes of the attempt at the same time.
func (c *Cluster) askAll(ctx context.Context, a *attempt, method string) error {
	payload, err := json.Marshal(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Call)
	defer cancel()
	errs := make([]error, len(a.Nodes))
	var wg sync.WaitGroup
	for i, id := range a.Nodes {
		if id == c.cfg.ID {
			continue
		}
		wg.Go(func() { _, errs[i] = c.Call(ctx, id, method, payload) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// abort ends an attempt of this node for good. Whoever promised learns it by
// asking (outcome): only what is on disk counts.
func (c *Cluster) abort(a *attempt) {
	err := c.state.update(func(s *savedState) {
		if s.Attempt != nil && s.Attempt.Cluster == a.Cluster {
			s.Attempt = nil
		}
	})
	if err != nil {
		c.log.Error("cannot give up founding a cluster", "error", err)
		return
	}
	c.log.Info("gave up founding a cluster", "cluster", a.Cluster)
}

// found makes the decision: from here on the cluster exists. It reports whether
// it could be made.
func (c *Cluster) found(a *attempt) bool {
	err := c.state.try(func(s *savedState) error {
		if s.Cluster != "" || (len(a.Nodes) > 1 && (s.Attempt == nil || s.Attempt.Cluster != a.Cluster)) {
			return errBusy
		}
		s.Cluster, s.Voters, s.Attempt = a.Cluster, slices.Clone(a.Nodes), nil
		return nil
	})
	if err != nil {
		c.log.Error("cannot found the cluster", "cluster", a.Cluster, "error", err)
		return false
	}
	c.log.Info("cluster is founded", "cluster", a.Cluster, "nodes", a.Nodes)
	c.became()
	return true
}

// errBusy refuses a promise or a decision that does not fit the node's state.
var errBusy = errors.New("node is promised or belongs to a cluster")

// onPromise answers a coordinator.
func (c *Cluster) onPromise(_ context.Context, from string, payload []byte) ([]byte, error) {
	a, err := decodeAttempt(payload)
	if err != nil {
		return nil, err
	}
	if a.Coordinator != from || !slices.Contains(a.Nodes, c.cfg.ID) || len(a.Nodes) != c.cfg.Expect {
		return nil, fmt.Errorf("node %s expects %d nodes, asked to be one of %v", c.cfg.ID, c.cfg.Expect, a.Nodes)
	}
	if _, clusters := c.seen(); len(clusters) > 0 {
		return nil, fmt.Errorf("node %s sees cluster %s, which is there already", c.cfg.ID, clusters[0])
	}
	err = c.state.try(func(s *savedState) error {
		if s.Cluster != "" || s.Attempt != nil || (s.Promise != nil && s.Promise.Cluster != a.Cluster) {
			return errBusy
		}
		s.Promise = a.clone()
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.log.Info("promised to help found a cluster", "cluster", a.Cluster, "coordinator", a.Coordinator)
	c.wake()
	return nil, nil
}

// onFounded takes the news of the cluster that this node promised itself to.
func (c *Cluster) onFounded(_ context.Context, _ string, payload []byte) ([]byte, error) {
	a, err := decodeAttempt(payload)
	if err != nil {
		return nil, err
	}
	return nil, c.fulfil(a)
}

// fulfil makes this node a founding member, as it promised.
func (c *Cluster) fulfil(a *attempt) error {
	changed := false
	err := c.state.try(func(s *savedState) error {
		if s.Cluster == a.Cluster {
			return nil
		}
		if s.Cluster != "" || s.Promise == nil || s.Promise.Cluster != a.Cluster {
			return errBusy
		}
		s.Cluster, s.Voters, s.Promise = a.Cluster, s.Promise.Nodes, nil
		changed = true
		return nil
	})
	if err != nil || !changed {
		return err
	}
	c.log.Info("is a founding member of the cluster", "cluster", a.Cluster, "nodes", a.Nodes)
	c.became()
	return nil
}

// onOutcome says what this node knows of an attempt.
func (c *Cluster) onOutcome(_ context.Context, _ string, payload []byte) ([]byte, error) {
	a, err := decodeAttempt(payload)
	if err != nil {
		return nil, err
	}
	s := c.state.get()
	switch {
	case s.Cluster == a.Cluster:
		return []byte(outcomeFounded), nil
	case s.Attempt != nil && s.Attempt.Cluster == a.Cluster:
		return []byte(outcomeOpen), nil
	case a.Coordinator == c.cfg.ID:
		// An attempt of this node is on its disk from before the first request until
		// it is founded or aborted.
		return []byte(outcomeAborted), nil
	default:
		return []byte(outcomeUnknown), nil
	}
}

// keepPromise asks what became of the cluster that this node promised itself to.
// It is released only by the coordinator, who has given up for good.
func (c *Cluster) keepPromise(ctx context.Context, a *attempt) {
	payload, err := json.Marshal(a)
	if err != nil {
		c.log.Error("formation", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Dial)
	defer cancel()
	outcomes := make([]string, len(a.Nodes))
	var wg sync.WaitGroup
	for i, id := range a.Nodes {
		if id == c.cfg.ID {
			continue
		}
		wg.Go(func() {
			if b, err := c.Call(ctx, id, methodOutcome, payload); err == nil {
				outcomes[i] = string(b)
			}
		})
	}
	wg.Wait()
	switch at := slices.Index(a.Nodes, a.Coordinator); {
	case slices.Contains(outcomes, outcomeFounded):
		if err := c.fulfil(a); err != nil {
			c.log.Error("cannot become a founding member", "cluster", a.Cluster, "error", err)
		}
	case at >= 0 && outcomes[at] == outcomeAborted:
		c.release(a)
	default:
		c.waitFor("node " + a.Coordinator + ", which this node promised to found cluster " + a.Cluster + " with")
	}
}

func (c *Cluster) release(a *attempt) {
	err := c.state.update(func(s *savedState) {
		if s.Promise != nil && s.Promise.Cluster == a.Cluster {
			s.Promise = nil
		}
	})
	if err != nil {
		c.log.Error("cannot take back a promise", "cluster", a.Cluster, "error", err)
		return
	}
	c.log.Info("coordinator gave up founding a cluster", "cluster", a.Cluster, "coordinator", a.Coordinator)
	c.wake()
}

// adopt makes a fresh node one of a cluster that is there; it is a member when
// the leader has added it.
func (c *Cluster) adopt(id string) {
	err := c.state.try(func(s *savedState) error {
		if s.Cluster != "" || s.Promise != nil || s.Attempt != nil {
			return errBusy
		}
		s.Cluster = id
		return nil
	})
	if err != nil {
		c.log.Debug("cannot join now", "error", err)
		return
	}
	c.log.Info("joining a cluster", "cluster", id)
	c.became()
}

// became lets everything know that the node belongs to a cluster now.
func (c *Cluster) became() {
	s := c.state.get()
	c.cluster.Store(&s.Cluster)
	if err := c.bootstrap(s); err != nil {
		c.log.Error("cannot start the cluster's log", "cluster", s.Cluster, "error", err)
	}
	c.gossip.refresh()
	c.peers.regreet()
	c.wake()
}

// bootstrap writes the first configuration, the same on every founding node. It
// is done once; done again it changes nothing.
func (c *Cluster) bootstrap(s savedState) error {
	if len(s.Voters) == 0 || s.Bootstrapped {
		return nil
	}
	var conf raft.Configuration
	for _, id := range s.Voters {
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	// Raft has a state already when another founding node was faster and leads.
	if err := c.raftNow().BootstrapCluster(conf).Error(); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return err
	}
	// It may be no more than a vote: then the configuration comes from the leader, and the log is empty until then.
	if last, err := c.stores.log.LastIndex(); err != nil || last == 0 {
		return err
	}
	return c.state.update(func(s *savedState) { s.Bootstrapped = true })
}

func decodeAttempt(payload []byte) (*attempt, error) {
	var a attempt
	if err := json.Unmarshal(payload, &a); err != nil {
		return nil, fmt.Errorf("attempt to found a cluster: %w", err)
	}
	if a.Cluster == "" || len(a.Cluster) > 64 || a.Coordinator == "" || len(a.Nodes) == 0 || len(a.Nodes) > 1000 {
		return nil, errors.New("attempt to found a cluster: incomplete")
	}
	return &a, nil
}

func newClusterID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// waitFor notes what the node waits for; it is logged when it changes, and once
// in a while.
func (c *Cluster) waitFor(what string) {
	c.mu.Lock()
	changed := c.waiting != what
	due := what != "" && (changed || time.Since(c.waitLogged) > waitLogEvery)
	c.waiting = what
	if due {
		c.waitLogged = time.Now()
	}
	c.mu.Unlock()
	if due {
		c.log.Info("waiting for " + what)
	}
}

const waitLogEvery = 15 * time.Second
