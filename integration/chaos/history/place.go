package history

import (
	"maps"
	"slices"
	"time"
)

// places: a message that was given back takes its old place. Once that is in the log, a consumer that gets it gets no
// more of the messages that its publisher sent later than the consumer could hold already: those may have been on their way.
// It says nothing when a consumer broke off meanwhile, as that one may have had it.
func (c *checker) places(q *queue) {
	if c.rules[q.name].DeadLetters {
		return
	}
	byChannel := map[int][]arrival{}
	for _, a := range q.arrivals {
		byChannel[a.channel] = append(byChannel[a.channel], a)
	}
	for _, id := range slices.Sorted(maps.Keys(q.stays)) {
		s, m := q.stays[id], c.messages[id]
		if m == nil || !m.published {
			continue
		}
		for _, back := range s.requeued {
			sure := c.channel(back.channel).sure(back.index)
			i := slices.IndexFunc(s.arrivals, func(a arrival) bool { return a.index > back.index })
			if sure < 0 || i < 0 || s.arrivals[i].index < sure || c.anyoneBroke(q, c.at(back.index), s.arrivals[i].index) {
				continue
			}
			a := s.arrivals[i]
			most := q.consumers[a.channel].prefetch
			if n := c.overtaken(byChannel[a.channel], m, sure, a.index); most > 0 && n > most {
				c.complain("misplaced", q.name, id, "was given back (event %d), and came to a consumer that may hold %d after %d messages that its publisher sent later (event %d)",
					back.index, most, n, a.index)
			}
		}
	}
}

// overtaken counts the arrivals between two events of messages that were published later than another one, on its channel, and that
// came for the first time.
func (c *checker) overtaken(arrivals []arrival, m *message, from, to int) int {
	count := 0
	for _, a := range arrivals {
		other := c.messages[a.message]
		if a.index > from && a.index < to && !a.redelivered && other != nil && other.channel == m.channel && other.index > m.index {
			count++
		}
	}
	return count
}

// anyoneBroke says whether a consumer that there was before an event broke off since a time, or soon after the event: the cluster may have
// noticed earlier than its client.
func (c *checker) anyoneBroke(q *queue, since time.Duration, event int) bool {
	for number, consumer := range q.consumers {
		if ch := c.channel(number); consumer.began < event && ch.broken && ch.brokenAt > since-Noticed && ch.brokenAt < c.at(event)+Noticed {
			return true
		}
	}
	return false
}
