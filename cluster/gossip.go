package cluster

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"warren/cluster/mux"
)

// gossipLabel goes before every packet and stream of gossip, so that another
// program's are told apart at once.
const gossipLabel = "warren/1"

// gossip finds nodes and spreads what they say of themselves. Each process is a
// member of its own, named "id#boot": so a node that returns elsewhere need not
// wait until its former self is declared dead.
type gossip struct {
	c       *Cluster
	list    *memberlist.Memberlist
	streams chan net.Conn
	packets chan *memberlist.Packet
	udp     net.PacketConn
	stop    chan struct{}
	wg      sync.WaitGroup

	mu    sync.Mutex
	meta  []byte
	names map[string]resolved
	alive map[string]map[uint64]bool // node id → boots that are alive
}

func startGossip(c *Cluster, udp net.PacketConn) (*gossip, error) {
	g := &gossip{
		c: c, udp: udp,
		streams: make(chan net.Conn),
		packets: make(chan *memberlist.Packet, 64),
		stop:    make(chan struct{}),
		alive:   make(map[string]map[uint64]bool),
		names:   make(map[string]resolved),
	}
	var err error
	if g.meta, err = encodeMeta(c.selfEntry()); err != nil {
		return nil, errors.Join(err, udp.Close())
	}
	g.wg.Add(1)
	go g.readPackets()

	conf := memberlist.DefaultLANConfig()
	conf.Name = gossipName(c.cfg.ID, c.boot)
	conf.Label = gossipLabel
	conf.Transport = g
	conf.Delegate, conf.Events = g, g
	conf.Logger = newGossipLog(c.log)
	conf.EnableCompression = false
	conf.TCPTimeout = c.cfg.Timing.Dial
	conf.GossipInterval = 100 * time.Millisecond
	conf.ProbeInterval = 500 * time.Millisecond
	conf.ProbeTimeout = 300 * time.Millisecond
	conf.PushPullInterval = 10 * time.Second
	conf.GossipToTheDeadTime = 10 * time.Second
	conf.DeadNodeReclaimTime = time.Millisecond
	if conf.Keyring, err = gossipKeys(c.cfg.Secrets); err != nil {
		return nil, errors.Join(err, g.Shutdown())
	}
	if g.list, err = memberlist.Create(conf); err != nil {
		close(g.stop)
		_ = udp.Close() // the first error says more
		g.wg.Wait()
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	return g, nil
}

// gossipKeys are made of the secrets; nil of none. memberlist encrypts with the
// first, decrypts with all, and drops what it cannot decrypt.
func gossipKeys(secrets []string) (*memberlist.Keyring, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	var keys [][]byte
	for _, s := range secrets {
		h := hmac.New(sha256.New, []byte(s))
		h.Write([]byte("warren cluster: gossip"))
		keys = append(keys, h.Sum(nil))
	}
	return memberlist.NewKeyring(keys, keys[0])
}

func gossipName(id string, boot uint64) string { return id + "#" + strconv.FormatUint(boot, 10) }

func splitGossipName(name string) (id string, boot uint64, ok bool) {
	at := strings.LastIndexByte(name, '#')
	if at < 0 {
		return "", 0, false
	}
	boot, err := strconv.ParseUint(name[at+1:], 10, 64)
	return name[:at], boot, err == nil
}

// join contacts addresses that it does not know yet as those of living nodes. A name is looked up anew each
// time, and every address that it has is contacted: it may stand for all nodes, as that of a headless service does.
func (g *gossip) join(ctx context.Context, addrs []string) (contacted int, err error) {
	var errs []error
	tried := make(map[string]bool)
	for _, a := range addrs {
		all, err := g.c.cfg.Network.Resolve(ctx, a)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a, err))
		}
		for _, to := range all {
			if to := to.String(); !tried[to] {
				tried[to] = true
				if _, err := g.list.Join([]string{to}); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", a, err))
					continue
				}
				contacted++
			}
		}
	}
	return contacted, errors.Join(errs...)
}

// refresh spreads what this node says of itself after it changed.
func (g *gossip) refresh() {
	meta, err := encodeMeta(g.c.selfEntry())
	if err != nil {
		g.c.log.Error("gossip: cannot spread this node's state", "error", err)
		return
	}
	g.mu.Lock()
	g.meta = meta
	g.mu.Unlock()
	// The update is on its way when this returns, also with an error: it only says
	// that it was not waited for.
	if err := g.list.UpdateNode(time.Nanosecond); err != nil {
		g.c.log.Debug("gossip: update", "error", err)
	}
}

// aliveNodes returns the ids of all nodes that gossip has alive, itself included.
func (g *gossip) aliveNodes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.alive))
}

func (g *gossip) isAlive(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.alive[id]) > 0
}

// leave tells the others that this node goes.
func (g *gossip) leave() {
	if err := g.list.Leave(500 * time.Millisecond); err != nil {
		g.c.log.Debug("gossip: leave", "error", err)
	}
}

// close ends all of gossip.
func (g *gossip) close() {
	if err := g.list.Shutdown(); err != nil {
		g.c.log.Debug("gossip: shut down", "error", err)
	}
}

// memberlist.Delegate.

// NodeMeta implements memberlist.Delegate.
func (g *gossip) NodeMeta(int) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meta
}

// NotifyMsg implements memberlist.Delegate; there are no such messages.
func (g *gossip) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate; there are none.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate; all state is in the metadata.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (g *gossip) MergeRemoteState([]byte, bool) {}

// NotifyJoin implements memberlist.EventDelegate.
func (g *gossip) NotifyJoin(n *memberlist.Node) { g.note(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (g *gossip) NotifyUpdate(n *memberlist.Node) { g.note(n) }

func (g *gossip) note(n *memberlist.Node) {
	id, boot, ok := splitGossipName(n.Name)
	if !ok {
		g.c.log.Warn("gossip: a stranger takes part", "name", n.Name, "addr", n.Address())
		return
	}
	e, err := decodeMeta(n.Meta)
	if err != nil {
		g.c.log.Warn("gossip: node says what cannot be read", "node", id, "error", err)
		return
	}
	e.Boot = boot
	g.mu.Lock()
	if g.alive[id] == nil {
		g.alive[id] = make(map[uint64]bool)
	}
	g.alive[id][boot] = true
	g.mu.Unlock()
	g.c.book.learn(id, e)
	g.c.wake()
}

// NotifyLeave implements memberlist.EventDelegate.
func (g *gossip) NotifyLeave(n *memberlist.Node) {
	id, boot, ok := splitGossipName(n.Name)
	if !ok {
		return
	}
	g.mu.Lock()
	delete(g.alive[id], boot)
	if len(g.alive[id]) == 0 {
		delete(g.alive, id)
	}
	g.mu.Unlock()
	g.c.wake()
}

// memberlist.NodeAwareTransport.

// FinalAdvertiseAddr implements memberlist.Transport. The address is the last
// resort only: whoever knows the node's name dials what the address book says.
func (g *gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, port, err := net.SplitHostPort(g.c.advertise)
	if err != nil {
		return nil, 0, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, 0, err
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip, n, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.c.cfg.Timing.Dial)
	defer cancel()
	if a, err := g.c.cfg.Network.Resolve(ctx, g.c.advertise); err == nil {
		if h, _, err := net.SplitHostPort(a[0].String()); err == nil && net.ParseIP(h) != nil {
			return net.ParseIP(h), n, nil
		}
	}
	return privateIP(), n, nil
}

// target is where to reach a node of gossip: by the address book when it knows
// the node, so that host names and new addresses count.
func (g *gossip) target(a memberlist.Address) string {
	if id, boot, ok := splitGossipName(a.Name); ok {
		if e, known := g.c.book.get(id); known && e.Boot == boot {
			return e.Addr
		}
	}
	return a.Addr
}

// WriteTo implements memberlist.Transport.
func (g *gossip) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (g *gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := g.resolve(g.target(a))
	if err != nil {
		return time.Time{}, err
	}
	_, err = g.udp.WriteTo(b, to)
	return time.Now(), err
}

// resolved is what a name led to, or why to nothing.
type resolved struct {
	addr  net.Addr
	err   error
	until time.Time
}

// How long names are remembered: packets go many times a second, and a name
// server that is slow to say no must not hold up those to other nodes.
const (
	resolvedTime   = 5 * time.Second
	unresolvedTime = time.Second
)

// resolve looks up where packets to an address go.
func (g *gossip) resolve(addr string) (net.Addr, error) {
	now := time.Now()
	g.mu.Lock()
	r, ok := g.names[addr]
	g.mu.Unlock()
	if ok && now.Before(r.until) {
		return r.addr, r.err
	}
	ctx, cancel := context.WithTimeout(g.c.ctx, g.c.cfg.Timing.Dial)
	defer cancel()
	all, err := g.c.cfg.Network.Resolve(ctx, addr)
	r = resolved{err: err, until: time.Now().Add(unresolvedTime)}
	if err == nil {
		r.addr, r.until = all[0], time.Now().Add(resolvedTime)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for a, old := range g.names {
		if now.After(old.until) {
			delete(g.names, a)
		}
	}
	g.names[addr] = r
	return r.addr, r.err
}

// DialTimeout implements memberlist.Transport.
func (g *gossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (g *gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	addr := g.target(a)
	conn, w, err := g.c.dial(mux.Gossip, "", addr, timeout)
	var refused *mux.RefusedError
	if errors.As(err, &refused) && w.Cluster != "" && w.Cluster != g.c.clusterID() {
		g.c.log.Warn("a node of another cluster is at an address to join", "addr", addr, "their_node", w.Node, "their_cluster", w.Cluster)
	}
	return conn, err
}

// PacketCh implements memberlist.Transport.
func (g *gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh implements memberlist.Transport.
func (g *gossip) StreamCh() <-chan net.Conn { return g.streams }

// Shutdown implements memberlist.Transport.
func (g *gossip) Shutdown() error {
	close(g.stop)
	err := g.udp.Close()
	g.wg.Wait()
	return err
}

// accept is the mux's handler for gossip streams.
func (g *gossip) accept(conn net.Conn, _ mux.Hello) {
	select {
	case g.streams <- conn:
	case <-g.stop:
		_ = conn.Close() // gossip is over
	}
}

// maxPacket is more than memberlist ever sends in one.
const maxPacket = 65536

func (g *gossip) readPackets() {
	defer g.wg.Done()
	buf := make([]byte, maxPacket)
	for {
		n, from, err := g.udp.ReadFrom(buf)
		now := time.Now()
		if err != nil {
			select {
			case <-g.stop:
				return
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			g.c.log.Debug("gossip: read packet", "error", err)
			time.Sleep(time.Millisecond)
			continue
		}
		if n < 1 {
			continue
		}
		p := &memberlist.Packet{Buf: slices.Clone(buf[:n]), From: from, Timestamp: now}
		select {
		case g.packets <- p:
		case <-g.stop:
			return
		}
	}
}

// Metadata: version (1), flags (1: bit 0 is set by a node that is reluctant to lead), expected nodes (2), then strings with
// their length in two bytes: cluster id, address, name, and tags as key, value …
const (
	metaVersion   = 1
	metaReluctant = 1 << 0
)

func encodeMeta(e entry) ([]byte, error) {
	b := []byte{metaVersion, 0}
	if e.Reluctant {
		b[1] |= metaReluctant
	}
	b = binary.BigEndian.AppendUint16(b, uint16(min(e.Expect, 65535)))
	put := func(s string) {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	put(e.Cluster)
	put(e.Addr)
	put(e.Name)
	for _, k := range slices.Sorted(maps.Keys(e.Tags)) {
		put(k)
		put(e.Tags[k])
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("name, address and tags are too long to spread: %d bytes, %d allowed", len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

var errMeta = errors.New("mangled metadata")

func decodeMeta(b []byte) (entry, error) {
	if len(b) < 4 || b[0] != metaVersion {
		return entry{}, errMeta
	}
	e := entry{Expect: int(binary.BigEndian.Uint16(b[2:])), Reluctant: b[1]&metaReluctant != 0}
	b = b[4:]
	var fields []string
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return entry{}, errMeta
		}
		n := int(binary.BigEndian.Uint16(b))
		fields = append(fields, string(b[2:2+n]))
		b = b[2+n:]
	}
	if len(fields) < 3 || len(fields)%2 == 0 {
		return entry{}, errMeta
	}
	e.Cluster, e.Addr, e.Name = fields[0], fields[1], fields[2]
	e.Tags = make(map[string]string)
	for i := 3; i < len(fields); i += 2 {
		e.Tags[fields[i]] = fields[i+1]
	}
	return e, nil
}

// privateIP is this machine's first private address, the loopback when it has none.
func privateIP() net.IP {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsPrivate() && n.IP.To4() != nil {
				return n.IP
			}
		}
	}
	return net.IPv4(127, 0, 0, 1)
}
