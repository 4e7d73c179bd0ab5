package topology

import (
	"slices"
	"strings"
)

// A Hop is one step of a message from an exchange on.
type Hop struct {
	Why HopReason
	Binding
}

// A HopReason says why a message takes a hop.
type HopReason string

// Why messages take hops.
const (
	ByBinding   HopReason = "binding"   // the binding of the hop matches
	ByName      HopReason = "default"   // the default exchange knows a queue of that name
	ByAlternate HopReason = "alternate" // nothing else matched, and this is the alternate exchange
	ByChance    HopReason = "chance"    // the exchange gives each message to one of several: it may be this one
)

// A Way is where a message would go, and why.
type Way struct {
	Hops   []Hop
	Queues []string // in the order of the hops that lead there, each once
	Maybe  []string // those of them that it comes to by chance
	More   bool     // there are more hops than were wanted
}

// Explain returns the way that a message would take through the bindings as they are, with hops up to a number. It
// changes nothing, and so may be called by several at the same time, unlike Route; it looks at each binding
// of the exchanges that it meets. The exchange must be there: see Check.
func (t *Topology) Explain(m *Message, most int) Way {
	sure, way := t.explain(m, false, 0), t.explain(m, true, most)
	for _, q := range way.way.Queues {
		if !sure.queues[q] {
			way.way.Maybe = append(way.way.Maybe, q)
		}
	}
	return way.way
}

// An explainer follows one message.
type explainer struct {
	t       *Topology
	m       *Message
	chance  bool // take also what is left to chance
	most    int
	way     Way
	seen    map[string]bool // exchanges
	queues  map[string]bool
	work    []*exchange
	keys    map[string]bool // routing keys
	words   [][]string      // of each of them
	headers headerSet
}

func (t *Topology) explain(m *Message, chance bool, most int) *explainer {
	e := &explainer{t: t, m: m, chance: chance, most: most, seen: map[string]bool{}, queues: map[string]bool{}}
	e.keys = make(map[string]bool, 1+len(m.Also))
	for _, key := range append([][]byte{m.Key}, m.Also...) {
		e.keys[string(key)] = true
		e.words = append(e.words, topicWords(string(key)))
	}
	e.headers.reset(m.Properties)
	e.meet(t.exchanges[string(m.Exchange)])
	for i := 0; i < len(e.work); i++ {
		x := e.work[i]
		if e.from(x) || !x.hasAlternate {
			continue
		}
		if to := t.exchanges[x.alternate]; to != nil {
			e.take(ByAlternate, Binding{Source: x.Name, Destination: to.Name, ToExchange: true})
		}
	}
	return e
}

func (e *explainer) meet(x *exchange) {
	if x != nil && !e.seen[x.Name] {
		e.seen[x.Name] = true
		e.work = append(e.work, x)
	}
}

// take takes one hop.
func (e *explainer) take(why HopReason, b Binding) {
	if len(e.way.Hops) < e.most {
		e.way.Hops = append(e.way.Hops, Hop{why, b})
	} else {
		e.way.More = true
	}
	if b.ToExchange {
		e.meet(e.t.exchanges[b.Destination])
	} else if !e.queues[b.Destination] {
		e.queues[b.Destination] = true
		e.way.Queues = append(e.way.Queues, b.Destination)
	}
}

// from takes the hops from an exchange, and tells whether there was one.
func (e *explainer) from(x *exchange) (matched bool) {
	if x.Name == "" {
		for _, key := range append([][]byte{e.m.Key}, e.m.Also...) {
			if q := e.t.queues[string(key)]; q != nil {
				e.take(ByName, Binding{Destination: q.name, Key: q.name})
				matched = true
			}
		}
		return matched
	}
	if chooses(x.kind) {
		return e.fromPicks(x)
	}
	if x.kind == ConsistentHash {
		scratch := Topology{message: *e.m}
		b := x.winner(hashOf(scratch.hashed(x)))
		if b != nil {
			e.take(ByBinding, b.public())
		}
		return b != nil
	}
	for b := x.out.first; b != nil; b = b.links[inSource].next {
		if e.matches(x, b) {
			e.take(ByBinding, b.public())
			matched = true
		}
	}
	return matched
}

func (e *explainer) matches(x *exchange, b *binding) bool {
	switch x.kind {
	case Fanout:
		return true
	case Headers:
		return b.match.matches(e.headers.table())
	case Topic:
		pattern := topicWords(b.key)
		return slices.ContainsFunc(e.words, func(key []string) bool { return wordsMatch(pattern, key) })
	default:
		return e.keys[b.key]
	}
}

// fromPicks takes the hop that an exchange has chosen for the message, or all that it may choose.
func (e *explainer) fromPicks(x *exchange) bool {
	why, all := ByChance, x.picks
	if x.kind == ModulusHash && len(all) > 0 {
		at := hashOf(e.m.Key) % uint64(len(all))
		why, all = ByBinding, all[at:at+1]
	}
	if len(all) == 1 && x.kind != LocalRandom { // that one chooses among those of a node
		why = ByBinding
	}
	if why == ByChance && !e.chance {
		return len(all) > 0
	}
	for _, p := range all {
		e.take(why, Binding{Source: x.Name, Destination: p.to.name, ToExchange: p.to.exchange != nil})
	}
	return len(all) > 0
}

// KeyMatches tells whether a routing key matches a pattern of a topic exchange: * is one word, # any number of them.
func KeyMatches(pattern, key string) bool { return wordsMatch(topicWords(pattern), topicWords(key)) }

func wordsMatch(p, k []string) bool {
	at, hash, from := 0, -1, 0 // hash: the last # that was met; from: where the key went on after it
	for i := 0; i < len(k); {
		switch {
		case at < len(p) && p[at] == "#":
			hash, from = at, i
			at++
		case at < len(p) && (p[at] == "*" || p[at] == k[i]):
			at, i = at+1, i+1
		case hash >= 0: // the # takes one word more
			from++
			at, i = hash+1, from
		default:
			return false
		}
	}
	for at < len(p) && p[at] == "#" {
		at++
	}
	return at == len(p)
}

func topicWords(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}
