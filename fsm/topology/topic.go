package topology

import (
	"bytes"
	"strings"
)

// A node is a place in the trie of a topic exchange's patterns, one word deeper
// than its parent. Words are what stands between dots; the empty key has none.
//
// A match walks the trie with all places at once that the words so far can lead
// to, each place once. So it costs at most (words) × (places), also for patterns
// full of '#', where following each way on its own would take exponential time.
type node struct {
	parent   *node
	word     string
	only     *node            // the child for a literal word, where there is one
	words    map[string]*node // children for literal words, where there are more: a map is large
	star     *node            // child for '*': exactly one word
	hash     *node            // child for '#': any number of words
	bindings list
	met      uint64 // step of a match that has met it
}

func newNode(parent *node, word string) *node {
	return &node{parent: parent, word: word, bindings: list{kind: inBucket}}
}

// grow returns the node of a pattern, making what is missing.
func (n *node) grow(pattern string) *node {
	if pattern == "" {
		return n
	}
	for word := range strings.SplitSeq(pattern, ".") {
		n = n.child(word)
	}
	return n
}

func (n *node) child(word string) *node {
	switch word {
	case "*":
		if n.star == nil {
			n.star = newNode(n, word)
		}
		return n.star
	case "#":
		if n.hash == nil {
			n.hash = newNode(n, word)
		}
		return n.hash
	}
	c := literal(n, word)
	if c != nil {
		return c
	}
	c = newNode(n, word)
	switch {
	case n.words != nil:
		n.words[word] = c
	case n.only != nil:
		n.words = map[string]*node{n.only.word: n.only, word: c}
		n.only = nil
	default:
		n.only = c
	}
	return c
}

// literal returns the child for a literal word, nil when there is none.
func literal[T string | []byte](n *node, word T) *node {
	if n.only != nil && n.only.word == string(word) {
		return n.only
	}
	return n.words[string(word)]
}

// cut removes the child for a literal word.
func (n *node) cut(word string) {
	n.only = nil // if it is there, it is this one
	if delete(n.words, word); len(n.words) == 0 {
		n.words = nil
	}
}

// prune removes n and its ancestors as far as nothing hangs on them.
func (n *node) prune() {
	for n.parent != nil && n.bindings.n == 0 && n.star == nil && n.hash == nil && n.only == nil && len(n.words) == 0 {
		p := n.parent
		switch n.word {
		case "*":
			p.star = nil
		case "#":
			p.hash = nil
		default:
			p.cut(n.word)
		}
		n = p
	}
}

// matchTopic leaves in t.active the nodes whose patterns match key.
func (t *Topology) matchTopic(root *node, key []byte) {
	t.next = t.next[:0]
	t.round++
	t.reach(root)
	t.active, t.next = t.next, t.active
	if len(key) == 0 {
		return
	}
	for more := true; more && len(t.active) > 0; {
		var word []byte
		word, key, more = bytes.Cut(key, dot)
		t.step(word)
	}
}

var dot = []byte{'.'}

// step moves all active places on by one word.
func (t *Topology) step(word []byte) {
	t.next = t.next[:0]
	t.round++
	for _, n := range t.active {
		if n.parent != nil && n.parent.hash == n {
			t.reach(n)
		}
		if c := literal(n, word); c != nil {
			t.reach(c)
		}
		if n.star != nil {
			t.reach(n.star)
		}
	}
	t.active, t.next = t.next, t.active
}

// reach adds n, and what '#' reaches from there without a word.
func (t *Topology) reach(n *node) {
	for ; n != nil && n.met != t.round; n = n.hash {
		n.met = t.round
		t.next = append(t.next, n)
	}
}
