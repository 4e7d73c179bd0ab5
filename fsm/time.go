package fsm

import (
	"strconv"

	"warren/fsm/queue"
	"warren/protocol/wire"
)

// entryBudget is the number of messages that one log entry lets expire or drops because a queue
// is too long, and of queues that they and delayed ones come to, so that no entry stops the machine for long. What is left goes in the next entries: a
// node proposes a tick at once when something is due.
const entryBudget = 8192

// trimEvery is the number of messages after which memory is looked at in an entry: each may
// have brought others of its record to memory.
const trimEvery = 64

// NextDue returns a time before which nothing happens by itself, in milliseconds since the
// Unix epoch; false: nothing will.
func (m *Machine) NextDue() (ms int64, ok bool) { return m.store.Timers.Peek() }

// passTime does what is due at the time of the entry, before its first command.
func (m *Machine) passTime() {
	m.store.SetNow(m.now)
	m.budget = queue.NewBudget(entryBudget)
	if m.store.Timers.Next(m.now) != nil {
		m.settleDown()
	}
}

// settleDown hands out messages after a change, and does what follows from it: the dead are
// buried, queues that are too long are cut, and what was to be delivered at once or never goes.
func (m *Machine) settleDown() {
	for {
		m.bury()
		m.store.Assign((*sink)(m))
		if !m.actDue() {
			return
		}
	}
}

// actDue does the first thing that is due, and tells whether there was one.
func (m *Machine) actDue() bool {
	if m.budget.Spent() {
		return false
	}
	switch what := m.store.Timers.Next(m.now).(type) {
	case *queue.Queue:
		for what.Act(&m.budget) {
			m.bury()
		}
		if what.Unused() {
			m.dropQueue(m.vhosts[what.Spec.VHost], what)
		}
	case *queue.Delayed:
		m.actDelayed(what)
	case *queue.Consumer:
		m.consumerOverdue(what)
	case *queue.Channel:
		m.getsOverdue(what)
	default:
		return false
	}
	return true
}

// expiration returns the time that a message may wait by its own properties, in
// milliseconds; queue.None when it says nothing. A session lets only numbers through.
func (m *Machine) expiration(properties []byte) int64 {
	if m.version < effectsSince || wire.Present(properties)&wire.FlagExpiration == 0 {
		return queue.None
	}
	v, _ := wire.ShortProperty(properties, wire.FlagExpiration)
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 {
		return queue.None
	}
	return min(n, maxMilliseconds)
}

// bury dead-letters what has died.
func (m *Machine) bury() {
	for {
		all := m.store.TakeDead()
		if len(all) == 0 {
			return
		}
		for i := range all {
			d := all[i]
			all[i] = queue.Dead{}
			m.deadLetter(d)
		}
	}
}
