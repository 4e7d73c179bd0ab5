package load

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// A bitset of message numbers grows with the greatest.
type bitset []uint64

// set sets a bit and reports whether it was set before.
func (b *bitset) set(i uint64) (before bool) {
	word, bit := i/64, uint64(1)<<(i%64)
	for uint64(len(*b)) <= word {
		*b = append(*b, 0)
	}
	before = (*b)[word]&bit != 0
	(*b)[word] |= bit
	return before
}

// word returns the i-th 64 bits.
func (b bitset) word(i int) uint64 {
	if i >= len(b) {
		return 0
	}
	return b[i]
}

// A tracker knows which messages of each producer were confirmed, and which came
// out of each queue. Two phases of one run, as fill and drain, share one.
type tracker struct {
	since     int64    // messages stamped before are of another run
	confirmed []ledger // by producer
	queues    []receipts
}

// A ledger holds the messages of one producer.
type ledger struct {
	sent atomic.Uint64 // the greatest number; one beyond it is of another run
	mu   sync.Mutex
	has  bitset // confirmed
}

// receipts hold what came out of one queue, by producer.
type receipts struct {
	mu         sync.Mutex
	seen       []bitset
	received   uint64
	foreign    uint64
	duplicates uint64 // came again without being marked redelivered
	repeated   uint64 // came again, marked redelivered
	disordered uint64 // came to a consumer behind a later one of the same producer
}

func newTracker(producers, queues int, since int64) *tracker {
	t := &tracker{since: since, confirmed: make([]ledger, producers), queues: make([]receipts, queues)}
	for i := range t.queues {
		t.queues[i].seen = make([]bitset, producers)
	}
	return t
}

// confirm notes the confirm of a message.
func (t *tracker) confirm(producer int, number uint64) {
	l := &t.confirmed[producer]
	l.mu.Lock()
	l.has.set(number)
	l.mu.Unlock()
}

// A delivered message, for tracker.receive.
type delivered struct {
	id          messageID
	stamp       int64
	redelivered bool
}

// latest is the greatest number of each producer that a consumer has received.
type latest []uint64

// after reports whether a message comes behind all before it, and notes it. One that is
// marked redelivered may come at any time.
func (l *latest) after(m delivered) bool {
	if m.redelivered {
		return true
	}
	p, n := m.id.producer(), m.id.number()
	for len(*l) <= p {
		*l = append(*l, 0)
	}
	before := (*l)[p]
	(*l)[p] = max(before, n)
	return n > before
}

// receive notes messages that came out of a queue to one consumer.
func (t *tracker) receive(queue int, messages []delivered, order *latest) {
	q := &t.queues[queue]
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range messages {
		p := m.id.producer()
		switch {
		case m.stamp < t.since || p >= len(q.seen) || m.id.number() > t.confirmed[p].sent.Load():
			q.foreign++
		case !q.seen[p].set(m.id.number()):
			q.received++
			if !order.after(m) {
				q.disordered++
			}
		case m.redelivered:
			q.repeated++
		default:
			q.duplicates++
		}
	}
}

// Verification is what became of the numbered messages. The counts are of
// messages and queues: one that is missing in two queues counts twice.
type Verification struct {
	Confirmed  uint64 `json:"confirmed"`
	Received   uint64 `json:"received"`     // each counted once a queue
	Lost       uint64 `json:"lost"`         // confirmed, and not received
	Duplicates uint64 `json:"duplicates"`   // received again without the redelivered flag
	Repeated   uint64 `json:"redelivered"`  // received again with it
	Disordered uint64 `json:"out_of_order"` // came to a consumer behind a later message of the same producer, not marked redelivered
	Foreign    uint64 `json:"foreign"`      // of another run
	Extra      uint64 `json:"unconfirmed"`  // received, though never confirmed: allowed
}

// result compares what was confirmed with what came. producerQueue names the only
// queue of a producer's messages, nil when they go to all.
func (t *tracker) result(producerQueue func(producer int) int) *Verification {
	v := &Verification{}
	for i := range t.queues {
		q := &t.queues[i]
		q.mu.Lock()
		v.Received += q.received
		v.Duplicates += q.duplicates
		v.Repeated += q.repeated
		v.Foreign += q.foreign
		v.Disordered += q.disordered
		for p := range t.confirmed {
			if producerQueue == nil || producerQueue(p) == i {
				v.compare(&t.confirmed[p], q.seen[p])
			}
		}
		q.mu.Unlock()
	}
	return v
}

// compare counts what of one producer's messages came out of one queue.
func (v *Verification) compare(l *ledger, seen bitset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range max(len(l.has), len(seen)) {
		confirmed, received := l.has.word(i), seen.word(i)
		v.Confirmed += uint64(bits.OnesCount64(confirmed))
		v.Lost += uint64(bits.OnesCount64(confirmed &^ received))
		v.Extra += uint64(bits.OnesCount64(received &^ confirmed))
	}
}
