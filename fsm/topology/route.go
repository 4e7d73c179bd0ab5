package topology

import "warren/fsm/command"

// A Message is what routing looks at.
type Message struct {
	Exchange, Key []byte
	Also          [][]byte // further routing keys; see command.Publish.Keyed
	// Properties is the property list of the content header. Headers and hash
	// exchanges look at it.
	Properties []byte
	// Seed is where the choices of x-random come from. Two messages should not have
	// the same one.
	Seed  uint64
	Epoch uint64 // of the publisher's node, for x-local-random; 0: none
}

// Route appends to dst the names of the queues that a message goes to, each
// once, in an order that follows from the bindings alone. No queue is not an error.
// Refusals: 404 for an unknown exchange, 403 for an internal one. What m refers to is
// not kept.
//
// Routing through direct, fanout and topic exchanges allocates nothing but what dst needs.
func (t *Topology) Route(dst []string, m *Message) ([]string, *command.Error) {
	t.recent = t.recent[:0]
	if len(m.Exchange) == 0 && len(m.Also) == 0 {
		t.byDefault.In++
		if q := t.queues[string(m.Key)]; q != nil {
			t.byDefault.Out++
			dst = append(dst, q.name)
		}
		return dst, nil
	}
	x := t.exchanges[string(m.Exchange)]
	if x == nil || x.Internal {
		return dst, t.refusePublish(x, m.Exchange)
	}
	before := len(dst)
	dst = t.route(dst, x, m)
	x.traffic.In++
	x.traffic.Out += uint64(len(dst) - before)
	return dst, nil
}

// Recent returns the exchanges of type x-recent-history that the last message was routed through. It is valid until
// the next one is.
func (t *Topology) Recent() []Exchange { return t.recent }

// Check tells whether Route would accept a message for the exchange: nil, or the
// refusal that Route would give.
func (t *Topology) Check(exchange []byte) *command.Error {
	if len(exchange) == 0 {
		return nil
	}
	x := t.exchanges[string(exchange)]
	if x == nil || x.Internal {
		return t.refusePublish(x, exchange)
	}
	return nil
}

func (t *Topology) refusePublish(x *exchange, name []byte) *command.Error {
	if x == nil {
		return t.errNoExchange(string(name))
	}
	return refuse(accessRefused, "cannot publish to internal %s", t.exchangeText(x.Name))
}

// route follows bindings from exchange to exchange, visiting each once, so that
// cycles end. It keeps no order among equals but the bindings' own.
func (t *Topology) route(dst []string, first *exchange, m *Message) []string {
	t.round++
	started := t.round // marks of this call are at least this; topic matches use later numbers
	t.message = *m
	t.headers.reset(m.Properties)
	t.work = append(t.work[:0], first)
	t.recent = t.recent[:0]
	first.met = started
	for i := 0; i < len(t.work); i++ {
		x := t.work[i]
		if x.Type == RecentHistory {
			t.recent = append(t.recent, x.Exchange)
		}
		var matched bool
		dst, matched = t.routeOne(dst, x, started)
		if !matched && x.hasAlternate {
			t.meet(t.exchanges[x.alternate], started)
		}
	}
	t.headers.reset(nil) // properties may alias a log entry, and so does the message
	t.message = Message{}
	return dst
}

func (t *Topology) meet(x *exchange, started uint64) {
	if x != nil && x.met < started {
		x.met = started
		t.work = append(t.work, x)
	}
}

// routeOne gives the message to what x is bound to, and tells whether any
// binding matched.
func (t *Topology) routeOne(dst []string, x *exchange, started uint64) ([]string, bool) {
	switch x.kind {
	case Direct, Topic:
		dst, matched := t.routeKey(dst, x, t.message.Key, started)
		for _, key := range t.message.Also {
			var also bool
			dst, also = t.routeKey(dst, x, key, started)
			matched = matched || also
		}
		return dst, matched
	case Fanout:
		for b := x.out.first; b != nil; b = b.links[inSource].next {
			dst = t.give(dst, b.to, started)
		}
		return dst, x.out.n > 0
	case Headers:
		return t.routeHeaders(dst, x, started)
	case ConsistentHash:
		return t.routeHash(dst, x, started)
	default:
		return t.routePick(dst, x, started)
	}
}

func (t *Topology) routeKey(dst []string, x *exchange, key []byte, started uint64) ([]string, bool) {
	if x.kind == Topic {
		return t.routeTopic(dst, x, key, started)
	}
	return t.routeDirect(dst, x, key, started)
}

func (t *Topology) routeDirect(dst []string, x *exchange, key []byte, started uint64) ([]string, bool) {
	if x.Name == "" { // as an alternate exchange, or with several keys
		q := t.queues[string(key)]
		if q == nil {
			return dst, false
		}
		return t.give(dst, q, started), true
	}
	bucket := x.keys[string(key)]
	if bucket == nil {
		return dst, false
	}
	for b := bucket.first; b != nil; b = b.links[inBucket].next {
		dst = t.give(dst, b.to, started)
	}
	return dst, true
}

func (t *Topology) routeTopic(dst []string, x *exchange, key []byte, started uint64) ([]string, bool) {
	t.matchTopic(x.patterns, key)
	matched := false
	for _, n := range t.active {
		for b := n.bindings.first; b != nil; b = b.links[inBucket].next {
			dst = t.give(dst, b.to, started)
			matched = true
		}
	}
	return dst, matched
}

func (t *Topology) routeHeaders(dst []string, x *exchange, started uint64) ([]string, bool) {
	matched := false
	for b := x.out.first; b != nil; b = b.links[inSource].next {
		if b.match.matches(t.headers.table()) {
			dst = t.give(dst, b.to, started)
			matched = true
		}
	}
	return dst, matched
}

// give appends a queue, or puts an exchange on the list of those to visit.
func (t *Topology) give(dst []string, to *destination, started uint64) []string {
	if to.exchange != nil {
		t.meet(to.exchange, started)
		return dst
	}
	if to.met >= started {
		return dst
	}
	to.met = started
	return append(dst, to.name)
}
