package queue

import "fmt"

// A queue with x-single-active-consumer gives its messages to one consumer at a time
// (https://www.rabbitmq.com/docs/consumers#single-active-consumer). The first one is
// active until it ends; then the one of the highest priority follows, and of those the oldest.
// One that comes with a higher priority takes over too, as with RabbitMQ's quorum queues: the
// active one gets nothing more, and when it has settled what it holds, the other one is active.

// choose decides anew who is active: after a consumer came or went, or the active one has
// settled its last delivery.
func (q *Queue) choose() {
	if !q.single || q.deleted {
		return
	}
	best := q.best()
	q.rival = nil
	switch {
	case q.active != nil && !q.active.gone && best.Priority <= q.active.Priority:
		best = q.active // and goes on if a rival has left
	case q.active != nil && !q.active.gone && q.active.unacked > 0:
		q.rival = best
		return
	}
	q.active = best
	if best != nil {
		best.wake()
	}
}

// best returns the oldest consumer of the highest priority, nil when there is none.
func (q *Queue) best() (best *Consumer) {
	q.EachConsumer(func(c *Consumer) {
		if best == nil || c.Priority > best.Priority {
			best = c
		}
	})
	return best
}

// serving returns the one consumer of a queue with a single active one that may be given
// messages, nil while a change is under way.
func (q *Queue) serving() *Consumer {
	if q.rival != nil {
		return nil
	}
	return q.active
}

// SingleActive returns the active consumer of a queue that has one at a time. It is nil
// when there is none, and ok is false where all consumers are active.
func (q *Queue) SingleActive() (c *Consumer, ok bool) { return q.active, q.single }

// checkActive checks who is active.
func (q *Queue) checkActive() error {
	if q.single && q.live > 0 && (q.active == nil || q.active.gone) || q.active != nil && (!q.single || q.live == 0 || q.active.Queue != q) {
		return fmt.Errorf("queue %q has %d consumers, and %v is active", q.Spec.Name, q.live, q.active)
	}
	if best := q.best(); q.single && best != nil && (best.Priority > q.active.Priority) != (q.rival != nil) {
		return fmt.Errorf("queue %q: consumer %q is active and %q better", q.Spec.Name, q.active.Spec.Tag, best.Spec.Tag)
	}
	return nil
}
