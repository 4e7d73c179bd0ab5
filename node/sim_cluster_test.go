package node

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ct "warren/cluster/clustertest"
	"warren/fsm"
	"warren/integration/chaos/clients"
	"warren/integration/chaos/history"
	"warren/node/replica"
)

// A sim is one short history: a cluster on a network and on disks in memory, its clients, and what is done to it.
// All of it runs in a bubble of testing/synctest.
type sim struct {
	*clients.Load
	seed   uint64
	random *rand.Rand // of the goroutine that runs the history
	log    *slog.Logger
	net    *ct.Network
	client *ct.Host
	late   atomic.Int64 // how long a packet travels at most, nanoseconds
	settings

	stopNow, leaveNow, quitNow context.CancelFunc // see clients.Config

	buried sync.WaitGroup // what is left of crashed processes

	mu      sync.Mutex
	members []*member // of the cluster, in the order of their coming
	came    int       // so many there were
	sources uint64    // of chance
}

// settings are what differs from seed to seed.
type settings struct {
	nodes    int
	snapshot int64         // bytes of log between two
	trailing int           // bytes of log behind one
	memory   int64         // bytes of messages in memory
	load     time.Duration // how long clients put something in
	faults   int
	travel   time.Duration // at most, of a packet
	write    time.Duration // at most, of a write to disk
}

func drawSettings(r *rand.Rand) settings {
	pick := func(choices ...int) int { return choices[r.IntN(len(choices))] }
	return settings{
		nodes:    pick(3, 3, 3, 3, 3, 3, 2, 5, 1),
		snapshot: int64(pick(2, 2, 8, 1024)) << 10,
		trailing: pick(1, 1, 4, 1024) << 10,
		memory:   int64(pick(1, 16, 1024)) << 10,
		load:     time.Duration(200+r.IntN(1000)) * time.Millisecond,
		faults:   pick(1, 1, 2, 3),
		travel:   time.Duration(pick(0, 200, 1000, 5000)) * time.Microsecond,
		write:    time.Duration(pick(0, 300, 1000, 5000)) * time.Microsecond,
	}
}

func newSim(seed uint64, level slog.Level) *sim {
	s := &sim{seed: seed, net: ct.NewNetwork()}
	s.random = s.source()
	conf := clients.Config{Dial: s.dial, Random: s.source, Scale: scale, Prefix: "sim"}
	conf.Stop, s.stopNow = context.WithCancel(context.Background())
	conf.Leave, s.leaveNow = context.WithCancel(context.Background())
	conf.Quit, s.quitNow = context.WithCancel(context.Background())
	s.Load = clients.New(history.NewRecorder(), conf)
	s.settings = drawSettings(s.random)
	if n, err := strconv.Atoi(os.Getenv("SIM_NODES")); err == nil {
		s.nodes = n
	}
	s.log = slog.New(slog.NewTextHandler(noteWriter{s}, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // the event has one
			}
			return a
		},
	}))
	s.client = s.net.Host("10.0.1.1")
	s.late.Store(int64(s.travel))
	delay := s.source()
	var mu sync.Mutex
	s.net.Delay(func(string, string) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return upTo(delay, time.Duration(s.late.Load()))
	})
	return s
}

// noteWriter makes the lines of the nodes' log events.
type noteWriter struct{ s *sim }

// remarkable are lines that are counted: what they tell of has to come up in many histories.
var remarkable = map[string]string{
	"caught up by a snapshot":    "a snapshot took the place of log entries",
	"lost its epoch":             "epoch was removed by the cluster",
	"stood without waiting":      "leader is gone: standing for election",
	"new version of the machine": "all members know a newer version",
}

func (w noteWriter) Write(line []byte) (int, error) {
	w.s.Add(history.Event{Kind: history.Noted, Note: string(line[:len(line)-1])})
	for what, text := range remarkable {
		if bytes.Contains(line, []byte(text)) {
			w.s.Done("node: " + what)
		}
	}
	return len(line), nil
}

// source returns a source of chance that follows from the seed.
func (s *sim) source() *rand.Rand {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources++
	return rand.New(rand.NewPCG(s.seed, s.sources))
}

// remove takes a member, which has crashed, off the list.
func (s *sim) remove(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.gone = true
	for i, o := range s.members {
		if o == m {
			s.members = append(s.members[:i:i], s.members[i+1:]...)
			return
		}
	}
}

// all returns the members of this moment.
func (s *sim) all() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*member(nil), s.members...)
}

// leader returns the member that leads, as far as it knows itself; nil: none.
func (s *sim) leader() *member {
	for _, m := range s.all() {
		if n := m.running(); n != nil && n.cluster.IsLeader() {
			return m
		}
	}
	return nil
}

// patience is how long all may take once everything is mended.
const patience = 20 * time.Second

// await waits until a condition holds, and says whether it does.
func await(limit time.Duration, holds func() bool) bool {
	for end := time.Now().Add(limit); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// finish waits for a group of clients.
func (s *sim) finish(what string, wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		s.Complain("answer", "%s are not done, though all is mended", what)
	}
}

// form opens the first members, and waits until they serve clients.
func (s *sim) form() bool {
	var join []string
	for i := range s.nodes {
		join = append(join, fmt.Sprintf("10.0.0.%d:7900", i+1))
	}
	for range s.nodes {
		s.add(join, s.nodes)
	}
	for _, m := range s.all() {
		time.Sleep(upTo(s.random, 20*time.Millisecond))
		m.start()
	}
	ok := await(patience, s.serving)
	if !ok {
		s.Complain("form", "the cluster does not serve clients")
	}
	return ok
}

// serving reports whether all members serve clients.
func (s *sim) serving() bool {
	for _, m := range s.all() {
		n := m.running()
		if n == nil {
			return false
		}
		select {
		case <-n.ready:
		default:
			return false
		}
	}
	return true
}

// mend ends all faults.
func (s *sim) mend() {
	s.Note("mend")
	s.net.Heal()
	s.net.Drop(nil)
	s.late.Store(int64(min(s.travel, time.Millisecond)))
	for _, m := range s.all() {
		m.slow.Store(int64(min(s.write, time.Millisecond)))
		m.start()
	}
}

// caughtUp waits until every node has all that is in the log of the leader: what one has that was just started says
// nothing. One that finds that it was removed, by a request that had no answer, is replaced.
func (s *sim) caughtUp() {
	why := ""
	ok := await(patience, func() bool {
		l := s.leader()
		if l == nil {
			why = "nobody leads"
			return false
		}
		led := l.running()
		if led == nil {
			return false
		}
		last := led.cluster.Stats().LastLogIndex
		for _, m := range s.all() {
			n := m.running()
			if n == nil {
				why = m.name() + " is down"
				return false
			}
			st := n.cluster.Stats()
			if strings.Contains(st.Waiting, "has removed this node") {
				m.crash()
				s.remove(m)
				s.add(s.addresses(), 1).start()
			}
			if st.AppliedIndex < last {
				why = fmt.Sprintf("%s is at %d of %d", m.name(), st.AppliedIndex, last)
				return false
			}
		}
		return true
	})
	if !ok {
		s.Complain("answer", "nodes do not catch up, though all is mended: %s", why)
	}
	time.Sleep(10 * time.Millisecond) // the state machines may be at work yet
}

// drained waits until queues are there and empty, on every node.
func (s *sim) drained(queues []string) {
	left := ""
	ok := await(patience, func() bool {
		left = ""
		for _, m := range s.all() {
			n := m.running()
			if n == nil {
				left = m.name() + " is down"
				return false
			}
			n.replica.View(func(machine *fsm.Machine) {
				for _, q := range queues {
					if st, there := machine.QueueStats("/", q); !there || st.Messages() > 0 {
						left = fmt.Sprintf("%s: queue %s: there %v, %+v", m.name(), q, there, st)
					}
				}
			})
		}
		return left == ""
	})
	if !ok {
		s.Complain("drain", "queues do not empty: %s", left)
	}
}

// sameState wants the same hashes of all nodes at the same index.
func (s *sim) sameState() {
	why := ""
	ok := await(patience, func() bool {
		var first replica.Hashes
		for i, m := range s.all() {
			n := m.running()
			if n == nil {
				why = m.name() + " is down"
				return false
			}
			h, err := n.replica.Hashes()
			switch {
			case err != nil:
				why = fmt.Sprintf("%s: %v", m.name(), err)
				return false
			case i == 0:
				first = h
			case h.Index != first.Index:
				why = fmt.Sprintf("%s is at %d, the first node at %d", m.name(), h.Index, first.Index)
				return false
			case h != first:
				s.Complain("replicas differ", "%s has %+v, the first node %+v", m.name(), h, first)
				return true
			}
		}
		return true
	})
	if !ok {
		s.Complain("replicas differ", "%s", cmp.Or(why, "they do not come to rest"))
	}
}

// end stops all processes: some in order, the others at once.
func (s *sim) end() {
	for i, m := range s.all() {
		if n := m.running(); n != nil && i > 0 {
			s.mu.Lock()
			m.node = nil
			s.mu.Unlock()
			s.bury(m.name(), n)
		}
	}
	for _, m := range s.all() {
		m.shutDown()
	}
	s.buried.Wait()
}
