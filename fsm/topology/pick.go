package topology

import (
	"hash/crc64"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// The exchange types that give a message to one of their destinations.
const (
	ConsistentHash = "x-consistent-hash"
	ModulusHash    = "x-modulus-hash"
	Random         = "x-random"
	LocalRandom    = "x-local-random"
)

// Arguments of a consistent hash exchange: what is hashed instead of the routing key
// (https://www.rabbitmq.com/docs/exchanges#consistent-hashing).
const (
	argHashHeader   = "hash-header"
	argHashProperty = "hash-property"
)

// maxWeight is the highest weight of a binding of a consistent hash exchange.
const maxWeight = 1<<31 - 1

// A pick is one destination of an exchange that chooses, and how many bindings lead to it.
type pick struct {
	to       *destination
	bindings int
}

// picks holds each destination once, sorted, so that the choice does not depend on the
// order in which bindings were made.
type picks []pick

func (p picks) find(to *destination) (int, bool) {
	return slices.BinarySearchFunc(p, to, func(have pick, to *destination) int {
		if c := strings.Compare(have.to.name, to.name); c != 0 {
			return c
		}
		return have.to.rank() - to.rank()
	})
}

// rank puts queues before exchanges of the same name.
func (d *destination) rank() int {
	if d.exchange != nil {
		return 1
	}
	return 0
}

func (p *picks) add(to *destination) {
	at, found := p.find(to)
	if !found {
		*p = slices.Insert(*p, at, pick{to: to})
	}
	(*p)[at].bindings++
}

func (p *picks) drop(to *destination) {
	at, _ := p.find(to)
	if (*p)[at].bindings--; (*p)[at].bindings == 0 {
		*p = slices.Delete(*p, at, at+1)
	}
}

// Chooses tells whether exchanges of a type give a message to one destination.
func Chooses(kind string) bool { return kind == ConsistentHash || chooses(kind) }

// chooses tells whether an exchange of a type keeps picks.
func chooses(kind string) bool {
	return kind == ModulusHash || kind == Random || kind == LocalRandom
}

// routePick gives the message to one destination of an exchange that keeps picks.
func (t *Topology) routePick(dst []string, x *exchange, started uint64) ([]string, bool) {
	all := x.picks
	if x.kind == LocalRandom {
		all = t.localOnes(all)
	}
	if len(all) == 0 {
		return dst, false
	}
	n := uint64(len(all))
	at := uint64(0)
	switch {
	case n == 1:
	case x.kind == ModulusHash:
		at = hashOf(t.message.Key) % n
	default:
		at, _ = bits.Mul64(t.random(), n)
	}
	return t.give(dst, all[at].to, started), true
}

// localOnes returns the picks that are on the publisher's node: those that every
// node has, and the exclusive queues of that node.
func (t *Topology) localOnes(all picks) picks {
	t.local = t.local[:0]
	for _, p := range all {
		if p.to.exchange == nil && (p.to.epoch == 0 || p.to.epoch == t.message.Epoch) {
			t.local = append(t.local, p)
		}
	}
	return t.local
}

// random returns the next random number of the present Route. All come from the
// message's seed, so they are the same on every node.
func (t *Topology) random() uint64 {
	t.message.Seed++
	return mix(t.message.Seed)
}

// mix spreads the bits of a number: the finalizer of splitmix64.
func mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// hashOf returns the hash of some bytes. It decides where messages go, so it never changes.
func hashOf(b []byte) uint64 { return mix(crc64.Checksum(b, crcTable)) }

// A share is what a binding of a consistent hash exchange has: a place of its own and a weight.
type share struct {
	place  uint64
	weight uint64
}

// newShare reads the weight, which is the key of the binding.
func newShare(id *identity) (share, *command.Error) {
	n, err := strconv.ParseInt(id.key, 10, 64)
	switch {
	case err != nil:
		return share{}, refuse(preconditionFailed, "The binding key must be an integer: %s", binaryText(id.key))
	case n < 1:
		return share{}, refuse(preconditionFailed, "The binding key must be greater than 0")
	case n > maxWeight:
		return share{}, refuse(preconditionFailed, "The binding key must not be greater than %d", maxWeight)
	}
	name := "q" + id.destination
	if id.toExchange {
		name = "e" + id.destination
	}
	return share{place: hashOf([]byte(name)), weight: uint64(n)}, nil
}

// binaryText writes a string as Erlang writes a binary.
func binaryText(s string) string {
	if s == "" {
		return "<<>>"
	}
	return `<<"` + s + `">>`
}

// routeHash gives the message to the binding that wins for its hash: each draws a lot from
// message and destination, and the best one in proportion to its weight wins (weighted
// rendezvous hashing). So the shares are even, a new binding takes its share from all
// others alike, and nothing else moves. It costs some nanoseconds a binding.
func (t *Topology) routeHash(dst []string, x *exchange, started uint64) ([]string, bool) {
	best := x.winner(hashOf(t.hashed(x)))
	if best == nil {
		return dst, false
	}
	return t.give(dst, best.to, started), true
}

// winner returns the binding that wins for the hash of a message; nil when there is none.
func (x *exchange) winner(message uint64) *binding {
	var best draw
	for b := x.out.first; b != nil; b = b.links[inSource].next {
		d := draw{binding: b, lot: mix(b.share.place ^ message)}
		if best.binding == nil || d.beats(&best) {
			best = d
		}
	}
	return best.binding
}

// A draw is the lot of a binding for one message.
type draw struct {
	binding *binding
	lot     uint64
	log     uint64 // negativeLog2 of lot, once it was asked for; else 0
}

// beats tells whether d wins against other; of equal ones neither does. Lots are
// uniform, so -log(lot)/weight is an exponential variable whose rate is the weight, and
// the lowest wins.
func (d *draw) beats(other *draw) bool {
	v, w := d.binding.share.weight, other.binding.share.weight
	if v == w {
		return d.lot > other.lot
	}
	return d.negativeLog()*w < other.negativeLog()*v // below 2^33 × 2^31
}

func (d *draw) negativeLog() uint64 {
	if d.log == 0 {
		d.log = negativeLog2(d.lot)
	}
	return d.log
}

// negativeLog2 returns -log2(v / 2^64) with 26 binary places, never 0. Integers give the
// same on every machine; floating point need not.
func negativeLog2(v uint64) uint64 {
	const places = 26
	v |= 1
	zeros := bits.LeadingZeros64(v)
	v <<= zeros
	log := uint64(63 - zeros)
	for range places {
		high, _ := bits.Mul64(v, v)
		log <<= 1
		if high>>63 == 1 {
			log |= 1
		} else {
			high <<= 1
		}
		v = high
	}
	return 64<<places - log
}

// hashed returns the bytes that a consistent hash exchange looks at: the routing key, a
// property or a header. What is not there counts as empty.
func (t *Topology) hashed(x *exchange) []byte {
	m := &t.message
	switch {
	case x.hashHeader != "":
		v, _ := wire.Header(m.Properties, x.hashHeader)
		return t.valueBytes(v)
	case x.hashProperty == "timestamp":
		if at, ok := wire.TimestampOf(m.Properties); ok {
			return strconv.AppendUint(t.scratch[:0], uint64(at), 10)
		}
		return nil
	case x.hashProperty != "":
		flag := wire.FlagCorrelationID
		if x.hashProperty == "message_id" {
			flag = wire.FlagMessageID
		}
		v, _ := wire.ShortProperty(m.Properties, flag)
		return v
	}
	return m.Key
}

func (t *Topology) valueBytes(v any) []byte {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return append(t.scratch[:0], v...)
	case []byte:
		return v
	}
	if n, ok := wire.Int(v); ok {
		return strconv.AppendInt(t.scratch[:0], n, 10)
	}
	return wire.AppendTable(t.scratch[:0], wire.Table{{Value: v}})
}

// checkHashArguments refuses arguments that a consistent hash exchange cannot use.
func checkHashArguments(args wire.Table) *command.Error {
	header, hasHeader := args.Get(argHashHeader)
	property, hasProperty := args.Get(argHashProperty)
	if hasHeader && hasProperty {
		return refuse(preconditionFailed, "%s and %s are mutually exclusive", argHashHeader, argHashProperty)
	}
	if hasHeader {
		if _, ok := header.(string); !ok {
			return refuse(preconditionFailed, "Unsupported header: %s", valueText(header))
		}
	}
	if hasProperty {
		switch property {
		case "correlation_id", "message_id", "timestamp":
		default:
			return refuse(preconditionFailed, "Unsupported property: %s", valueText(property))
		}
	}
	return nil
}
