package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"warren/cluster"
	ct "warren/cluster/clustertest"
	"warren/node/msgstore"
)

// A member is a node with its disk, whether its process runs or not.
type member struct {
	s      *sim
	id     string
	ip     string
	expect int
	join   []string

	offset atomic.Int64 // of its clock, milliseconds
	slow   atomic.Int64 // at most, of a write to its disk, nanoseconds

	life chan struct{} // held by who starts or ends its process; a mutex would hold up the bubble's time

	// Guarded by s.mu.
	disk *ct.Disk
	host *ct.Host
	node *Node // nil while no process runs
	hurt bool  // something was done to it that its clients may notice
	gone bool  // it is no member any more
}

// add makes a member; it is opened apart from that.
func (s *sim) add(join []string, expect int) *member {
	r := s.source()
	var id uuid.UUID
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came++
	m := &member{s: s, id: id.String(), ip: fmt.Sprintf("10.0.0.%d", s.came), expect: expect, join: join, life: make(chan struct{}, 1)}
	m.slow.Store(int64(s.write))
	var mu sync.Mutex
	m.disk = ct.NewDisk(r, func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return upTo(r, time.Duration(m.slow.Load()))
	})
	s.members = append(s.members, m)
	return m
}

func (m *member) name() string { return "n" + m.ip[len("10.0.0."):] }
func (m *member) addr() string { return m.ip + ":7900" }

// spared reports whether nothing was done to the member that its clients may notice.
func (m *member) spared() bool {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return !m.hurt
}

// running returns the member's process, nil when none runs.
func (m *member) running() *Node {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	return m.node
}

// open starts the member's process, as Open does, without what needs the machine that it runs on.
func (m *member) open() (err error) {
	s := m.s
	m.host = s.net.Host(m.ip)
	cfg := Config{
		NodeName: m.name(), Version: "sim", ClusterAddr: m.addr(), Join: m.join, Expect: m.expect,
		LoopbackUsers: []string{}, HeartbeatTimeout: 250 * time.Millisecond, NodeGrace: time.Second, Logger: s.log,
		SnapshotBytes: s.snapshot, MessageMemory: s.memory, SegmentBytes: 16 << 10, DiskFreeLimit: -1,
	}.withDefaults()
	n := newNode(cfg, m.id, uuid.MustParse(m.id))
	n.clock.wall = func() int64 { return time.Now().UnixMilli() + m.offset.Load() }
	defer func() {
		if err != nil {
			n.abandon()
			m.host.Crash()
		}
	}()
	if n.amqp, err = m.host.Listen(m.ip + ":5672"); err != nil {
		return err
	}
	if n.web, err = m.host.Listen(m.ip + ":15672"); err != nil {
		return err
	}
	n.disk, err = msgstore.Open(msgstore.Config{
		FS: simFiles{m.disk}, Snapshots: m.disk.Snapshots(), SegmentBytes: cfg.SegmentBytes, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.openMachine()
	conf := n.clusterConfig()
	conf.Network, conf.Storage, conf.TrailingBytes = m.host, m.disk, s.trailing
	conf.Timing.Retry, conf.Timing.GoneGrace = 200*time.Millisecond, 300*time.Millisecond
	if n.cluster, err = cluster.Open(conf); err != nil {
		return err
	}
	close(n.wired)
	n.spawn(func() { n.snapshots(n.running) })
	n.spawn(func() { n.upgrades(n.running) })
	n.spawn(func() { n.ticks(n.running) })
	n.spawn(func() {
		select {
		case <-n.running.Done():
			return
		case <-n.proposer.Opened():
		}
		n.awaitVersion(n.running)
		n.seed(n.running)
		close(n.ready)
		n.accept(n.running, n.amqp)
	})
	s.mu.Lock()
	m.node = n
	s.mu.Unlock()
	return nil
}

// start opens the member, and complains when that does not work.
func (m *member) start() {
	m.life <- struct{}{}
	defer func() { <-m.life }()
	m.s.mu.Lock()
	needless := m.node != nil || m.gone
	m.s.mu.Unlock()
	if needless {
		return
	}
	m.s.Note("start %s", m.name())
	if err := m.open(); err != nil {
		m.s.Complain("start", "%s does not start: %v", m.name(), err)
	}
}

// crash ends the member's process: what it has not synced is lost, nobody hears from it any more.
func (m *member) crash() {
	m.life <- struct{}{}
	defer func() { <-m.life }()
	s := m.s
	s.mu.Lock()
	n := m.node
	m.node, m.hurt = nil, true
	if n == nil {
		s.mu.Unlock()
		return
	}
	m.host.Crash()
	m.disk = m.disk.Crash()
	s.mu.Unlock()
	s.Note("crash %s", m.name())
	s.buried.Go(func() { s.bury(m.name(), n) })
}

// bury ends the goroutines of a process that has no network and no disk any more.
func (s *sim) bury(name string, n *Node) {
	if err := n.failed(); err != nil {
		s.Complain("end", "%s ended by itself: %v", name, err)
	}
	n.mu.Lock()
	n.closing = true
	n.mu.Unlock()
	_ = n.amqp.Close()
	_ = n.web.Close()
	n.stop()
	n.clients.Wait()
	n.replies.close()
	n.shortcuts.close()
	n.proposer.Close()
	if err := n.cluster.Kill(); err != nil {
		s.Complain("end", "%s: %v", name, err)
	}
	n.work.Wait()
	if err := n.disk.Close(); err != nil {
		s.Complain("end", "%s: %v", name, err)
	}
}

// shutDown stops the member's process in order.
func (m *member) shutDown() {
	m.life <- struct{}{}
	defer func() { <-m.life }()
	s := m.s
	s.mu.Lock()
	n := m.node
	m.node, m.hurt = nil, true
	s.mu.Unlock()
	if n == nil {
		return
	}
	s.Note("stop %s", m.name())
	if err := n.failed(); err != nil {
		s.Complain("end", "%s ended by itself: %v", m.name(), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		s.Note("stop %s: %v", m.name(), err)
	}
	m.host.Crash()
}

// simFiles is msgstore.FS on a disk in memory.
type simFiles struct{ d *ct.Disk }

func (f simFiles) Create(name string) (msgstore.File, error) { return fileOf(f.d.Create(name)) }
func (f simFiles) Open(name string) (msgstore.File, error)   { return fileOf(f.d.Open(name)) }
func (f simFiles) Remove(name string) error                  { return f.d.Remove(name) }
func (f simFiles) List() ([]string, error)                   { return f.d.Names(), nil }
func (f simFiles) Path(name string) string                   { return name }

func (f simFiles) Sync() error {
	f.d.SyncNames()
	return nil
}

func fileOf(f *ct.File, err error) (msgstore.File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}
