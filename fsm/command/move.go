package command

import "warren/protocol/wire"

// KindMove is the kind of Move.
const KindMove Kind = 70

// A MoveTo says where moved messages go.
type MoveTo uint8

// Where moved messages go.
const (
	ToQueue    MoveTo = 0 // to the queue Target, as they are
	ToExchange MoveTo = 1 // through the exchange Target, as if they were published there
	// ToFirstDeath and ToLastDeath: dead letters go back to the queue in which they died first or last, with the
	// exchange and routing key that they had there; with a Target only those that died in that queue.
	ToFirstDeath MoveTo = 2
	ToLastDeath  MoveTo = 3
)

// Move takes messages out of a queue and puts them in others, in one step: each that matches, in the order of the
// queue, up to a number. One that nobody would take stays where it is. An entry does so much only; the result says
// where to go on.
type Move struct {
	VHost, Queue string
	Parked       bool   // those that are parked; else those that are ready
	From         uint64 // sequence of the first message to look at; see Result.Next
	Most         uint32 // messages to move
	To           MoveTo
	Target       string
	SetKey       bool   // ToExchange: Key is the routing key; else each message's own is
	Key          string // of ToExchange with SetKey

	// What messages have to be like; see Filter.
	Filter
}

// A Filter is what a message has to be like.
type Filter struct {
	ByExchange, ByKey bool       // Exchange and RoutingKey count
	Exchange          string     // that it was published to
	RoutingKey        string     // that it was published with
	Headers           wire.Table // that it has, with equal values; numbers of any width are equal
}

// Empty reports whether a filter takes every message.
func (f *Filter) Empty() bool { return !f.ByExchange && !f.ByKey && len(f.Headers) == 0 }

// Matches reports whether a message is as the filter wants it.
func (f *Filter) Matches(m *Message) bool {
	if f.ByExchange && f.Exchange != m.Exchange || f.ByKey && f.RoutingKey != string(m.Key) {
		return false
	}
	for i := range f.Headers {
		have, ok := wire.Header(m.Properties, f.Headers[i].Name)
		if !ok || !wire.EqualValue(f.Headers[i].Value, have) {
			return false
		}
	}
	return true
}

func (*Move) Kind() Kind { return KindMove }

func (m *Move) Append(dst []byte) []byte {
	dst = appendStrings(dst, m.VHost, m.Queue)
	dst = appendFlags(dst, m.Parked, m.SetKey, m.ByExchange, m.ByKey)
	dst = appendUint(dst, m.From)
	dst = appendUint(dst, uint64(m.Most))
	dst = append(dst, byte(m.To))
	dst = appendStrings(dst, m.Target, m.Key, m.Exchange, m.RoutingKey)
	return appendTable(dst, m.Headers)
}
func (m *Move) decode(c *cursor) {
	c.strings(&m.VHost, &m.Queue)
	c.flags(&m.Parked, &m.SetKey, &m.ByExchange, &m.ByKey)
	m.From, m.Most = c.uint(), c.uint32()
	if m.To = MoveTo(c.byte()); m.To > ToLastDeath {
		c.fail()
	}
	c.strings(&m.Target, &m.Key, &m.Exchange, &m.RoutingKey)
	m.Headers = c.table()
}
