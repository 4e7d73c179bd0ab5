package fsm

import (
	"warren/fsm/command"
	"warren/fsm/internal/stream"
	"warren/fsm/queue"
	"warren/protocol/wire"
)

// timeoutsSince is the version of the machine from which on a delivery can be overdue.
const timeoutsSince = 3

// defaultAckTimeout is how long a delivery may stay unsettled where neither the consumer nor the queue nor a
// policy says something else, in milliseconds: RabbitMQ's default (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout).
// It is a constant, as what a node's own settings say must not decide what the log does.
const defaultAckTimeout = 30 * 60 * 1000

// ackTimeout returns how long a delivery of a queue may stay unsettled by its arguments, as policies change
// them. 0, which only a policy can say, stands for ever.
func ackTimeout(args wire.Table) int64 {
	switch n := number(args, queue.TimeoutArgument); n {
	case queue.None:
		return defaultAckTimeout
	case 0:
		return queue.None
	default:
		return min(n, maxMilliseconds)
	}
}

// checkConsumerTimeout refuses a consumer with a timeout that is no positive integer.
func checkConsumerTimeout(c *command.Consume) *command.Error {
	v, ok := c.Args.Get(queue.TimeoutArgument)
	if !ok {
		return nil
	}
	if reason := checkPositive(v, nil); reason != "" {
		return errInvalidArgument(queue.TimeoutArgument, c.VHost, c.Queue, reason)
	}
	return nil
}

// errTakenBack refuses a transaction that settles what was taken back from its client.
func errTakenBack(channel uint16) *command.Error {
	return refuse(preconditionFailed,
		"delivery acknowledgement on channel %d timed out: the transaction settles a delivery that was taken back", channel)
}

// consumerOverdue ends a consumer that has kept a delivery for too long, and takes back what it kept so long. A
// client that has ended the consumer itself is told of the delivery; one whose consumer was
// ended because of another delivery knows enough.
func (m *Machine) consumerOverdue(c *queue.Consumer) {
	ended := !c.Gone()
	ms, _ := c.Timeout()
	switch {
	case ended:
		m.overdue(c.Channel, c.Spec.Tag, c.Queue, ms)
		c.Expire()
	case !c.Expired():
		m.overdue(c.Channel, "", c.Queue, ms)
	}
	c.TakeBack(&m.budget)
	if ended {
		m.left(c)
	}
}

// getsOverdue takes back what basic.get took on a channel and was kept for too long.
func (m *Machine) getsOverdue(ch *queue.Channel) {
	if q := ch.TakeBackGets(&m.budget); q != nil {
		m.overdue(ch, "", q, q.Settings().AckTimeout)
	}
}

func (m *Machine) overdue(ch *queue.Channel, tag string, q *queue.Queue, ms int64) {
	m.effect(command.Effect{
		Kind: command.EffectOverdue, To: ch.Owner, Tag: tag, Queue: q.Spec.Name, Nonce: uint64(ms),
	})
}

// number gives a channel its number among what is due, which it needs for basic.get.
func (m *Machine) number(ch *queue.Channel) {
	if m.version >= timeoutsSince && ch.ID == 0 {
		m.ids++
		ch.ID = m.ids
	}
}

// eachChannel calls f for all channels, by epoch, connection and number.
func (s *state) eachChannel(f func(*queue.Channel)) {
	for _, number := range sortedKeys(s.epochs) {
		e := s.epochs[number]
		for _, conn := range sortedKeys(e.connections) {
			c := e.connections[conn]
			for _, channel := range sortedKeys(c.channels) {
				f(c.channels[channel])
			}
		}
	}
}

// beginTiming lets what is unsettled count as lent now.
func (m *Machine) beginTiming() {
	m.store.SetTiming(true)
	m.eachChannel(func(ch *queue.Channel) {
		if ch.HoldsGets() {
			m.number(ch)
		}
		ch.BeginTiming()
	})
}

// awaitGets looks anew when what basic.get took is overdue, as timeouts of queues have changed.
func (m *Machine) awaitGets() {
	if m.version >= timeoutsSince {
		m.eachChannel((*queue.Channel).AwaitGets)
	}
}

// lateTimes writes when deliveries were lent, and which were taken back.
func lateTimes(s *Snapshot, piece func([]byte)) { queue.WriteTimes(s.holds, s.has, piece) }

func readTimes(l *loader, r *stream.Reader) {
	l.parts.Times(r, func(o command.Owner) *queue.Channel {
		if e := l.epochs[o.Epoch]; e != nil {
			return e.knownChannel(o.Channel)
		}
		return nil
	})
}

// awaitOverdue makes sure that it is known when all deliveries were lent, and looks after them.
func (l *loader) awaitOverdue() {
	if l.version < timeoutsSince {
		return
	}
	for _, ch := range l.channels {
		if !ch.AwaitOverdue() {
			l.r.Fail("nobody knows when deliveries of channel %v were lent", ch.Owner)
			return
		}
	}
}
