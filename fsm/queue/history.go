package queue

import (
	"slices"
	"strings"

	"warren/fsm/command"
)

// A History holds the last messages that an exchange has seen. Like a Delayed it keeps them in a queue that
// nobody sees, so they leave memory and enter snapshots as all messages do.
type History struct{ q *Queue }

// historyPrefix begins the names of the queues of histories; the exchange's name follows. No client's
// queue can have such a name, as newlines are taken out of names.
const historyPrefix = "\nhistory\n"

// HistoryOf returns the exchange whose history a queue holds; false when it holds none.
func HistoryOf(q *Queue) (exchange string, ok bool) {
	return strings.CutPrefix(q.Spec.Name, historyPrefix)
}

// NewHistory returns an empty History; id is unique among queues and consumers.
func (s *Store) NewHistory(id uint64, vhost, exchange string) *History {
	return HistoryIn(s.NewQueue(id, command.QueueDeclare{VHost: vhost, Name: historyPrefix + exchange, Durable: true}))
}

// HistoryIn makes a History of the queue that holds its messages.
func HistoryIn(q *Queue) *History { return &History{q} }

// Queue returns the queue that holds the messages.
func (h *History) Queue() *Queue { return h.q }

// Len returns the number of messages.
func (h *History) Len() int { return h.q.ready }

// Add takes a message, and lets go of the oldest that are beyond a number of messages, or of bytes of
// their bodies. The newest is kept, whatever its size.
func (h *History) Add(m *command.Message, most int64, bytes uint64) {
	h.q.Push(m, None)
	for int64(h.q.ready) > most || h.q.bytes > bytes && h.q.ready > 1 {
		h.q.removeReady(h.q.head())
	}
}

// Last returns the newest messages, the oldest of them first: so many at most, and of so many bytes with all that belongs
// to them, but one in any case. It reads those that are away and leaves them there. It panics with *Unreadable when a message
// cannot be read.
func (h *History) Last(most int, bytes int64) []*command.Message {
	var all []*command.Message
	var away peeker
	chunks := h.q.messages.chunks
	for at := len(chunks) - 1; at >= 0; at-- {
		c := chunks[at]
		for slot := chunkSize - 1; slot >= 0; slot-- {
			if !c.present.has(slot) {
				continue
			}
			m, err := away.message(h.q.store.records, c, slot)
			if err != nil {
				panic(&Unreadable{Queue: h.q.Spec.Name, Err: err})
			}
			if bytes -= cost(m); len(all) > 0 && (len(all) >= most || bytes < 0) {
				slices.Reverse(all)
				return all
			}
			all = append(all, m)
		}
	}
	slices.Reverse(all)
	return all
}

// Delete drops all messages for good.
func (h *History) Delete() { h.q.Delete() }
