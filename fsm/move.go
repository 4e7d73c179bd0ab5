package fsm

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// moveSince is the version of the machine from which on all nodes know Move.
const moveSince = 3

// A mover carries out one Move.
type mover struct {
	*Machine
	v      *vhost
	c      *command.Move
	source *queue.Queue
	r      *command.Result
}

// move takes messages out of a queue and puts each in the queues that it is for now. It loses none: one
// that no queue is there for stays, and at one that would be too much for its queue it ends.
func (m *Machine) move(e *epoch, c *command.Move, r *command.Result) *command.Error {
	v, q, err := m.findQueue(e, c.VHost, 0, c.Queue)
	if err != nil {
		return err
	}
	if err := m.checkTarget(e, v, q, c); err != nil {
		return err
	}
	w := mover{m, v, c, q, r}
	r.Next = q.Scan(max(c.From, 1), c.Parked, &m.budget, w.step)
	return nil
}

// checkTarget refuses a target that cannot be.
func (m *Machine) checkTarget(e *epoch, v *vhost, q *queue.Queue, c *command.Move) *command.Error {
	switch c.To {
	case command.ToExchange:
		return v.topology.Check([]byte(c.Target))
	case command.ToQueue:
		_, target, err := m.findQueue(e, c.VHost, 0, c.Target)
		if err == nil && target == q && !c.Parked {
			err = refuse(preconditionFailed, "%s is where the messages are", queueText(v.name, c.Target))
		}
		return err
	}
	return nil
}

// step moves one message if it is wanted.
func (w *mover) step(n uint64, msg *command.Message) queue.Step {
	if w.r.Messages >= w.c.Most {
		return queue.Stop
	}
	w.budget.Spend(filterCost(&w.c.Filter, msg) >> 12)
	if !w.c.Matches(msg) {
		return queue.Leave
	}
	msg, names := w.route(msg)
	if len(names) == 0 {
		w.r.Kept++
		return queue.Leave
	}
	var k mark
	for _, name := range names {
		q := w.v.queues[name]
		switch {
		case q == w.source && !w.c.Parked || w.hasAlready(q, msg, &k):
			w.r.Kept++
			return queue.Leave
		case q.Full(len(msg.Body)):
			w.r.Rejected = true
			return queue.Stop
		}
	}
	if w.tracing != nil {
		w.tracing.moving(w, n, msg, names)
	}
	w.source.Release(n)
	if w.c.To == command.ToExchange {
		w.remember(w.v, w.v.topology.Recent(), msg)
	}
	ttl := w.expiration(msg.Properties)
	for _, name := range names {
		w.pushMoved(w.v.queues[name], msg, ttl, &k)
	}
	w.budget.Spend(len(names))
	w.r.Messages++
	return queue.Take
}

// filterCost is how many bytes it takes to look, at most, whether a message is as a filter wants it: each header is looked for in all
// properties.
func filterCost(f *command.Filter, msg *command.Message) int {
	return (1 + len(f.Headers)) * len(msg.Properties)
}

// route returns the queues of a message, and the message as it comes there.
func (w *mover) route(msg *command.Message) (*command.Message, []string) {
	names := w.routes[:0]
	switch w.c.To {
	case command.ToQueue:
		names = append(names, w.c.Target)
	case command.ToExchange:
		key := msg.Key
		if w.c.SetKey {
			key = []byte(w.c.Key)
		}
		names = w.v.topology.RouteDead(names, &topology.Message{
			Exchange: []byte(w.c.Target), Key: key, Properties: msg.Properties, Seed: w.seed(),
		})
		msg = w.store.NewMessage(w.c.Target, key, msg.Properties, msg.Body)
	default:
		var name string
		name, msg = w.beforeDeath(msg)
		if q := w.v.queues[name]; q != nil && !q.Spec.Exclusive && (w.c.Target == "" || w.c.Target == name) {
			names = append(names, name)
		}
	}
	w.routes = names
	return msg, names
}

// beforeDeath returns the queue in which a dead letter died first or last, and the message as it was there; no
// queue for a message that has no history of the broker's.
func (w *mover) beforeDeath(msg *command.Message) (string, *command.Message) {
	p, err := wire.ParseProperties(msg.Properties)
	if err != nil {
		return "", msg
	}
	which := "first"
	if w.c.To == command.ToLastDeath {
		which = "last"
	}
	name, reason := text(p.Headers, "x-"+which+"-death-queue"), text(p.Headers, "x-"+which+"-death-reason")
	history := deaths(&p, msg.Properties)
	i := slices.IndexFunc(history, func(d death) bool { return d.queue == name && d.reason == reason })
	if i < 0 {
		return "", msg
	}
	exchange, key := text(history[i].row, "exchange"), msg.Key
	keys, _ := history[i].row.Get("routing-keys")
	if list, ok := keys.(wire.Array); ok && len(list) > 0 {
		if first, ok := list[0].(string); ok {
			key = []byte(first)
		}
	}
	return name, w.store.NewMessage(exchange, key, msg.Properties, msg.Body)
}

// hasAlready reports whether a queue would drop a message as one that it has. If it only remembers to have had it,
// that may be the one that is moved.
func (w *mover) hasAlready(q *queue.Queue, msg *command.Message, k *mark) bool {
	d := q.Dedup()
	return d != nil && q != w.source && !q.Window() && k.look(msg.Properties) && d.Knows(k.digest, w.now)
}

// pushMoved puts a message in a queue whether that has had it or not.
func (w *mover) pushMoved(q *queue.Queue, msg *command.Message, ttl int64, k *mark) {
	q.Push(msg, ttl)
	if d := q.Dedup(); d != nil && k.look(msg.Properties) && !d.Knows(k.digest, w.now) {
		q.Remember(msg, k.digest, k.ttl, w.now)
	}
}
