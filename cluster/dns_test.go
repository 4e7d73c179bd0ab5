package cluster_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// names is a name server on this machine, whose answers tests change.
type names struct {
	resolver *net.Resolver

	mu sync.Mutex
	a  map[string][]string // name with the final dot → addresses
}

func serveNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{a: make(map[string][]string)}
	n.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(n.answer)}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = server.Shutdown() // what matters is that it ends
		<-served
	})
	return n
}

func (n *names) set(name string, ips ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.a[name+"."] = ips
}

func (n *names) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	n.mu.Lock()
	ips, known := n.a[q.Question[0].Name]
	n.mu.Unlock()
	if !known || len(ips) == 0 {
		m.Rcode = dns.RcodeNameError
	}
	for _, ip := range ips {
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(ip),
			})
		}
	}
	_ = w.WriteMsg(m) // who asked asks again
}

// TestStatefulSet goes the way of pods that are all started at once behind a headless service: its name is not known at first,
// then stands for some of them, then for all. One cluster is founded. A pod comes back with another address, then all of them
// at once: they find each other by names alone.
func TestStatefulSet(t *testing.T) {
	dns := serveNames(t)
	_, port, err := net.SplitHostPort(ct.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	const service = "warren-nodes.test"
	pod := func(i int) string { return fmt.Sprintf("warren-%d.%s", i, service) }
	ip := func(i, life int) string { return fmt.Sprintf("127.0.%d.%d", life, 10+i) }
	config := func(c *cluster.Config, i, life int) {
		c.BindAddr = net.JoinHostPort(ip(i, life), port)
		c.AdvertiseAddr = net.JoinHostPort(pod(i), port)
		c.Join = []string{net.JoinHostPort(service, port)}
		c.Expect = 3
		c.Network = cluster.SystemNetwork(dns.resolver)
	}
	var nodes []*ct.Node
	for i := range 3 {
		c := cluster.Config{ID: fmt.Sprintf("id%d", i), Name: fmt.Sprintf("warren-%d", i)}
		config(&c, i, 1)
		nodes = append(nodes, ct.Open(t, c))
	}
	var ready []string
	for i := range 3 {
		if l := nodes[0].Leader(); l.Known {
			t.Fatal("a cluster was founded without all nodes")
		}
		ready = append(ready, ip(i, 1))
		dns.set(pod(i), ip(i, 1))
		dns.set(service, ready...)
	}
	leader := ct.WaitLeader(t, nodes...)
	ct.Put(t, nodes[0], ct.Batch(1, 10))
	for _, n := range nodes {
		if n.ID() != leader.ID() {
			t.Fatalf("%s is in cluster %s, %s in %s", n.Config.ID, n.ID(), leader.Config.ID, leader.ID())
		}
	}

	// One is moved, the leader's first.
	at := 0
	for nodes[at] != leader {
		at++
	}
	nodes[at].Kill()
	dns.set(pod(at), ip(at, 2))
	nodes[at] = nodes[at].Restart(func(c *cluster.Config) { config(c, at, 2) })
	ct.WaitLeader(t, nodes...)
	ct.Put(t, nodes[at], ct.Batch(2, 10))
	ct.Eventually(t, "the entry", hasAll(nodes[at], 1, 3))

	// All are, while none of them runs.
	for _, n := range nodes {
		n.Kill()
	}
	ready = nil
	for i := range nodes {
		dns.set(pod(i), ip(i, 3))
		ready = append(ready, ip(i, 3))
	}
	dns.set(service, ready...)
	for i, n := range nodes {
		nodes[i] = n.Restart(func(c *cluster.Config) { config(c, i, 3) })
	}
	ct.WaitLeader(t, nodes...)
	ct.Put(t, nodes[0], ct.Batch(3, 10))
	for _, n := range nodes {
		ct.Eventually(t, "all entries", hasAll(n, 1, 4))
	}
}

// Nodes without names of their own come back with other addresses, all at once: the name to join is enough.
func TestAllMoveBehindOneName(t *testing.T) {
	dns := serveNames(t)
	_, port, err := net.SplitHostPort(ct.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	const service = "cluster.test"
	address := func(i, life int) string { return fmt.Sprintf("127.1.%d.%d", life, 10+i) }
	config := func(c *cluster.Config, i, life int) {
		c.BindAddr = net.JoinHostPort(address(i, life), port)
		c.Join = []string{net.JoinHostPort(service, port)}
		c.Expect = 3
		c.Network = cluster.SystemNetwork(dns.resolver)
	}
	dns.set(service, address(0, 1), address(1, 1), address(2, 1))
	var nodes []*ct.Node
	for i := range 3 {
		c := cluster.Config{ID: fmt.Sprintf("id%d", i)}
		config(&c, i, 1)
		nodes = append(nodes, ct.Open(t, c))
	}
	ct.WaitLeader(t, nodes...)
	ct.Put(t, nodes[0], ct.Batch(1, 10))
	for _, n := range nodes {
		n.Kill()
	}
	dns.set(service, address(0, 2), address(1, 2), address(2, 2))
	for i, n := range nodes {
		nodes[i] = n.Restart(func(c *cluster.Config) { config(c, i, 2) })
	}
	ct.WaitLeader(t, nodes...)
	ct.Put(t, nodes[2], ct.Batch(2, 10))
	ct.Eventually(t, "both entries", hasAll(nodes[1], 1, 3))
}
