package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Methods of membership. A joining node calls methodJoin; the others are for members.
const (
	methodJoin     = "cluster.join"     // node id → nothing
	methodMember   = "cluster.member"   // node id → one byte, 1 when the leader has it in the configuration
	methodRemove   = "cluster.remove"   // id or name → nothing
	methodTransfer = "cluster.transfer" // id or name, or nothing → nothing
)

func (c *Cluster) registerHandlers() {
	c.handlers = map[string]Handler{
		methodPromise: c.onPromise, methodFounded: c.onFounded, methodOutcome: c.onOutcome,
		methodPosition: c.onPosition, methodJoin: c.onJoin, methodMember: c.onMember,
	}
	c.memberHandlers = map[string]Handler{methodRemove: c.onRemove, methodTransfer: c.onTransfer, methodStandIn: c.onStandIn, methodWilling: c.onWilling}
}

// servers is the latest Raft configuration that this node knows.
func (c *Cluster) servers() []raft.Server {
	f := c.raftNow().GetConfiguration()
	if f.Error() != nil {
		return nil // it never fails, see hashicorp/raft
	}
	return f.Configuration().Servers
}

// voters are the ids of those who vote, also of one that joins or leaves just now.
func (c *Cluster) voters() (ids []raft.ServerID) {
	for _, s := range c.servers() {
		if s.Suffrage == raft.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func (c *Cluster) server(id string) (raft.Server, bool) {
	for _, s := range c.servers() {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

func (c *Cluster) isVoter(id string) bool {
	s, ok := c.server(id)
	return ok && s.Suffrage == raft.Voter
}

// Members returns the members of the cluster and other nodes that gossip has
// alive, sorted by name, then id.
func (c *Cluster) Members() []Member {
	leader := c.Leader()
	byID := make(map[string]*Member)
	add := func(id string) *Member {
		if byID[id] == nil {
			byID[id] = &Member{ID: id}
		}
		return byID[id]
	}
	for _, s := range c.servers() {
		m := add(string(s.ID))
		m.Member, m.Voter = true, s.Suffrage == raft.Voter
	}
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); ok && (e.Cluster == "" || e.Cluster == c.clusterID()) {
			add(id)
		}
	}
	out := make([]Member, 0, len(byID))
	for id, m := range byID {
		m.Self = id == c.cfg.ID
		m.Leader = leader.Known && leader.ID == id
		m.Alive = c.isAlive(id)
		m.Reluctant = c.isReluctant(id)
		if e, ok := c.book.get(id); ok {
			m.Name, m.Addr, m.Tags = e.Name, e.Addr, e.Tags
		}
		if m.Self {
			m.Name, m.Addr, m.Tags = c.cfg.Name, c.advertise, c.cfg.Tags
		}
		m.LastContact = c.lastContact(id, leader)
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func (c *Cluster) lastContact(id string, leader Leader) time.Time {
	switch {
	case id == c.cfg.ID:
	case leader.Self:
		if p := c.peers.lookup(id); p != nil && p.view().instance != 0 {
			return p.view().heard
		}
	case leader.Known && leader.ID == id:
		return c.raftNow().LastContact()
	}
	return time.Time{}
}

// isAlive reports whether a node is running, as far as this node sees: it is this
// one, or its link is up and answers, or gossip has it and its address does not refuse.
func (c *Cluster) isAlive(id string) bool {
	if id == c.cfg.ID {
		return true
	}
	p := c.peers.lookup(id)
	if p == nil {
		return c.gossip.isAlive(id)
	}
	v := p.view()
	if v.up {
		return time.Since(v.heard) < c.cfg.Timing.LinkTimeout
	}
	return v.refused.IsZero() && c.gossip.isAlive(id)
}

// Stats returns numbers of the local Raft node.
func (c *Cluster) Stats() Stats {
	r := c.raftNow()
	c.mu.Lock()
	waiting := c.waiting
	c.mu.Unlock()
	s := Stats{
		State: r.State().String(), ClusterID: c.clusterID(), Term: r.CurrentTerm(),
		CommitIndex: r.CommitIndex(), AppliedIndex: r.AppliedIndex(), LastLogIndex: r.LastIndex(),
		LeaderID: c.Leader().ID, Waiting: waiting,
	}
	// Not from the snapshot store: its list reads directories, and warns of a
	// snapshot that is being written.
	if n, err := strconv.ParseUint(r.Stats()["last_snapshot_index"], 10, 64); err == nil {
		s.SnapshotIndex = n
	}
	return s
}

// seek contacts the addresses to join until the node sees enough others, and now
// and then later: gossip that was split grows together again.
func (c *Cluster) seek() {
	const later = 10 * time.Second
	for {
		addrs := c.seekAddrs()
		if len(addrs) > 0 {
			if n, err := c.gossip.join(c.ctx, addrs); err != nil {
				c.log.Debug("looking for nodes", "contacted", n, "error", err)
			}
		}
		wait := c.cfg.Timing.Retry
		if len(c.gossip.aliveNodes()) >= max(2, c.cfg.Expect, len(c.servers())) {
			wait = later
		}
		pause(c.ctx, wait)
		if c.ctx.Err() != nil {
			return
		}
	}
}

// seekAddrs are the addresses at which no living node is known: of the settings,
// and of members.
func (c *Cluster) seekAddrs() []string {
	known := map[string]bool{c.advertise: true}
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); ok {
			known[e.Addr] = true
		}
	}
	var out []string
	add := func(a string) {
		if !known[a] {
			known[a] = true
			out = append(out, a)
		}
	}
	for _, a := range c.cfg.Join {
		add(a)
	}
	for _, s := range c.servers() {
		if e, ok := c.book.get(string(s.ID)); ok {
			add(e.Addr)
		}
	}
	return out
}

// stewardPause keeps the steward from running at every small event.
const stewardPause = 10 * time.Millisecond

// steward forms, joins and tends the cluster.
func (c *Cluster) steward() {
	tick := time.NewTicker(c.cfg.Timing.Retry)
	defer tick.Stop()
	s := &membership{c: c}
	for {
		if c.clusterID() == "" {
			c.form(c.ctx)
		} else {
			s.step(c.ctx)
		}
		if err := c.saveBook(); err != nil {
			c.log.Warn("cannot save addresses", "error", err)
		}
		pause(c.ctx, stewardPause)
		select {
		case <-tick.C:
		case <-c.wakeup:
		case <-c.ctx.Done():
			return
		}
	}
}

// saveBook keeps the addresses of members, which a node needs to come back.
func (c *Cluster) saveBook() error {
	servers := c.servers()
	return c.book.save(func(id string) bool {
		return slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	})
}

// membership is what the steward remembers of a node that belongs to a cluster.
type membership struct {
	c          *Cluster
	leaderless time.Time // since when no leader is known
	asked      time.Time // when the others were asked whether this node was removed
}

const (
	leaderlessLong = 3 * time.Second
	idleLink       = time.Minute
)

func (m *membership) step(ctx context.Context) {
	c := m.c
	servers := c.servers()
	for _, s := range servers {
		if id := string(s.ID); id != c.cfg.ID {
			c.peers.get(id) // keeps a link to every member
		}
	}
	c.peers.prune(func(id string, used time.Time) bool {
		return time.Since(used) < idleLink ||
			slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	})
	leader := c.Leader()
	switch {
	case len(servers) == 0:
		m.join(ctx)
	case leader.Self:
		m.leaderless = time.Time{}
		c.waitFor("")
		c.giveWay(ctx)
		m.tend(ctx, servers)
	case leader.Known:
		m.leaderless = time.Time{}
		c.waitFor("")
	default:
		m.withoutLeader(ctx, servers)
	}
}

// join asks the members that are in sight to take this node in.
func (m *membership) join(ctx context.Context) {
	c := m.c
	if len(c.state.get().Voters) > 0 {
		c.waitFor("the first configuration to be written")
		return
	}
	var errs []error
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); !ok || id == c.cfg.ID || e.Cluster != c.clusterID() {
			continue
		}
		_, err := c.Call(ctx, id, methodJoin, []byte(c.cfg.ID))
		if err == nil {
			c.waitFor("the leader to send the log")
			return
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		c.waitFor("a member of cluster " + c.clusterID() + " to come in sight")
		return
	}
	c.waitFor("cluster " + c.clusterID() + " to take this node in: " + errors.Join(errs...).Error())
}

// withoutLeader says what a member without a leader waits for, and finds out
// whether it is no member any more.
func (m *membership) withoutLeader(ctx context.Context, servers []raft.Server) {
	c := m.c
	now := time.Now()
	if m.leaderless.IsZero() {
		m.leaderless = now
	}
	if now.Sub(m.leaderless) < leaderlessLong {
		return
	}
	alive, voters := 0, 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
			if c.isAlive(string(s.ID)) {
				alive++
			}
		}
	}
	c.waitFor(fmt.Sprintf("a leader: %d of %d voters are in sight, %d are needed", alive, voters, voters/2+1))
	if now.Sub(m.asked) < leaderlessLong {
		return
	}
	m.asked = now
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); !ok || id == c.cfg.ID || e.Cluster != c.clusterID() {
			continue
		}
		b, err := c.Call(ctx, id, methodMember, []byte(c.cfg.ID))
		if err == nil && len(b) == 1 && b[0] == 0 {
			c.waitFor("nothing: the cluster has removed this node; wipe its data directory to join as a new one")
			return
		}
	}
}

// onMember answers whether a node is in the configuration. Only a leader knows.
func (c *Cluster) onMember(_ context.Context, _ string, payload []byte) ([]byte, error) {
	if _, leads := c.leadingTerm(); !leads {
		return nil, ErrNoLeader
	}
	if err := c.verifyLeader(); err != nil {
		return nil, ErrNoLeader
	}
	if _, ok := c.server(string(payload)); ok {
		return []byte{1}, nil
	}
	return []byte{0}, nil
}

// verifyLeader asks a quorum whether this node still leads. Raft may leave the
// question open for as long as it leads: when a member whose answer it awaits is
// removed. So it is asked no longer than for a while, and than the node runs.
func (c *Cluster) verifyLeader() error {
	answer := make(chan error, 1)
	go func() { answer <- c.raftNow().VerifyLeader().Error() }() // ends with leadership at the latest
	timer := time.NewTimer(c.cfg.Timing.Call)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return ErrNoLeader
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// configTime bounds how long a change of the configuration may wait to begin.
const configTime = 5 * time.Second

// onJoin adds a node to the configuration, without a vote for now.
func (c *Cluster) onJoin(ctx context.Context, from string, payload []byte) ([]byte, error) {
	id := string(payload)
	if err := checkID(id); err != nil {
		return nil, err
	}
	if _, leads := c.leadingTerm(); !leads {
		return c.askLeader(ctx, methodJoin, payload)
	}
	if _, ok := c.server(id); ok {
		return nil, nil
	}
	c.log.Info("node joins", "joining", id, "asked_by", from)
	return nil, raftError(c.raftNow().AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, configTime).Error())
}

// askLeader takes a call to the leader.
func (c *Cluster) askLeader(ctx context.Context, method string, payload []byte) ([]byte, error) {
	l := c.Leader()
	if !l.Known || l.Self {
		return nil, ErrNoLeader
	}
	return c.Call(ctx, l.ID, method, payload)
}

// raftError turns Raft's errors into ours where we have one.
func raftError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNoLeader, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrClosed
	default:
		return err
	}
}

// caughtUp is how many entries a node may lag and still get its vote: it has
// them before the election that needs them.
const caughtUp = 64

// tend is the leader's care for its members.
func (m *membership) tend(ctx context.Context, servers []raft.Server) {
	voters := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	for _, s := range servers {
		id := string(s.ID)
		switch {
		case id == m.c.cfg.ID:
		case s.Suffrage != raft.Voter && voters < m.c.cfg.MaxVoters:
			if m.promote(ctx, id, servers) {
				return // one change at a time
			}
		case s.Suffrage == raft.Voter && m.c.cfg.Timing.VoterGrace > 0:
			if m.removeDead(id, servers) {
				return
			}
		}
	}
}

// promote gives a node its vote when it has the log and is alive, and reports
// whether it did. The voters alive must be a quorum of the new number.
func (m *membership) promote(ctx context.Context, id string, servers []raft.Server) bool {
	c := m.c
	if !c.peers.isUp(id) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Dial)
	defer cancel()
	want := c.raftNow().CommitIndex()
	p, err := c.askPosition(ctx, id)
	if err != nil || p.lastIndex+caughtUp < want {
		return false
	}
	alive, voters := c.aliveVoters(servers, "")
	if alive+1 < (voters+1)/2+1 {
		return false
	}
	if err := c.raftNow().AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, configTime).Error(); err != nil {
		c.log.Warn("cannot give a node its vote", "voter", id, "error", err)
		return false
	}
	c.log.Info("node votes now", "voter", id)
	return true
}

// removeDead removes a voter that has been dead for long, when those that are left
// are a quorum, and reports whether it did.
func (m *membership) removeDead(id string, servers []raft.Server) bool {
	c := m.c
	p := c.peers.get(id)
	if p == nil || c.isAlive(id) {
		return false
	}
	v := p.view()
	silent := time.Since(v.heard)
	if silent < c.cfg.Timing.VoterGrace {
		return false
	}
	// Of those that vote now, not of those that are left: a leader of two that has
	// lost the other has no quorum, it only does not know yet.
	if alive, voters := c.aliveVoters(servers, ""); alive < voters/2+1 {
		return false
	}
	c.log.Warn("removing a voter that has been dead for long", "voter", id, "silent", silent)
	if err := c.raftNow().RemoveServer(raft.ServerID(id), 0, configTime).Error(); err != nil {
		c.log.Warn("cannot remove a dead voter", "voter", id, "error", err)
		return false
	}
	return true
}

// aliveVoters counts the voters, and those alive, without the one named.
func (c *Cluster) aliveVoters(servers []raft.Server, without string) (alive, voters int) {
	for _, s := range servers {
		if s.Suffrage != raft.Voter || string(s.ID) == without {
			continue
		}
		voters++
		if c.isAlive(string(s.ID)) {
			alive++
		}
	}
	return alive, voters
}

// Remove takes a dead node out of the cluster for good, as rabbitmqctl
// forget_cluster_node does. It works on any member, named by id or by name; of
// several nodes of a name it means the dead one. A node that runs is refused
// (ErrNodeRunning), and so is what would leave no quorum (ErrQuorum). Other
// errors: ErrNoSuchNode, ErrAmbiguous, ErrRemoveSelf, ErrLastVoter, ErrNoLeader.
// After ErrNoLeader the node may have been removed all the same.
func (c *Cluster) Remove(ctx context.Context, idOrName string) error {
	if idOrName == c.cfg.ID || (idOrName == c.cfg.Name && c.onlyOneNamed(idOrName)) {
		return ErrRemoveSelf
	}
	_, err := c.onRemove(ctx, c.cfg.ID, []byte(idOrName))
	return err
}

func (c *Cluster) onlyOneNamed(name string) bool { return len(c.named(name)) == 1 }

// named returns the members that have the name or the id.
func (c *Cluster) named(idOrName string) []string {
	var out []string
	for _, s := range c.servers() {
		id := string(s.ID)
		if id == idOrName {
			return []string{id}
		}
		if e, ok := c.book.get(id); ok && e.Name == idOrName {
			out = append(out, id)
		}
	}
	return out
}

func (c *Cluster) onRemove(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	if _, leads := c.leadingTerm(); !leads {
		return c.askLeader(ctx, methodRemove, payload)
	}
	what := string(payload)
	ids := c.named(what)
	if len(ids) > 1 {
		ids = slices.DeleteFunc(ids, c.isAlive)
		if len(ids) > 1 {
			return nil, fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(ids, ", "))
		}
		if len(ids) == 0 {
			return nil, fmt.Errorf("%w: %s", ErrNodeRunning, what)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoSuchNode, what)
	}
	return nil, c.remove(ids[0])
}

// remove takes a dead node out of the configuration. Only on the leader.
func (c *Cluster) remove(id string) error {
	s, ok := c.server(id)
	if !ok {
		return fmt.Errorf("%w: %s", ErrNoSuchNode, id)
	}
	if c.isAlive(id) {
		return fmt.Errorf("%w: %s", ErrNodeRunning, id)
	}
	if s.Suffrage == raft.Voter {
		alive, voters := c.aliveVoters(c.servers(), id)
		if voters == 0 {
			return ErrLastVoter
		}
		if alive < voters/2+1 {
			return fmt.Errorf("%w: %d of the %d others that vote are alive", ErrQuorum, alive, voters)
		}
	}
	c.log.Info("removing node", "removed", id)
	return raftError(c.raftNow().RemoveServer(raft.ServerID(id), 0, configTime).Error())
}

// TransferLeadership makes another member lead: the one named by id or name, or
// with "" one that is alive. It works on any member and returns when the old
// leader has stepped down. Errors: ErrNoSuchNode, ErrAmbiguous, ErrReluctant, ErrNoLeader, or
// what Raft says.
func (c *Cluster) TransferLeadership(ctx context.Context, to string) error {
	_, err := c.onTransfer(ctx, c.cfg.ID, []byte(to))
	return err
}

func (c *Cluster) onTransfer(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	if _, leads := c.leadingTerm(); !leads {
		return c.askLeader(ctx, methodTransfer, payload)
	}
	to := string(payload)
	if to != "" {
		ids := c.named(to)
		if len(ids) > 1 {
			ids = slices.DeleteFunc(ids, func(id string) bool { return !c.isAlive(id) })
		}
		switch {
		case len(ids) == 0:
			return nil, fmt.Errorf("%w: %s", ErrNoSuchNode, to)
		case len(ids) > 1:
			return nil, fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(ids, ", "))
		case ids[0] == c.cfg.ID:
			return nil, nil
		}
		to = ids[0]
		if c.isReluctant(to) {
			return nil, fmt.Errorf("%w: %s", ErrReluctant, string(payload))
		}
	}
	return nil, c.transfer(ctx, to)
}

// transfer hands leadership to a voter that is alive: to the one given, or else
// to the first that takes it and is not reluctant. With no other voter there is nothing to do.
func (c *Cluster) transfer(ctx context.Context, to string) error {
	var targets []raft.Server
	others := 0
	for _, s := range c.servers() {
		id := string(s.ID)
		if s.Suffrage != raft.Voter || id == c.cfg.ID {
			continue
		}
		others++
		if (to == "" && c.peers.isUp(id) && !c.isReluctant(id)) || to == id {
			targets = append(targets, s)
		}
	}
	if others == 0 && to == "" {
		return nil
	}
	if len(targets) == 0 {
		return fmt.Errorf("%w: no voter to lead", ErrNoSuchNode)
	}
	var errs []error
	for _, s := range targets {
		if err := c.askWilling(ctx, string(s.ID)); err != nil {
			errs = append(errs, fmt.Errorf("to %s: %w", s.ID, err))
			continue
		}
		done := make(chan error, 1)
		go func() { done <- c.raftNow().LeadershipTransferToServer(s.ID, s.Address).Error() }()
		select {
		case err := <-done:
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("to %s: %w", s.ID, err))
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return fmt.Errorf("transfer leadership: %w", errors.Join(errs...))
}
