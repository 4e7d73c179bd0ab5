package topology

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// A snapshot is a version byte and three lists, each behind its length as an
// unsigned varint:
//
//	exchanges, sorted by name, without the predeclared: name, type, flags, arguments
//	queues, in the order of their declaration: name
//	bindings, in the order of their making: source, destination, flags, key, arguments
//
// Strings stand behind their length, arguments are a field table. The order of
// the bindings is state: routing follows it. Nothing that may be large is sorted:
// the state machine stands still while a snapshot is taken.
const snapshotVersion = 1

// leastBinding is what a binding takes at least in a snapshot, in bytes.
const leastBinding = 8

// ErrSnapshot is returned, wrapped, for bytes that AppendSnapshot cannot have written.
var ErrSnapshot = errors.New("damaged topology snapshot")

const (
	flagDurable = 1 << iota
	flagAutoDelete
	flagInternal
)

// AppendSnapshot appends the whole state. Equal states, made by equal histories,
// give equal bytes.
func (t *Topology) AppendSnapshot(dst []byte) []byte {
	const guess = 48 // bytes that a binding takes, as a rule
	dst = slices.Grow(dst, guess*(len(t.queues)+t.all.n))
	dst = append(dst, snapshotVersion)
	dst = binary.AppendUvarint(dst, uint64(len(t.exchanges)-len(predeclared)))
	for _, name := range t.exchangeNames() {
		if !reserved(name) {
			dst = appendExchange(dst, &t.exchanges[name].Exchange)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.queues)))
	for q := t.firstQueue; q != nil; q = q.next {
		dst = appendString(dst, q.name)
	}
	dst = binary.AppendUvarint(dst, uint64(t.all.n))
	for b := t.all.first; b != nil; b = b.links[inAll].next {
		dst = appendBinding(dst, b)
	}
	return dst
}

// reserved tells whether only predeclared exchanges can have the name.
func reserved(name string) bool {
	return name == "" || strings.HasPrefix(name, "amq.") && name != EventExchange
}

func appendExchange(dst []byte, x *Exchange) []byte {
	dst = appendString(dst, x.Name)
	dst = appendString(dst, x.Type)
	var flags byte
	for _, f := range []struct {
		set bool
		bit byte
	}{{x.Durable, flagDurable}, {x.AutoDelete, flagAutoDelete}, {x.Internal, flagInternal}} {
		if f.set {
			flags |= f.bit
		}
	}
	dst = append(dst, flags)
	return appendTable(dst, x.Args)
}

func appendBinding(dst []byte, b *binding) []byte {
	dst = appendString(dst, b.source)
	dst = appendString(dst, b.destination)
	var flags byte
	if b.toExchange {
		flags = 1
	}
	dst = append(dst, flags)
	dst = appendString(dst, b.key)
	if b.args == "" {
		return appendTable(dst, nil)
	}
	return append(dst, b.args...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendTable(dst []byte, t wire.Table) []byte {
	if len(t) == 0 {
		return append(dst, 0, 0, 0, 0)
	}
	return wire.AppendTable(dst, t)
}

// RestoreSnapshot replaces the state with one that AppendSnapshot wrote and
// returns the bytes that follow it. On an error the state is as it was.
func (t *Topology) RestoreSnapshot(b []byte) (rest []byte, err error) {
	fresh := New(t.vhost)
	r := reader{b: b}
	if v := r.byte(); r.err == nil && v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d", ErrSnapshot, v)
	}
	fresh.readExchanges(&r)
	fresh.readQueues(&r)
	fresh.readBindings(&r)
	if r.err != nil {
		return nil, r.err
	}
	fresh.onRemove = t.onRemove
	*t = *fresh
	return r.b, nil
}

func (t *Topology) readExchanges(r *reader) {
	last := ""
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		x := Exchange{Name: r.string(), Type: r.string()}
		flags := r.byte()
		x.Durable, x.AutoDelete, x.Internal = flags&flagDurable != 0, flags&flagAutoDelete != 0, flags&flagInternal != 0
		x.Args = r.table()
		switch {
		case r.err != nil:
		case reserved(x.Name) || x.Name <= last || flags >= flagInternal<<1 || !knownType(x.Type) || routesAs(x.Type, x.Args) == "":
			r.fail("exchange %q of type %q, flags %#x, behind %q", x.Name, x.Type, flags, last)
		default:
			t.add(x)
		}
		last = x.Name
	}
}

func (t *Topology) readQueues(r *reader) {
	for n := r.uint(); n > 0 && r.err == nil; n-- {
		name := r.string()
		switch {
		case r.err != nil:
		case t.queues[name] != nil:
			r.fail("queue %q twice", name)
		default:
			t.DeclareQueue(name)
		}
	}
}

func (t *Topology) readBindings(r *reader) {
	n := r.uint()
	t.bindings = make(map[identity]*binding, min(n, uint64(len(r.b))/leastBinding))
	for ; n > 0 && r.err == nil; n-- {
		c := command.Binding{Source: r.string(), Destination: r.string()}
		flags := r.byte()
		c.ToExchange = flags == 1
		c.Key = r.string()
		c.Args = r.table()
		if r.err != nil {
			return
		}
		have := t.all.n
		err := t.Bind(&c)
		switch {
		case err != nil:
			r.fail("binding from %q to %q: %s", c.Source, c.Destination, err.Text)
		case flags > 1 || t.all.n == have:
			r.fail("binding from %q to %q, flags %#x", c.Source, c.Destination, flags)
		}
	}
}

// reader takes values off a snapshot. After the first error it returns zero values.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrSnapshot, fmt.Sprintf(format, args...))
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("cut short")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("cut short")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail("cut short")
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) table() wire.Table {
	if r.err != nil {
		return nil
	}
	t, rest, err := wire.ParseTable(r.b)
	if err != nil {
		r.fail("%v", err)
		return nil
	}
	r.b = rest
	if len(t) == 0 {
		return nil
	}
	return t
}
