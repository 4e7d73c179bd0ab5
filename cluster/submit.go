package cluster

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// submitter puts batches in the log while this node leads, one at a time, so that
// Prepare runs in the order of the log: on the goroutine that brings one when nothing
// waits, and else on its own. Another goroutine looks what became of them.
type submitter struct {
	c  *Cluster
	wg sync.WaitGroup

	turn sync.Mutex // held while batches are put in the log

	mu       sync.Mutex
	arrived  *sync.Cond // changes of the fields below
	queue    []submission
	resting  bool        // what is in the queue may wait for more
	rested   *time.Timer // ends that
	inflight []waiting   // in Raft's hands, and not looked at
	open     int         // in Raft's hands, and not answered
	stopped  bool
	ended    bool // nothing comes into flight any more
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

const (
	// maxInFlight bounds how many batches are without an answer; more wait in the queue.
	maxInFlight = 1024
	// fewInFlight is below how many Raft's channel, of maxAppendEntries, surely has room for one more.
	fewInFlight = maxAppendEntries
	// answersEvery is how long answers gather. Whoever proposed a batch sees it applied; only when
	// it was not does it wait for the answer.
	answersEvery = 5 * time.Millisecond
	// company is how long a batch that nobody waits for may wait for another.
	company = time.Millisecond
)

func newSubmitter(c *Cluster) *submitter {
	s := &submitter{c: c}
	s.arrived = sync.NewCond(&s.mu)
	s.rested = time.AfterFunc(time.Hour, s.rouse)
	s.rested.Stop()
	s.wg.Add(2)
	go s.submit()
	go s.await()
	return s
}

// put takes a batch over: nobody may change it any more. It never blocks, and does not call
// back when the batch goes to Raft at once.
func (s *submitter) put(sub submission) {
	patient := s.c.cfg.Patient != nil && s.c.cfg.Patient(sub.batch)
	if !patient && s.atOnce(sub) {
		return
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		sub.from.fail()
		sub.from.answer(sub.id, Refused)
		return
	}
	if s.queue = append(s.queue, sub); patient {
		if len(s.queue) == 1 {
			s.resting = true
			s.rested.Reset(company)
		}
		s.mu.Unlock()
		return
	}
	s.resting = false
	s.mu.Unlock()
	s.arrived.Broadcast()
}

// rouse ends the rest of what waits for company.
func (s *submitter) rouse() {
	s.mu.Lock()
	s.resting = false
	s.mu.Unlock()
	s.arrived.Broadcast()
}

// atOnce puts a batch in the log on the caller's goroutine, behind those that wait for company,
// when no other is before it and Raft surely has room.
func (s *submitter) atOnce(sub submission) bool {
	if !s.turn.TryLock() {
		return false
	}
	defer s.turn.Unlock()
	s.mu.Lock()
	free := (len(s.queue) == 0 || s.resting) && s.open+len(s.queue) < fewInFlight && !s.stopped
	if !free || !s.mayEnter(sub) || slices.ContainsFunc(s.queue, func(w submission) bool { return w.from.hasFailed() }) {
		s.mu.Unlock()
		return false
	}
	todo := s.queue
	s.queue, s.resting = nil, false
	s.mu.Unlock()
	for _, w := range todo {
		s.enter(w)
	}
	s.enter(sub)
	return true
}

func (s *submitter) submit() {
	defer s.wg.Done()
	for {
		s.mu.Lock()
		for (len(s.queue) == 0 || s.resting) && !s.stopped {
			s.arrived.Wait()
		}
		s.mu.Unlock()
		if !s.takeQueue() {
			return
		}
	}
}

// takeQueue puts what waits in the log. It returns false when nothing comes any more.
func (s *submitter) takeQueue() bool {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	todo, stopped := s.queue, s.stopped
	s.queue, s.resting = nil, false
	if stopped && len(todo) == 0 {
		s.ended = true
		s.arrived.Broadcast()
	}
	s.mu.Unlock()
	for _, sub := range todo {
		s.one(sub, stopped)
	}
	return !stopped || len(todo) > 0
}

func (s *submitter) one(sub submission, stopped bool) {
	if stopped || !s.mayEnter(sub) {
		sub.from.fail()
		sub.from.answer(sub.id, Refused)
		return
	}
	s.mu.Lock()
	for s.open >= maxInFlight {
		s.arrived.Wait()
	}
	s.mu.Unlock()
	s.enter(sub)
}

func (s *submitter) mayEnter(sub submission) bool {
	return !sub.from.hasFailed() && s.c.raftNow().State() == raft.Leader
}

// enter hands a batch to Raft. Called with turn held.
func (s *submitter) enter(sub submission) {
	if s.c.cfg.Prepare != nil {
		s.c.cfg.Prepare(sub.batch)
	}
	w := waiting{submission: sub, future: s.c.raftNow().Apply(sub.batch, 0)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	if s.inflight = append(s.inflight, w); len(s.inflight) == 1 {
		s.arrived.Broadcast()
	}
}

// await answers what is in flight, as much as comes together in a while: to be woken for each
// would cost more than all else that is done for a small batch here.
func (s *submitter) await() {
	defer s.wg.Done()
	for {
		s.mu.Lock()
		for len(s.inflight) == 0 && !s.ended {
			s.arrived.Wait()
		}
		s.mu.Unlock()
		pause(s.c.ctx, answersEvery)
		s.mu.Lock()
		todo := s.inflight
		s.inflight = nil
		over := s.ended && len(todo) == 0
		s.mu.Unlock()
		if over {
			return
		}
		for _, w := range todo {
			w.settle()
			s.mu.Lock()
			if s.open--; s.open == maxInFlight-1 {
				s.arrived.Broadcast()
			}
			s.mu.Unlock()
		}
	}
}

func (w *waiting) settle() {
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
	s.rested.Stop()
	s.mu.Unlock()
	s.arrived.Broadcast()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	return done
}
