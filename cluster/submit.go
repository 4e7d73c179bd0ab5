package cluster

import (
	"errors"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// submitter puts batches in the log while this node leads: one goroutine, so
// that Prepare runs in the order of the log, and another that waits for what
// becomes of them.
type submitter struct {
	c  *Cluster
	wg sync.WaitGroup

	mu      sync.Mutex
	arrived *sync.Cond
	queue   []submission
	stopped bool

	inflight chan waiting
}

// source is where batches come from in order: this node's own proposals of one
// generation, or one connection of a follower. After the first batch that did
// not surely enter the log, no later one of the same source does.
type source struct {
	answer func(id uint64, a Answer) // called once per batch, must not block

	mu     sync.Mutex
	failed bool
}

func (s *source) fail() {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
}

func (s *source) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

type submission struct {
	from  *source
	id    uint64
	batch []byte
}

type waiting struct {
	submission
	future raft.ApplyFuture
}

// maxInFlight bounds how many batches wait for their commit; more wait in the queue.
const maxInFlight = 1024

func newSubmitter(c *Cluster) *submitter {
	s := &submitter{c: c, inflight: make(chan waiting, maxInFlight)}
	s.arrived = sync.NewCond(&s.mu)
	s.wg.Add(2)
	go s.submit()
	go s.await()
	return s
}

// put takes a batch over: nobody may change it any more. It never blocks.
func (s *submitter) put(sub submission) {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		sub.from.fail()
		sub.from.answer(sub.id, Refused)
		return
	}
	s.queue = append(s.queue, sub)
	s.mu.Unlock()
	s.arrived.Signal()
}

func (s *submitter) submit() {
	defer s.wg.Done()
	defer close(s.inflight)
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.stopped {
			s.arrived.Wait()
		}
		todo, stopped := s.queue, s.stopped
		s.queue = nil
		s.mu.Unlock()
		for _, sub := range todo {
			s.one(sub, stopped)
		}
		if stopped && len(todo) == 0 {
			return
		}
	}
}

func (s *submitter) one(sub submission, stopped bool) {
	r := s.c.raftNow()
	if stopped || sub.from.hasFailed() || r.State() != raft.Leader {
		sub.from.fail()
		sub.from.answer(sub.id, Refused)
		return
	}
	if s.c.cfg.Prepare != nil {
		s.c.cfg.Prepare(sub.batch)
	}
	s.inflight <- waiting{submission: sub, future: r.Apply(sub.batch, 0)}
}

func (s *submitter) await() {
	defer s.wg.Done()
	for w := range s.inflight {
		err := w.future.Error()
		if no, is := w.future.Response().(notApplied); is && err == nil {
			err = no.err
		}
		a := answerOf(err)
		if a != Committed {
			w.from.fail()
		}
		w.from.answer(w.id, a)
	}
}

// notInLog are the errors after which a batch is surely not in the log.
var notInLog = []error{
	raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout,
}

func answerOf(err error) Answer {
	switch {
	case err == nil:
		return Committed
	case slices.ContainsFunc(notInLog, func(e error) bool { return errors.Is(err, e) }):
		return Refused
	default:
		return Unknown
	}
}

// stop refuses what is queued and what comes. What is in flight is still waited
// for: Raft answers it while it runs. The returned channel closes when all is answered.
func (s *submitter) stop() <-chan struct{} {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.arrived.Signal()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	return done
}
