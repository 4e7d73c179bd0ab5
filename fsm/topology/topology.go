// Package topology holds the exchanges and bindings of one vhost and routes
// messages through them: exchange, routing key and properties in, names of queues out.
//
// It is part of the state machine, so it is pure: the same calls in the same
// order give the same answers, errors and snapshot bytes on every node. Order
// comes from the order in which bindings were made, which a snapshot keeps, and
// never from the order of a map. Refusals carry RabbitMQ's codes and texts.
//
// It knows queues by name only; messages, permissions and policies live elsewhere.
// A Topology is not safe for concurrent use: routing marks what it has visited.
package topology

import (
	"slices"
	"strings"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// The exchange types, as exchange.declare names them.
const (
	Direct  = "direct"
	Fanout  = "fanout"
	Topic   = "topic"
	Headers = "headers"

	// Deduplication routes as fanout does; what it drops is package fsm's to know.
	Deduplication = "x-message-deduplication"

	// Delayed routes as the type in its argument x-delayed-type does.
	Delayed = "x-delayed-message"

	// RecentHistory routes as fanout does; what it keeps is package fsm's to know.
	RecentHistory = "x-recent-history"
)

// argAlternate names the exchange that takes what an exchange cannot route
// (https://www.rabbitmq.com/docs/ae).
const argAlternate = "alternate-exchange"

// argDelayedType is the type that an exchange of type x-delayed-message routes as.
const argDelayedType = "x-delayed-type"

// An Exchange is what was declared. The default exchange has an empty name.
type Exchange struct {
	Name, Type                    string
	Durable, AutoDelete, Internal bool
	Args                          wire.Table // not to be changed
}

// A Binding leads from the exchange Source to the queue or exchange Destination.
type Binding struct {
	Source, Destination string
	ToExchange          bool // Destination is an exchange
	Key                 string
	Args                wire.Table // sorted by name; not to be changed
}

// A Topology is the exchanges and bindings of one vhost. Make one with New.
type Topology struct {
	vhost     string
	exchanges map[string]*exchange
	queues    map[string]*destination
	bindings  map[identity]*binding
	all       list // every explicit binding, in the order of their making

	firstQueue, lastQueue *destination // the queues, in the order of their declaration

	emptied []*exchange // auto-delete exchanges that have just lost their last binding

	onRemove  func(exchange string) // is called for each exchange that goes; may be nil
	byDefault Traffic               // of the default exchange, but for messages with further keys

	round   uint64      // number of the present Route, for marks
	recent  []Exchange  // of type RecentHistory that the last Route has met
	work    []*exchange // exchanges that the present Route has met
	active  []*node     // scratch of the topic match
	next    []*node
	headers headerSet
	message Message // the one that is being routed
	local   picks   // scratch of x-local-random
	scratch [32]byte
}

// exchange is an Exchange with what routes it. Which of keys, patterns and picks is
// used depends on the type; fanout, headers and x-consistent-hash walk out.
type exchange struct {
	Exchange
	kind         string // the type that it routes as
	alternate    string // name of the alternate exchange; empty may be the default one
	hasAlternate bool
	out          list             // bindings from it
	self         destination      // bindings to it
	keys         map[string]*list // bindings by key
	patterns     *node            // bindings by pattern
	picks        picks            // destinations, where one is chosen

	hashHeader, hashProperty string // what x-consistent-hash looks at instead of the key
	gone                     bool
	met                      uint64 // Route that has met it
	traffic                  Traffic
}

// destination is a queue, or the side of an exchange that bindings lead to.
type destination struct {
	name     string
	in       list
	exchange *exchange // nil: a queue
	epoch    uint64    // of the node that an exclusive queue lives on; 0: every node
	met      uint64    // Route that has given it

	prev, next *destination // queues
}

// predeclared are the exchanges that every vhost has. They cannot be deleted.
var predeclared = []Exchange{
	{Name: "", Type: Direct, Durable: true},
	{Name: "amq.direct", Type: Direct, Durable: true},
	{Name: "amq.fanout", Type: Fanout, Durable: true},
	{Name: "amq.headers", Type: Headers, Durable: true},
	{Name: "amq.match", Type: Headers, Durable: true},
	{Name: "amq.rabbitmq.trace", Type: Topic, Durable: true, Internal: true},
	{Name: "amq.topic", Type: Topic, Durable: true},
}

// EventExchange is the one exchange with a reserved name that may be declared, and deleted: what the broker tells of itself
// goes through it. It has to be a durable, internal exchange of type topic.
const EventExchange = "amq.rabbitmq.event"

func isEventExchange(name string, d *command.ExchangeDeclare) bool {
	return name == EventExchange && d.Type == Topic && d.Durable && d.Internal && !d.AutoDelete
}

// Listened reports whether an exchange is internal and has bindings.
func (t *Topology) Listened(exchange string) bool {
	x := t.exchanges[exchange]
	return x != nil && x.Internal && x.out.n > 0
}

// New returns the topology of a new vhost: the predeclared exchanges. The name
// of the vhost appears in the texts of errors.
func New(vhost string) *Topology {
	t := &Topology{
		vhost:     vhost,
		exchanges: make(map[string]*exchange),
		queues:    make(map[string]*destination),
		bindings:  make(map[identity]*binding),
		all:       list{kind: inAll},
	}
	for _, x := range predeclared {
		t.add(x)
	}
	return t
}

// OnRemove sets what is called with the name of each exchange that goes.
func (t *Topology) OnRemove(f func(exchange string)) { t.onRemove = f }

func (t *Topology) add(def Exchange) {
	x := &exchange{Exchange: def, kind: routesAs(def.Type, def.Args), out: list{kind: inSource}}
	x.self = destination{name: def.Name, in: list{kind: inDestination}, exchange: x}
	if v, ok := def.Args.Get(argAlternate); ok {
		x.alternate, x.hasAlternate = v.(string)
	}
	switch x.kind {
	case Direct:
		x.keys = make(map[string]*list)
	case Topic:
		x.patterns = newNode(nil, "")
	case ConsistentHash:
		header, _ := def.Args.Get(argHashHeader)
		property, _ := def.Args.Get(argHashProperty)
		x.hashHeader, _ = header.(string)
		x.hashProperty, _ = property.(string)
	}
	t.exchanges[def.Name] = x
}

// Declare is exchange.declare, passive too. Declaring an exchange again as it is
// changes nothing; of its arguments only alternate-exchange is compared.
// Refusals: 403, 404 and 406.
func (t *Topology) Declare(d *command.ExchangeDeclare) *command.Error {
	name := StripNewlines(d.Name)
	if d.Passive {
		return t.declarePassive(name)
	}
	if !knownType(d.Type) {
		return refuse(preconditionFailed, "unknown exchange type '%s'", d.Type)
	}
	if name == "" {
		return errDefaultExchange()
	}
	if x := t.exchanges[name]; x != nil {
		return t.checkEquivalent(x, d)
	}
	if strings.HasPrefix(name, "amq.") && !isEventExchange(name, d) {
		return refuse(accessRefused, "exchange name '%s' contains reserved prefix 'amq.*'", name)
	}
	if v, ok := d.Args.Get(argAlternate); ok {
		if _, ok := v.(string); !ok {
			return refuse(preconditionFailed, "invalid type '%s' for arg '%s' in %s", wire.TypeName(v), argAlternate, t.exchangeText(name))
		}
	}
	if d.Type == Delayed {
		if err := checkDelayedType(d.Args); err != nil {
			return err
		}
	}
	if routesAs(d.Type, d.Args) == ConsistentHash {
		if err := checkHashArguments(d.Args); err != nil {
			return err
		}
	}
	t.add(Exchange{Name: name, Type: d.Type, Durable: d.Durable, AutoDelete: d.AutoDelete, Internal: d.Internal, Args: d.Args})
	return nil
}

func (t *Topology) declarePassive(name string) *command.Error {
	if name == "" {
		return errDefaultExchange()
	}
	if t.exchanges[name] == nil {
		return t.errNoExchange(name)
	}
	return nil
}

func (t *Topology) checkEquivalent(x *exchange, d *command.ExchangeDeclare) *command.Error {
	if d.Type != x.Type {
		return t.errInequivalent(x.Name, "type", quote(d.Type), quote(x.Type))
	}
	for _, f := range []struct {
		arg         string
		given, have bool
	}{
		{"durable", d.Durable, x.Durable},
		{"auto_delete", d.AutoDelete, x.AutoDelete},
		{"internal", d.Internal, x.Internal},
	} {
		if f.given != f.have {
			return t.errInequivalent(x.Name, f.arg, quoteBool(f.given), quoteBool(f.have))
		}
	}
	given, isGiven := d.Args.Get(argAlternate)
	have, isThere := x.Args.Get(argAlternate)
	switch {
	case isGiven && isThere:
		if !wire.EqualValue(given, have) {
			return t.errInequivalent(x.Name, argAlternate, quote(valueText(given)), quote(valueText(have)))
		}
	case isGiven != isThere:
		return t.errInequivalent(x.Name, argAlternate, argText(given, isGiven), argText(have, isThere))
	}
	return nil
}

// Delete is exchange.delete. Bindings from and to the exchange go with it, and
// so do auto-delete exchanges that lose their last binding by that. Deleting an
// exchange that is not there is fine. Refusals: 403 and, with ifUnused, 406.
func (t *Topology) Delete(name string, ifUnused bool) *command.Error {
	name = StripNewlines(name)
	if name == "" {
		return errDefaultExchange()
	}
	if strings.HasPrefix(name, "amq.") && name != EventExchange {
		return refuse(accessRefused, "deletion of system %s not allowed", t.exchangeText(name))
	}
	x := t.exchanges[name]
	if x == nil {
		return nil
	}
	if ifUnused && x.out.n > 0 {
		return refuse(preconditionFailed, "%s in use", t.exchangeText(name))
	}
	t.remove(x)
	t.sweep()
	return nil
}

// RemoveTransient removes the exchanges that are not durable, and their
// bindings, as a restart of the whole cluster does.
func (t *Topology) RemoveTransient() {
	for _, name := range t.exchangeNames() {
		if x := t.exchanges[name]; x != nil && !x.Durable {
			t.remove(x)
			t.sweep()
		}
	}
}

// DeclareQueue makes a queue known: bindings may lead to it, and the default
// exchange routes to it by its name. A queue that is known already stays as it is.
func (t *Topology) DeclareQueue(name string) {
	if t.queues[name] != nil {
		return
	}
	q := &destination{name: name, in: list{kind: inDestination}, prev: t.lastQueue}
	t.queues[name] = q
	if q.prev == nil {
		t.firstQueue = q
	} else {
		q.prev.next = q
	}
	t.lastQueue = q
}

// SetEpoch says on which node an exclusive queue lives: x-local-random gives it
// messages from there only. A queue that is not known stays so.
func (t *Topology) SetEpoch(queue string, epoch uint64) {
	if q := t.queues[queue]; q != nil {
		q.epoch = epoch
	}
}

// RemoveQueue forgets a queue and its bindings, and deletes the auto-delete
// exchanges that lose their last binding by that. An unknown queue is fine.
func (t *Topology) RemoveQueue(name string) {
	q := t.queues[name]
	if q == nil {
		return
	}
	delete(t.queues, name)
	if q.prev == nil {
		t.firstQueue = q.next
	} else {
		q.prev.next = q.next
	}
	if q.next == nil {
		t.lastQueue = q.prev
	} else {
		q.next.prev = q.prev
	}
	t.dropAll(&q.in)
	t.sweep()
}

// remove takes x and its bindings out. The caller sweeps.
func (t *Topology) remove(x *exchange) {
	x.gone = true
	delete(t.exchanges, x.Name)
	if t.onRemove != nil {
		t.onRemove(x.Name)
	}
	t.dropAll(&x.out)
	t.dropAll(&x.self.in)
}

// sweep deletes auto-delete exchanges that have lost their last binding, and
// those that lose it by that, without recursion: a chain may be long.
func (t *Topology) sweep() {
	for len(t.emptied) > 0 {
		x := t.emptied[len(t.emptied)-1]
		t.emptied = t.emptied[:len(t.emptied)-1]
		if !x.gone {
			t.remove(x)
		}
	}
	t.emptied = nil
}

// Exchange returns the exchange of that name.
func (t *Topology) Exchange(name string) (Exchange, bool) {
	x := t.exchanges[name]
	if x == nil {
		return Exchange{}, false
	}
	return x.Exchange, true
}

// Exchanges returns all exchanges, sorted by name.
func (t *Topology) Exchanges() []Exchange {
	names := t.exchangeNames()
	all := make([]Exchange, len(names))
	for i, name := range names {
		all[i] = t.exchanges[name].Exchange
	}
	return all
}

// Count returns how many exchanges and bindings there are; the default exchange's
// binding for each queue counts.
func (t *Topology) Count() (exchanges, bindings int) {
	return len(t.exchanges), len(t.queues) + t.all.n
}

func (t *Topology) exchangeNames() []string {
	names := make([]string, 0, len(t.exchanges))
	for name := range t.exchanges {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// SetAlternate gives an exchange the alternate exchange that a policy says, or takes it
// away with ok false. One that was declared with the exchange counts for more.
func (t *Topology) SetAlternate(exchange, alternate string, ok bool) {
	x := t.exchanges[exchange]
	if x == nil {
		return
	}
	if _, declared := x.Args.Get(argAlternate); !declared {
		x.alternate, x.hasAlternate = alternate, ok
	}
}

// Alternate returns the name of the alternate exchange of an exchange, and whether it has one.
func (t *Topology) Alternate(exchange string) (string, bool) {
	x := t.exchanges[exchange]
	if x == nil {
		return "", false
	}
	return x.alternate, x.hasAlternate
}

// Types returns the names of the exchange types, sorted.
func Types() []string {
	return []string{Direct, Fanout, Headers, Topic, ConsistentHash, Delayed, LocalRandom, Deduplication, ModulusHash, Random, RecentHistory}
}

func knownType(name string) bool { return slices.Contains(Types(), name) }

// StripNewlines takes CR and LF out of a name, as RabbitMQ does where a queue, exchange or
// binding is declared.
func StripNewlines(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// routesAs returns the type that an exchange routes as.
func routesAs(kind string, args wire.Table) string {
	switch kind {
	case Deduplication, RecentHistory:
		return Fanout
	case Delayed:
		v, _ := args.Get(argDelayedType)
		if inner, ok := v.(string); ok && inner != Delayed && inner != RecentHistory && knownType(inner) {
			return routesAs(inner, nil)
		}
		return ""
	default:
		return kind
	}
}

// checkDelayedType refuses an x-delayed-message exchange without a type to route as.
func checkDelayedType(args wire.Table) *command.Error {
	v, _ := args.Get(argDelayedType)
	inner, ok := v.(string)
	if !ok {
		return refuse(preconditionFailed, "Invalid argument, 'x-delayed-type' must be an existing exchange type")
	}
	if routesAs(Delayed, args) == "" {
		return refuse(preconditionFailed, "unknown exchange type '%s'", inner)
	}
	return nil
}
