package management

import "warren/fsm"

// leaderState is the state of a node in the Raft group that leads.
const leaderState = "Leader"

// led is what happened to queues while this node led. All nodes see it happen; as only one at a time leads, the sum over
// all nodes counts it once.
type led struct {
	fsm.Seen
	queues queueCounts // but for how many messages there are

	seen   fsm.Seen    // of the machine, at the last look
	sums   queueCounts // of all queues, at the last survey
	leads  bool
	looked bool
	round  int64 // of that survey
}

// look adds what has happened since the last look, if the node led all the while.
func (l *led) look(leads bool, seen fsm.Seen, sums queueCounts, round int64) {
	if l.looked && l.leads && leads {
		addSeen(&l.Seen, &seen, &l.seen)
		if l.round > 0 && round > l.round {
			for i := range l.queues[:queueGauges] {
				l.queues[i] += growth(sums[i], l.sums[i])
			}
		}
	}
	l.looked, l.leads, l.seen, l.sums, l.round = true, leads, seen, sums, round
}

func addSeen(sum, now, before *fsm.Seen) {
	sum.Routed += growth(now.Routed, before.Routed)
	sum.Declared += growth(now.Declared, before.Declared)
	sum.Created += growth(now.Created, before.Created)
	sum.Deleted += growth(now.Deleted, before.Deleted)
	sum.Expired += growth(now.Expired, before.Expired)
	sum.Rejected += growth(now.Rejected, before.Rejected)
	sum.MaxLen += growth(now.MaxLen, before.MaxLen)
	sum.TooOften += growth(now.TooOften, before.TooOften)
}

// growth is by how much a count has grown; nothing when it has become less, as sums do when queues are deleted.
func growth(now, before uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}
