package fsm

import (
	"fmt"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// An exchange of the type x-recent-history gives its last messages to each new binding, as RabbitMQ's plugin does
// (https://github.com/rabbitmq/rabbitmq-server/tree/main/deps/rabbitmq_recent_history_exchange).
const (
	argHistoryLength     = "x-recent-history-length"
	headerHistoryNoStore = "x-recent-history-no-store"

	historyLength = 20      // without the argument
	historyMost   = 1 << 16 // the argument's highest value
	// historyBytes bounds the bodies of a history: a new binding gets them in one log entry.
	historyBytes = 64 << 20
	// replayBytes bounds what of it, with all that belongs to its messages, a new binding gets.
	replayBytes = 2 * historyBytes
	// replayPushes bounds how often messages are put in queues by a new binding to an exchange.
	replayPushes = 1 << 20

	// historySince is the version of the machine from which on there are such exchanges.
	historySince = 3
)

// checkHistory refuses an exchange whose history has no length.
func checkHistory(args wire.Table) *command.Error {
	v, ok := args.Get(argHistoryLength)
	if !ok {
		return nil
	}
	n, isInt := wire.Int(v)
	if !isInt || n <= 0 {
		return refuse(preconditionFailed, "Invalid argument %v, 'x-recent-history-length' must be a positive integer", v)
	}
	if n > historyMost {
		return refuse(preconditionFailed, "Invalid argument %d, 'x-recent-history-length' must not be greater than %d", n, historyMost)
	}
	return nil
}

// remember keeps a message for those exchanges of the last routing that have a history.
func (m *Machine) remember(v *vhost, recent []topology.Exchange, msg *command.Message) {
	if len(recent) == 0 {
		return
	}
	if no, _ := wire.Header(msg.Properties, headerHistoryNoStore); no == true {
		return
	}
	for i := range recent {
		x := &recent[i]
		h := v.histories[x.Name]
		if h == nil {
			m.ids++
			h = m.store.NewHistory(m.ids, v.name, x.Name)
			v.histories[x.Name] = h
		}
		most := int64(historyLength)
		if n, ok := x.Args.Get(argHistoryLength); ok {
			most, _ = wire.Int(n)
		}
		h.Add(msg, most, historyBytes)
	}
}

// replay gives the history of an exchange to a destination that was just bound to it: a queue, or the queues that
// another exchange has for each of the messages.
func (m *Machine) replay(v *vhost, b *command.Binding) {
	h := v.histories[topology.StripNewlines(b.Source)]
	if h == nil {
		return
	}
	to := topology.StripNewlines(b.Destination)
	most := historyMost
	if b.ToExchange {
		most = replayPushes / max(len(v.queues), 1)
	}
	for _, msg := range h.Last(most, replayBytes) {
		names := append(m.routes[:0], to)
		if b.ToExchange {
			names = v.topology.RouteDead(m.routes[:0], &topology.Message{
				Exchange: []byte(to), Key: msg.Key, Also: command.FurtherKeys(msg.Properties), Properties: msg.Properties, Seed: m.seed(),
			})
			m.remember(v, v.topology.Recent(), msg)
		}
		m.routes = names
		m.pushAll(v, names, msg)
	}
}

// pushAll puts a message in queues, but for those that are full and refuse it.
func (m *Machine) pushAll(v *vhost, names []string, msg *command.Message) {
	var k mark
	ttl := m.expiration(msg.Properties)
	for _, name := range names {
		q := v.queues[name]
		if q.RejectsPublish(len(msg.Body), 0, 0) {
			m.refuseMessage(q, msg)
			continue
		}
		m.push(q, msg, ttl, &k)
	}
}

// forgetHistory drops what is kept for an exchange that is gone.
func (v *vhost) forgetHistory(exchange string) {
	if h := v.histories[exchange]; h != nil {
		h.Delete()
		delete(v.histories, exchange)
	}
}

// History returns how many messages an exchange keeps for new bindings.
func (m *Machine) History(vhost, exchange string) int {
	v := m.vhosts[vhost]
	if v == nil || v.histories[exchange] == nil {
		return 0
	}
	return v.histories[exchange].Len()
}

// readHistory takes the queue of a history out of those that a snapshot has; false when it is none.
func (l *loader) readHistory(v *vhost, q *queue.Queue) bool {
	exchange, ok := queue.HistoryOf(q)
	if !ok {
		return false
	}
	if x, _ := v.topology.Exchange(exchange); x.Type != topology.RecentHistory || v.histories[exchange] != nil {
		l.r.Fail("the history of exchange %q belongs to nothing, or comes twice", exchange)
	}
	v.histories[exchange] = queue.HistoryIn(q)
	return true
}

// checkHistories checks the histories of all vhosts.
func (m *Machine) checkHistories(census *queue.Census) (queues []*queue.Queue, err error) {
	for _, name := range sortedKeys(m.vhosts) {
		v := m.vhosts[name]
		for _, exchange := range sortedKeys(v.histories) {
			h := v.histories[exchange]
			if x, _ := v.topology.Exchange(exchange); x.Type != topology.RecentHistory {
				return queues, fmt.Errorf("exchange %q of vhost %q has a history", exchange, name)
			}
			if err := census.Queue(h.Queue()); err != nil {
				return queues, err
			}
			queues = append(queues, h.Queue())
		}
	}
	return queues, nil
}
