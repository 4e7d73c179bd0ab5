package topology

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// identity is what makes two bindings the same one. Args are encoded, sorted by name.
type identity struct {
	source, destination string
	toExchange          bool
	key, args           string
}

// binding is one binding and its place in the lists that know it.
type binding struct {
	identity
	table wire.Table // the arguments, sorted by name
	from  *exchange
	to    *destination
	match matcher // headers exchanges
	share share   // consistent hash exchanges
	node  *node   // topic exchanges
	links [lists]link
}

// The lists that a binding stands in. Each keeps the order of making; routing
// and snapshots walk them, so that order is part of the state.
const (
	inAll         = iota // Topology.all
	inSource             // exchange.out
	inDestination        // destination.in
	inBucket             // a key of a direct exchange, a pattern of a topic exchange
	lists
)

type link struct{ prev, next *binding }

// list is a doubly linked list through the bindings themselves: it takes and
// drops one in constant time, however many thousands an exchange has.
type list struct {
	kind        int
	first, last *binding
	n           int
}

func (l *list) push(b *binding) {
	b.links[l.kind] = link{prev: l.last}
	if l.last == nil {
		l.first = b
	} else {
		l.last.links[l.kind].next = b
	}
	l.last = b
	l.n++
}

func (l *list) drop(b *binding) {
	at := b.links[l.kind]
	if at.prev == nil {
		l.first = at.next
	} else {
		at.prev.links[l.kind].next = at.next
	}
	if at.next == nil {
		l.last = at.prev
	} else {
		at.next.links[l.kind].prev = at.prev
	}
	b.links[l.kind] = link{}
	l.n--
}

// Bind is queue.bind or exchange.bind. Binding twice is one binding. The caller
// has looked after the queue's owner. Refusals: 403 for the default exchange, 404
// for an end that is not there, 406 for arguments that the exchange cannot use.
func (t *Topology) Bind(c *command.Binding) *command.Error {
	id, args := identify(c)
	if id.source == "" || id.toExchange && id.destination == "" {
		return errDefaultExchange()
	}
	from := t.exchanges[id.source]
	if from == nil {
		return t.errNoExchange(id.source)
	}
	to, err := t.destination(id)
	if err != nil {
		return err
	}
	b := &binding{identity: id, table: args, from: from, to: to}
	switch from.kind {
	case Headers:
		b.match, err = newMatcher(args)
	case ConsistentHash:
		b.share, err = newShare(&id)
	case LocalRandom:
		err = checkLocal(&id)
	}
	if err != nil {
		return err
	}
	if t.bindings[id] == nil {
		t.link(b)
	}
	return nil
}

// Unbind is queue.unbind or exchange.unbind. A binding, queue or exchange that is
// not there is fine. An auto-delete exchange goes with the last binding from it.
// Refusal: 403 for the default exchange.
func (t *Topology) Unbind(c *command.Binding) *command.Error {
	id, _ := identify(c)
	if id.source == "" || id.toExchange && id.destination == "" {
		return errDefaultExchange()
	}
	if b := t.bindings[id]; b != nil {
		t.dropBinding(b)
		t.sweep()
	}
	return nil
}

// AppendBindings appends all bindings to dst: the default exchange's, one for each queue
// by its name, in the order in which the queues were declared, and then the others in the
// order of their making. SortBindings gives them an order for people.
func (t *Topology) AppendBindings(dst []Binding) []Binding {
	dst = slices.Grow(dst, len(t.queues)+t.all.n)
	dst = t.appendDefault(dst)
	return t.all.appendTo(dst)
}

// AppendBound is AppendBindings without those of the default exchange.
func (t *Topology) AppendBound(dst []Binding) []Binding {
	return t.all.appendTo(slices.Grow(dst, t.all.n))
}

func (t *Topology) appendDefault(dst []Binding) []Binding {
	for q := t.firstQueue; q != nil; q = q.next {
		dst = append(dst, Binding{Destination: q.name, Key: q.name})
	}
	return dst
}

// AppendFrom appends the bindings from an exchange, and AppendTo those to a queue or an
// exchange, in an order as AppendBindings has it. They cost what they give.
func (t *Topology) AppendFrom(dst []Binding, exchange string) []Binding {
	x := t.exchanges[exchange]
	switch {
	case exchange == "":
		return t.appendDefault(dst)
	case x == nil:
		return dst
	}
	return x.out.appendTo(dst)
}

// AppendTo is the counterpart of AppendFrom.
func (t *Topology) AppendTo(dst []Binding, destination string, toExchange bool) []Binding {
	if toExchange {
		if x := t.exchanges[destination]; x != nil {
			dst = x.self.in.appendTo(dst)
		}
		return dst
	}
	if q := t.queues[destination]; q != nil {
		dst = append(dst, Binding{Destination: q.name, Key: q.name})
		dst = q.in.appendTo(dst)
	}
	return dst
}

func (l *list) appendTo(dst []Binding) []Binding {
	for b := l.first; b != nil; b = b.links[l.kind].next {
		dst = append(dst, b.public())
	}
	return dst
}

func (b *binding) public() Binding {
	return Binding{Source: b.source, Destination: b.destination, ToExchange: b.toExchange, Key: b.key, Args: b.table}
}

// Bindings returns all bindings, sorted as SortBindings does.
func (t *Topology) Bindings() []Binding {
	all := t.AppendBindings(nil)
	SortBindings(all)
	return all
}

// SortBindings sorts by source, kind and name of the destination, key and arguments.
func SortBindings(all []Binding) {
	slices.SortFunc(all, func(a, b Binding) int {
		if c := a.identity().compare(b.identity()); c != 0 {
			return c
		}
		return bytes.Compare(wire.AppendTable(nil, a.Args), wire.AppendTable(nil, b.Args))
	})
}

// identity lacks the arguments: encoding them is worth it only where all else is equal.
func (b *Binding) identity() identity {
	return identity{source: b.Source, destination: b.Destination, toExchange: b.ToExchange, key: b.Key}
}

func (a identity) compare(b identity) int {
	if c := strings.Compare(a.source, b.source); c != 0 {
		return c
	}
	if a.toExchange != b.toExchange {
		if b.toExchange {
			return -1
		}
		return 1
	}
	return cmp.Or(
		strings.Compare(a.destination, b.destination),
		strings.Compare(a.key, b.key),
		strings.Compare(a.args, b.args),
	)
}

// checkLocal refuses what cannot be bound to x-local-random.
func checkLocal(id *identity) *command.Error {
	if id.key != "" {
		return refuse(preconditionFailed, "Non empty binding '%s' key not permitted", id.key)
	}
	if id.toExchange {
		return refuse(preconditionFailed, "Destination not found")
	}
	return nil
}

func identify(c *command.Binding) (identity, wire.Table) {
	id := identity{
		source:      StripNewlines(c.Source),
		destination: StripNewlines(c.Destination),
		toExchange:  c.ToExchange,
		key:         c.Key,
	}
	if len(c.Args) == 0 {
		return id, nil
	}
	args := slices.Clone(c.Args)
	sortTable(args)
	id.args = string(wire.AppendTable(nil, args))
	return id, args
}

func sortTable(t wire.Table) {
	slices.SortStableFunc(t, func(a, b wire.Field) int { return strings.Compare(a.Name, b.Name) })
}

func (t *Topology) destination(id identity) (*destination, *command.Error) {
	if id.toExchange {
		if x := t.exchanges[id.destination]; x != nil {
			return &x.self, nil
		}
		return nil, t.errNoExchange(id.destination)
	}
	if q := t.queues[id.destination]; q != nil {
		return q, nil
	}
	return nil, t.errNoQueue(id.destination)
}

// link puts a new binding in its lists.
func (t *Topology) link(b *binding) {
	t.bindings[b.identity] = b
	t.all.push(b)
	b.from.out.push(b)
	b.to.in.push(b)
	switch b.from.kind {
	case Direct:
		bucket := b.from.keys[b.key]
		if bucket == nil {
			bucket = &list{kind: inBucket}
			b.from.keys[b.key] = bucket
		}
		bucket.push(b)
	case Topic:
		b.node = b.from.patterns.grow(b.key)
		b.node.bindings.push(b)
	default:
		if chooses(b.from.kind) {
			b.from.picks.add(b.to)
		}
	}
}

// dropBinding takes a binding out of its lists and remembers its source for
// sweep, where that must go now.
func (t *Topology) dropBinding(b *binding) {
	delete(t.bindings, b.identity)
	t.all.drop(b)
	b.from.out.drop(b)
	b.to.in.drop(b)
	switch b.from.kind {
	case Direct:
		bucket := b.from.keys[b.key]
		bucket.drop(b)
		if bucket.n == 0 {
			delete(b.from.keys, b.key)
		}
	case Topic:
		b.node.bindings.drop(b)
		b.node.prune()
	default:
		if chooses(b.from.kind) {
			b.from.picks.drop(b.to)
		}
	}
	if b.from.AutoDelete && !b.from.gone && b.from.out.n == 0 {
		t.emptied = append(t.emptied, b.from)
	}
}

func (t *Topology) dropAll(l *list) {
	for l.first != nil {
		t.dropBinding(l.first)
	}
}
