package fsm

import (
	"crypto/sha256"
	"fmt"
	"strconv"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// Deduplication has the names of the known plugin for RabbitMQ
// (https://github.com/noxdafox/rabbitmq-message-deduplication): a message whose header
// x-deduplication-header has a value that an exchange, or a queue, knows already is dropped, and
// confirmed as if it had been stored: it was.
const (
	headerDedup      = "x-deduplication-header"
	argDedup         = "x-message-deduplication"
	argCacheSize     = "x-cache-size"
	argCacheTTL      = "x-cache-ttl" // a header, too
	argCachePersists = "x-cache-persistence"
)

// cacheSize bounds the values that a queue remembers whose arguments give a time and no number.
const cacheSize = 1 << 16

// digestOf returns what stands for the value of the deduplication header. Integers are equal
// whatever their width. Half of a SHA-256 is kept and not the value, which may be large: no two
// values with one digest can be found in less than 2^64 tries.
func digestOf(properties []byte) (d queue.Digest, ok bool) {
	if wire.Present(properties)&wire.FlagHeaders == 0 {
		return d, false
	}
	v, ok := wire.Header(properties, headerDedup)
	if !ok {
		return d, false
	}
	if n, isInt := wire.Int(v); isInt {
		v = n
	}
	sum := sha256.Sum256(wire.AppendTable(nil, wire.Table{{Value: v}}))
	copy(d[:], sum[:])
	return d, true
}

// cacheTTL returns how long a message wants its value to be remembered, 0 when it does not say.
func cacheTTL(properties []byte) int64 {
	v, _ := wire.Header(properties, argCacheTTL)
	n, _ := wire.Int(v)
	return min(max(n, 0), maxMilliseconds)
}

// cacheNumber reads an integer argument, which may stand in a string. 0: it is not there, or
// (when it is not ok) means nothing, as it may in queues and exchanges of old versions.
func cacheNumber(args wire.Table, name string) (n int64, ok bool) {
	v, there := args.Get(name)
	if !there {
		return 0, true
	}
	n, ok = wire.Int(v)
	if s, isText := v.(string); isText {
		var err error
		n, err = strconv.ParseInt(s, 10, 64)
		ok = err == nil
	}
	if !ok || n <= 0 {
		return 0, false
	}
	return n, true
}

// checkCache refuses what an exchange or queue cannot remember by.
func checkCache(args wire.Table, sized bool) *command.Error {
	if n, ok := cacheNumber(args, argCacheSize); !ok || sized && n == 0 {
		return refuse(preconditionFailed, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0")
	}
	if _, ok := cacheNumber(args, argCacheTTL); !ok {
		return refuse(preconditionFailed, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0")
	}
	if v, ok := args.Get(argCachePersists); ok && v != "disk" && v != "memory" {
		return refuse(preconditionFailed, "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'")
	}
	return nil
}

// wantsDedup reports whether the argument x-message-deduplication is set.
func wantsDedup(args wire.Table) bool {
	v, _ := args.Get(argDedup)
	return v == true || v == "true"
}

// newCache makes a cache as arguments want it.
func (s *state) newCache(args wire.Table, otherwise int) *queue.Dedup {
	most, _ := cacheNumber(args, argCacheSize)
	ttl, _ := cacheNumber(args, argCacheTTL)
	if most == 0 {
		most = int64(otherwise)
	}
	return s.store.NewDedup(int(min(most, 1<<40)), min(ttl, maxMilliseconds))
}

// deduplicates reports whether an exchange drops what it has seen.
func deduplicates(x *topology.Exchange) bool {
	return x.Type == topology.Deduplication || wantsDedup(x.Args)
}

// dedupExchange gives a new exchange its cache, if it is to have one. Caches of exchanges that
// went with their last binding go here.
func (s *state) dedupExchange(v *vhost, name string) {
	x, _ := v.topology.Exchange(name)
	if !deduplicates(&x) {
		return
	}
	for _, name := range sortedKeys(v.caches) {
		if v.cache(name) == nil {
			delete(v.caches, name)
		}
	}
	v.caches[name] = s.newCache(x.Args, cacheSize)
}

// cache returns what an exchange remembers, nil when it does not.
func (v *vhost) cache(exchange string) *queue.Dedup {
	c := v.caches[exchange]
	if c == nil {
		return nil
	}
	if x, ok := v.topology.Exchange(exchange); !ok || !deduplicates(&x) {
		return nil
	}
	return c
}

// seenBy returns what the exchange of a publish remembers, nil when it does not.
func (v *vhost) seenBy(exchange []byte) *queue.Dedup {
	if len(v.caches) == 0 {
		return nil
	}
	return v.cache(string(exchange))
}

// dedupQueue makes a queue drop duplicates if its arguments want it. With a size or a time it
// remembers what it has had, else what it has.
func (s *state) dedupQueue(q *queue.Queue) {
	if q.Dedup() != nil || !wantsDedup(q.Spec.Args) {
		return
	}
	size, _ := cacheNumber(q.Spec.Args, argCacheSize)
	ttl, _ := cacheNumber(q.Spec.Args, argCacheTTL)
	if size > 0 || ttl > 0 {
		q.Deduplicate(s.newCache(q.Spec.Args, cacheSize), true)
	} else {
		q.Deduplicate(s.store.NewDedup(0, 0), false)
	}
}

// A mark is what deduplication looks at in one message.
type mark struct {
	digest queue.Digest
	ttl    int64
	found  bool // the message has the header
	looked bool
}

func (k *mark) look(properties []byte) bool {
	if !k.looked {
		k.looked = true
		if k.digest, k.found = digestOf(properties); k.found {
			k.ttl = cacheTTL(properties)
		}
	}
	return k.found
}

// CacheInfo is what there is to know of what an exchange remembers.
type CacheInfo struct{ Entries, Size int }

// Cache returns what an exchange remembers; false when it does not.
func (m *Machine) Cache(vhost, exchange string) (CacheInfo, bool) {
	v := m.vhosts[vhost]
	if v == nil || v.cache(exchange) == nil {
		return CacheInfo{}, false
	}
	c := v.cache(exchange)
	return CacheInfo{Entries: c.Len(), Size: c.Most()}, true
}

// A kept is the cache of an exchange or a queue, as it was captured.
type kept struct {
	vhost, name string
	ofQueue     bool
	values      queue.Remembered
}

// captureCaches returns the caches that hold something, by vhost and name.
func (m *Machine) captureCaches() (all []kept) {
	for _, name := range sortedKeys(m.vhosts) {
		v := m.vhosts[name]
		for _, x := range sortedKeys(v.caches) {
			if c := v.cache(x); c != nil {
				all = append(all, kept{v.name, x, false, c.Capture()})
			}
		}
	}
	m.eachQueue(func(v *vhost, q *queue.Queue) {
		if c := q.Dedup(); c != nil {
			all = append(all, kept{v.name, q.Spec.Name, true, c.Capture()})
		}
	})
	return all
}

// lateCaches writes the caches, each in a piece.
func lateCaches(s *Snapshot, piece func([]byte)) {
	for i := range s.caches {
		writePiece(piece, s.caches[i].write)
	}
}

func (k *kept) write(w *stream.Writer) {
	w.String(k.vhost)
	w.String(k.name)
	w.Byte(flag(k.ofQueue))
	k.values.Write(w)
}

// readCaches reads the caches that stand in a section.
func (l *loader) readCaches(r *stream.Reader) {
	for r.More() {
		vhost, name := r.String(), r.String()
		ofQueue := r.Flags(1) == 1
		v := l.vhosts[vhost]
		switch {
		case r.Err() != nil:
			return
		case v == nil:
			r.Fail("a cache is of vhost %q, which is not there", vhost)
			return
		}
		c := l.emptyCache(v, name, ofQueue)
		if c == nil {
			r.Fail("a cache of %q belongs to nothing, or comes twice", name)
			return
		}
		c.Read(r)
	}
}

// emptyCache makes the cache of an exchange or queue that has none yet.
func (l *loader) emptyCache(v *vhost, name string, ofQueue bool) *queue.Dedup {
	if ofQueue {
		q := v.queues[name]
		if q == nil || q.Dedup() != nil {
			return nil
		}
		l.dedupQueue(q)
		return q.Dedup()
	}
	if v.caches[name] != nil {
		return nil
	}
	l.dedupExchange(v, name)
	return v.caches[name]
}

// checkCaches checks what is remembered.
func (m *Machine) checkCaches() error {
	for _, name := range sortedKeys(m.vhosts) {
		v := m.vhosts[name]
		for _, x := range v.topology.Exchanges() {
			c := v.cache(x.Name)
			if (c != nil) != deduplicates(&x) {
				return fmt.Errorf("exchange %q should remember: %v", x.Name, c == nil)
			}
			if c != nil && c.Check() != nil {
				return fmt.Errorf("exchange %q: %w", x.Name, c.Check())
			}
		}
	}
	return nil
}
