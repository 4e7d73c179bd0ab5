package queue

import "warren/fsm/command"

// Delayed retry (https://www.rabbitmq.com/docs/quorum-queues#delayed-retry): a message that comes back may have to
// wait before it is given out again, so that one with which clients fail does not take their time. Such a message is
// present, and neither ready, nor unacknowledged, nor parked; until when it waits stands with its chunk, which is in
// the queue's index of what is to happen. It keeps its place, expires when its time is up, and counts for no limit of length
// while it waits.

// Retry says which messages wait when they come back.
type Retry uint8

// Which messages wait.
const (
	AtOnce       Retry = iota // none
	AllWait                   // all
	FailedWait                // those with which a client failed: rejected, or its channel ended
	ReturnedWait              // those that came back for another reason: nacked, not settled in time, its node was lost
)

// A cause is why a message comes back.
type cause uint8

const (
	failure  cause = iota // the client failed with it
	returned              // the client gave it back
	lost                  // no doing of the client; does not count for the delivery limit
)

func causeOf(o command.Outcome) cause {
	if o == command.Return {
		return returned
	}
	return failure
}

// delay returns how long a message has to wait that comes back, in milliseconds. tries has counted that.
func (s *Settings) delay(why cause, tries Tries) int64 {
	switch s.Retry {
	case AllWait:
	case FailedWait:
		if why != failure {
			return 0
		}
	case ReturnedWait:
		if why == failure {
			return 0
		}
	default:
		return 0
	}
	most := s.RetryMax
	if most < 0 {
		most = maxTimeout
	}
	times := max(int64(tries.Failed), 1)
	if s.RetryMin > most/times {
		return most
	}
	return max(s.RetryMin, 0) * times
}

// waitsUntil returns when the message of a slot is ready again, 0 when it does not wait.
func (l *life) waitsUntil(slot int) int64 { return moment(l.waits, slot) }

// nextWaiting returns the first slot of a message that waits.
func (l *life) nextWaiting() int {
	for slot, at := range l.waits {
		if at != 0 {
			return slot
		}
	}
	return chunkSize
}

// putOff lets a message wait that is counted nowhere. The chunk must be writable.
func (q *Queue) putOff(c *page, slot int, size uint64, until int64) {
	setMoment(&c.waits, slot, until)
	q.delayed++
	q.delayedB += size
	q.expect(c, until)
	if w := q.store.Watch; w != nil {
		w.SetAside(q, c.base+uint64(slot), false, until)
	}
}

// tryAgain makes a message ready that has waited.
func (q *Queue) tryAgain(at, slot int) {
	c := q.messages.writable(&q.store.messages, at)
	c.waits[slot] = 0
	size := uint64(bodySize(c, slot))
	q.delayed--
	q.delayedB -= size
	q.makeReady(c, slot, size)
}

// takeDelayed removes a message that waits.
func (q *Queue) takeDelayed(at, slot int) {
	q.delayed--
	q.delayedB -= uint64(q.remove(at, slot))
}

// Delayed returns the number of messages that came back and wait until they are given out again.
func (q *Queue) Delayed() int { return q.delayed }

// DelayedBytes returns the size of their bodies.
func (q *Queue) DelayedBytes() uint64 { return q.delayedB }
