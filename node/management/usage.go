package management

import "time"

// usage is how busy a queue is, as far as surveys can tell.
type usage struct {
	looked    int64 // the last survey, milliseconds since the Unix epoch; 0: none has seen the queue
	changed   int64 // the survey that has first seen its numbers as they are now
	consumers int
	capacity  float64 // the part of the last surveys that found its consumers able to take a message, 0 to 1
}

const (
	// readyGauge is the place of the messages that wait in queueCounts.
	readyGauge = queueGauges + 1
	// usageWeight is what the last survey counts for in a capacity, the ones before it for the rest: what happened
	// half a minute ago hardly counts.
	usageWeight = 0.3
)

// note takes what a survey has found of a queue, and what the one before had.
func (u *usage) note(at int64, consumers int, now, before *queueCounts) {
	if u.looked == 0 || consumers != u.consumers || *now != *before {
		u.changed = at
	}
	able := 0.0
	if consumers > 0 && now[readyGauge] == 0 {
		// A message is given to a consumer in the step in which it comes, unless none has room for it: then it waits.
		able = 1
	}
	switch {
	case consumers == 0:
		u.capacity = 0
	case u.consumers == 0:
		u.capacity = able
	default:
		u.capacity += usageWeight * (able - u.capacity)
	}
	u.looked, u.consumers = at, consumers
}

// idleSince is since when nothing has happened to the queue; false when something has between the last two surveys.
func (u *usage) idleSince() (time.Time, bool) {
	return time.UnixMilli(u.changed).UTC(), u.looked > u.changed
}
