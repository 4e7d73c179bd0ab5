package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// leastSecret is cluster.MinSecret, in bytes; leastKinds how many different ones make it hard to guess.
	leastSecret = 16
	leastKinds  = 8
	// skewWarn and skewFail are differences of clocks. HTTP tells whole seconds.
	skewWarn = 2 * time.Second
	skewFail = 30 * time.Second
	// expirySoon is when the end of a certificate is near.
	expirySoon = 30 * 24 * time.Hour
	// lookTime bounds each look-up and connection.
	lookTime = 3 * time.Second
)

// exampleSecrets are those of deploy/docker-compose.yml and deploy/kubernetes/warren.yaml.
var exampleSecrets = []string{"only-for-trying-things-out", "replace-me-with-openssl-rand-hex-32"}

// ports looks whether the addresses to listen on are free, or used by the node that runs.
func (d *doctor) ports() {
	const check = "ports"
	taken := 0
	for _, l := range []struct{ flag, network, addr string }{
		{"amqp-addr", "tcp", d.v.AMQPAddr}, {"http-addr", "tcp", d.v.HTTPAddr}, {"metrics-addr", "tcp", d.v.MetricsAddr},
		{"cluster-addr", "tcp", d.v.ClusterAddr}, {"cluster-addr", "udp", d.v.ClusterAddr},
		{"amqps-addr", "tcp", d.v.AMQPSAddr}, {"https-addr", "tcp", d.v.HTTPSAddr},
	} {
		if l.addr == "" || d.running {
			continue
		}
		err := d.sys.Listen(l.network, l.addr)
		what := fmt.Sprintf("--%s %s (%s)", l.flag, l.addr, l.network)
		switch {
		case err == nil:
			continue
		case errors.Is(err, syscall.EADDRINUSE):
			d.fail(check, "find out who has it (ss -lntup), or give another address", "%s is taken by another process", what)
		case errors.Is(err, syscall.EACCES):
			d.fail(check, "take a port from 1024 on, or: setcap cap_net_bind_service=+ep $(which warren)", "%s may not be used by this user", what)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			d.fail(check, "leave the host out to listen on all addresses of the machine", "%s is no address of this machine", what)
		default:
			d.fail(check, "give another address", "%s: %v", what, err)
		}
		taken++
	}
	switch {
	case d.running:
		d.ok(check, "the node that runs here has them")
	case taken == 0:
		d.ok(check, "all are free")
	}
}

// names looks whether the names of other nodes, and of this one, lead anywhere.
func (d *doctor) names(ctx context.Context) {
	const check = "names"
	bad := 0
	for _, a := range d.named() {
		host := hostOf(a.addr)
		if net.ParseIP(host) != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		ips, err := d.sys.Lookup(ctx, host)
		cancel()
		if err == nil && len(ips) > 0 {
			continue
		}
		bad++
		d.warn(check, "correct the name, or the DNS; a name that is known later, as in Kubernetes, does no harm", "--%s: %s does not resolve: %v", a.flag, host, err)
	}
	if len(d.v.Join) > 0 && bad == 0 {
		d.ok(check, "all names of nodes resolve")
	}
	advertised := d.v.ClusterAdvertise
	if advertised == "" {
		advertised = d.v.ClusterAddr
	}
	ip := net.ParseIP(hostOf(advertised))
	if ip == nil || !ip.IsLoopback() && !ip.IsUnspecified() {
		return
	}
	for _, a := range d.v.Join {
		other := net.ParseIP(hostOf(a))
		if other != nil && other.IsLoopback() || hostOf(a) == "localhost" {
			continue
		}
		if ip.IsLoopback() || d.v.ClusterAdvertise != "" {
			d.fail(check, "set --cluster-advertise to an address that the other nodes can dial", "the others are told to dial %s, which is their own machine, and %s is elsewhere", advertised, a)
		}
		return
	}
}

type named struct{ flag, addr string }

func (d *doctor) named() []named {
	var all []named
	for _, a := range d.v.Join {
		all = append(all, named{"join", a})
	}
	if d.v.ClusterAdvertise != "" {
		all = append(all, named{"cluster-advertise", d.v.ClusterAdvertise})
	}
	return all
}

// secret looks at the cluster secret, and asks the other nodes whether it is theirs.
func (d *doctor) secret(ctx context.Context) {
	const check = "secret"
	secrets, err := d.sys.Secrets()
	if err != nil {
		d.fail(check, "let the node's user read the file, and nobody else", "%v", err)
		return
	}
	if file := d.v.ClusterSecretFile; file != "" {
		if _, mode, err := d.sys.Owner(file); err == nil && mode.Perm()&0o004 != 0 {
			d.warn(check, "chmod o= "+file, "anybody may read %s", file)
		}
	}
	switch {
	case len(secrets) == 0 && len(d.v.Join) == 0:
		d.ok(check, "none, and no other nodes")
	case len(secrets) == 0:
		d.warn(check, "give all nodes one: openssl rand -hex 32 > FILE, --cluster-secret-file FILE", "there is none: whoever reaches %s takes part in the cluster", d.v.ClusterAddr)
	}
	for i, s := range secrets {
		switch {
		case len(s) < leastSecret:
			d.fail(check, "make a long one: openssl rand -hex 32", "number %d has %d bytes, %d are needed", i+1, len(s), leastSecret)
		case slices.Contains(exampleSecrets, s):
			d.warn(check, "make one of your own: openssl rand -hex 32", "number %d is that of the example, which everybody knows", i+1)
		case kinds(s) < leastKinds:
			d.warn(check, "make one that cannot be guessed: openssl rand -hex 32", "number %d has few different characters", i+1)
		default:
			d.ok(check, "number %d is long enough", i+1)
		}
	}
	d.peers(ctx)
}

func kinds(s string) int {
	seen := make(map[rune]bool)
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}

// others are the addresses to join but for this node's own.
func (d *doctor) others(ctx context.Context) []string {
	own := make(map[string]bool)
	for _, ip := range d.sys.OwnIPs() {
		own[ip] = true
	}
	var some []string
	for _, a := range d.v.Join {
		mine := a == d.v.ClusterAdvertise || a == d.v.ClusterAddr
		if !mine && portOf(a) == portOf(d.v.ClusterAddr) {
			ctx, cancel := context.WithTimeout(ctx, lookTime)
			ips, _ := d.sys.Lookup(ctx, hostOf(a)) // names has said what is wrong
			cancel()
			mine = len(ips) == 1 && own[ips[0]]
		}
		if !mine {
			some = append(some, a)
		}
	}
	return some
}

// peers greets the other nodes.
func (d *doctor) peers(ctx context.Context) {
	const check = "peers"
	for _, a := range d.others(ctx) {
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		err := d.sys.Knock(ctx, a)
		cancel()
		switch {
		case err == nil:
			d.ok(check, "%s answers, and takes the secret", a)
		case errors.Is(err, d.sys.ErrSecret):
			d.fail(check, "give all nodes the same secret", "%s has another cluster secret, or only one of the two has one", a)
		default:
			d.warn(check, "start it, or open the way to it (firewall, TCP and UDP)", "%s cannot be reached: %v", a, err)
		}
	}
}

// peerClocks compares the clock with those of the other nodes, by the date of their answers over HTTP. Who
// does not answer there is passed over.
func (d *doctor) peerClocks(ctx context.Context) {
	const check = "clock"
	for _, a := range d.others(ctx) {
		u := url.URL{Scheme: "http", Host: net.JoinHostPort(hostOf(a), portOf(d.v.HTTPAddr)), Path: "/health"}
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		before := d.sys.Now()
		theirs, err := d.sys.PeerTime(ctx, u.String())
		cancel()
		if err != nil {
			continue
		}
		// Their time is cut to a second, and from some moment between the question and the answer.
		after := d.sys.Now()
		skew := max(theirs.Sub(after), before.Sub(theirs.Add(time.Second)), 0).Round(time.Millisecond)
		switch next := "run NTP on both"; {
		case skew >= skewFail:
			d.fail(check, next, "the clock of %s is %v off from this one", hostOf(a), skew)
		case skew >= skewWarn:
			d.warn(check, next, "the clock of %s is %v off from this one", hostOf(a), skew)
		default:
			d.ok(check, "that of %s says the same", hostOf(a))
		}
	}
}

func (d *doctor) certificates() {
	const check = "tls"
	if d.v.AMQPSAddr == "" && d.v.HTTPSAddr == "" && !d.v.ClusterTLS {
		return
	}
	end, err := d.sys.CertExpiry()
	left := end.Sub(d.sys.Now())
	switch {
	case err != nil:
		d.fail(check, "see --tls-cert, --tls-key and --tls-ca", "%v", err)
	case left <= 0:
		d.fail(check, "renew it; a node that runs reads new files by itself", "a certificate has ended on %s", end.UTC().Format(time.DateTime))
	case left < expirySoon:
		d.warn(check, "renew it; a node that runs reads new files by itself", "a certificate ends on %s", end.UTC().Format(time.DateTime))
	default:
		d.ok(check, "certificates are good until %s", end.UTC().Format(time.DateOnly))
	}
}

// settings looks for what goes badly together. What cannot go together at all was refused when they were read.
func (d *doctor) settings() {
	const check = "settings"
	found := len(d.findings)
	v := &d.v
	if unknown := d.sys.Unknown(); len(unknown) > 0 {
		d.warn(check, "see docs/settings.md for the names", "variables that are no settings: %s", strings.Join(unknown, ", "))
	}
	if v.Expect > 0 && v.Expect%2 == 0 {
		d.warn(check, "use an odd number: 3 or 5", "a cluster of %d outlives no more losses than one of %d", v.Expect, v.Expect-1)
	}
	if v.Expect > 5 {
		d.warn(check, "5 nodes are enough for most; others may join later", "of the %d nodes that found the cluster all vote, and each write waits for a majority of them", v.Expect)
	}
	if v.DefaultUser == "guest" && v.DefaultPass == "guest" && len(v.LoopbackUsers) == 0 {
		d.warn(check, "set --default-user and --default-pass, or delete guest when you have made your own users", "guest/guest may log in from anywhere (--loopback-users is empty)")
	}
	if v.DiskFreeLimit == 0 {
		d.warn(check, "set it to 2GB or so", "--disk-free-limit is 0: a full disk stops the node")
	}
	if v.DiskStallTimeout == 0 {
		d.warn(check, "leave it at 20s", "--disk-stall-timeout is 0: a node whose disk stands still keeps its clients for ever")
	}
	if v.NodeGrace < 4*v.ElectionTimeout {
		d.warn(check, "raise --node-grace", "--node-grace (%v) is short beside --election-timeout (%v): a change of the leader may cost consumers their deliveries", v.NodeGrace, v.ElectionTimeout)
	}
	if v.MemoryHighWatermark.Bytes > 0 && v.MemoryHighWatermark.Bytes < v.MessageMemory {
		d.fail(check, "lower --message-memory, or raise --memory-high-watermark", "--message-memory (%s) is above --memory-high-watermark (%s): a backlog would block publishers for good", size(v.MessageMemory), size(v.MemoryHighWatermark.Bytes))
	}
	if len(d.findings) == found {
		d.ok(check, "they go together")
	}
}
