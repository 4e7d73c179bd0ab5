package queue

import (
	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// A lane is the messages of one priority. Lane 0 has the highest priority of the
// queue, the last one priority 0; a queue without priorities has lane 0 only. The
// lane of a message is the upper part of its sequence: so all lanes stand in one sequence
// of chunks, in the order in which they are to be delivered, no two of them in one chunk.
type lane struct {
	next  uint64 // sequence of the next message
	first uint64 // no ready message of the lane stands before this
	ready int
}

// laneShift is where the number of the lane stands in a sequence: 2^54 messages
// can enter a lane, and 256 lanes stay below maxNumber.
const laneShift = 54

// laneBase is the first sequence of a lane. 0 is no sequence: a snapshot ends with it.
func laneBase(i int) uint64 { return max(uint64(i)<<laneShift, 1) }

// makeLanes makes the lanes for priorities 0 to highest.
func (q *Queue) makeLanes(highest int) {
	q.lanes = q.one[:]
	if highest > 0 {
		q.lanes = make([]lane, highest+1)
	}
	for i := range q.lanes {
		q.lanes[i].next, q.lanes[i].first = laneBase(i), laneBase(i)
	}
}

// laneOf returns the number of the lane that a message belongs in. A priority above the
// highest of the queue counts as that, none as 0.
func (q *Queue) laneOf(m *command.Message) int {
	highest := len(q.lanes) - 1
	if highest == 0 {
		return 0
	}
	return highest - min(m.Priority(), highest)
}

// laneAt returns the lane in which the message with sequence n stands.
func (q *Queue) laneAt(n uint64) *lane { return &q.lanes[n>>laneShift] }

// headLane returns the first lane with a ready message. There must be one.
func (q *Queue) headLane() *lane {
	i := 0
	for q.lanes[i].ready == 0 {
		i++
	}
	return &q.lanes[i]
}

// fits reports whether a message may have stood in a queue under sequence n: it is of
// a lane that there is, and was given out.
func (q *Queue) fits(n uint64) bool {
	i := n >> laneShift
	return n != 0 && i < uint64(len(q.lanes)) && n < q.lanes[i].next
}

// writeLanes writes the next sequence of each lane. A queue with priorities has a 0 before
// them: so one that was written when arguments had no effect can be told.
func (q *Queue) writeLanes(w *stream.Writer) {
	if len(q.lanes) > 1 {
		w.Uint(0)
	}
	for i := range q.lanes {
		w.Uint(q.lanes[i].next - laneBase(i) + 1)
	}
}

// readLanes reads what writeLanes wrote.
func (q *Queue) readLanes(r *stream.Reader) {
	next := r.Bounded(1 << laneShift)
	if next != 0 {
		q.lanes[0].next = next
		return
	}
	q.makeLanes(q.Spec.MaxPriority())
	for i := range q.lanes {
		q.lanes[i].next = laneBase(i) + max(r.Bounded(1<<laneShift), 1) - 1
	}
}
