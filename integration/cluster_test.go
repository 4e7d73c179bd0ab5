package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/proc"
)

// A cluster is a set of server processes on this machine's loopback interface,
// or a running peer (then it has URLs and no processes).
type cluster struct {
	dir   string
	nodes []*node
	peer  bool
	keep  bool // the directory outlives the cluster
}

// A node is one server: its settings, and its process while it runs.
type node struct {
	name              string
	dir, log          string
	bin, ctlBin       string
	amqp, clust, http string // HOST:PORT
	args              []string
	url               string

	foreign   bool   // its process is not ours to wait for …
	up        bool   // … and this is whether it runs
	container string // id of its container, if it is in one

	proc *proc.Process // nil when it is not ours to start
}

// options of a cluster; the zero value is right for most tests.
type options struct {
	args  []string // further flags of `warren serve`
	amqp  []string // client addresses instead of free ports
	https []string // HTTP addresses instead of free ports
	vhost string   // that clients use; empty: "/"
}

// startCluster starts a cluster of n nodes that ends with the test, and waits
// until clients are served on each.
func startCluster(t testing.TB, n int) *cluster {
	t.Helper()
	return startClusterWith(t, n, options{})
}

func startClusterWith(t testing.TB, n int, o options) *cluster {
	t.Helper()
	skipWithPeer(t)
	c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), n, o)
	if err != nil {
		t.Fatalf("make cluster: %v", err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	return c
}

// newCluster lays out directories and ports; nothing runs yet.
func newCluster(bin, ctl string, n int, o options) (*cluster, error) {
	dir, err := os.MkdirTemp("", "warren-test-")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, keep: os.Getenv("WARREN_TEST_KEEP") != ""}
	for i := range n {
		nd := &node{name: fmt.Sprintf("n%d", i+1), bin: bin, ctlBin: ctl}
		nd.dir = filepath.Join(dir, nd.name)
		nd.log = filepath.Join(dir, nd.name+".log")
		nd.amqp, nd.clust, nd.http = freeAddr(), freeAddr(), freeAddr()
		if i < len(o.amqp) {
			nd.amqp = o.amqp[i]
		}
		if i < len(o.https) {
			nd.http = o.https[i]
		}
		nd.url = "amqp://guest:guest@" + nd.amqp + "/" + o.vhost
		c.nodes = append(c.nodes, nd)
	}
	var join []string
	for _, nd := range c.nodes {
		join = append(join, nd.clust)
	}
	for _, nd := range c.nodes {
		nd.args = []string{"serve", "--data-dir", nd.dir, "--node-name", nd.name,
			"--amqp-addr", nd.amqp, "--cluster-addr", nd.clust, "--http-addr", nd.http, "--metrics-addr", ""}
		if n > 1 {
			nd.args = append(nd.args, "--join", strings.Join(join, ","), "--expect", fmt.Sprint(n))
		}
		nd.args = append(nd.args, o.args...)
		nd.proc = &proc.Process{Log: nd.log}
	}
	return c, nil
}

// node returns the i-th node, counted from 0 and around the end.
func (c *cluster) node(i int) *node { return c.nodes[i%len(c.nodes)] }

// others are all nodes but one.
func (c *cluster) others(not *node) []*node {
	var rest []*node
	for _, n := range c.nodes {
		if n != not {
			rest = append(rest, n)
		}
	}
	return rest
}

// waitReady waits until every running node serves AMQP clients.
func (c *cluster) waitReady(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if n.running() {
			n.waitReady(t)
		}
	}
}

// end stops all processes. What they left is kept, and named, after a failure.
func (c *cluster) end(failed bool, logf func(string, ...any)) {
	for _, n := range c.nodes {
		if err := n.endProcess(syscall.SIGKILL); err != nil {
			logf("end %s: %v", n.name, err)
		}
	}
	if c.dir == "" {
		return
	}
	if failed || c.keep {
		logf("data directories and logs are kept in %s", c.dir)
		return
	}
	if err := os.RemoveAll(c.dir); err != nil {
		logf("remove %s: %v", c.dir, err)
	}
}

// leader asks the running nodes who leads and waits until one of the running
// nodes does.
func (c *cluster) leader(t testing.TB) *node {
	t.Helper()
	var found *node
	eventually(t, "find the leader", func() (err error) {
		found, err = c.findLeader()
		return err
	})
	return found
}

func (c *cluster) findLeader() (*node, error) {
	err := errors.New("no node runs")
	for _, asked := range c.nodes {
		if !asked.running() {
			continue
		}
		var info clusterInfo
		if info, err = asked.info(); err != nil {
			continue
		}
		if n := c.byName(info.Leader); n != nil && n.running() {
			return n, nil
		}
		err = fmt.Errorf("%s takes %q for the leader", asked.name, info.Leader)
	}
	return nil, err
}

// info asks a node how it sees the cluster.
func (n *node) info() (clusterInfo, error) { return proc.API{Addr: n.http}.Cluster() }

// clusterInfo is what a node says of the cluster.
type clusterInfo = proc.ClusterInfo

func (c *cluster) byName(name string) *node {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// start starts the process. It returns at once; see waitReady.
func (n *node) start(t testing.TB) {
	t.Helper()
	if err := n.startProcess(); err != nil {
		t.Fatalf("start %s: %v", n.name, err)
	}
}

func (n *node) startProcess() error {
	if n.container != "" {
		return n.startContainer()
	}
	n.proc.Command = append([]string{n.bin}, n.args...)
	return n.proc.Start()
}

// running says that the process was started and has not ended.
func (n *node) running() bool {
	if n.foreign {
		return n.up
	}
	return n.proc != nil && n.proc.Running()
}

// ended says that the process was started and has ended.
func (n *node) ended() bool { return n.proc != nil && n.proc.Started() && !n.running() }

// kill ends the process as a crash does (SIGKILL).
func (n *node) kill(t testing.TB) {
	t.Helper()
	if err := n.endProcess(syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", n.name, err)
	}
}

// stop asks the process to end (SIGTERM) and wants exit status 0.
func (n *node) stop(t testing.TB) {
	t.Helper()
	if err := n.endProcess(syscall.SIGTERM); err != nil {
		t.Fatalf("stop %s: %v", n.name, err)
	}
	if err := n.proc.Err(); err != nil {
		t.Fatalf("%s ended with %v after SIGTERM:\n%s", n.name, err, n.logTail())
	}
}

// endProcess sends a signal and waits for the end.
func (n *node) endProcess(s syscall.Signal) error {
	if !n.running() {
		return nil
	}
	if n.container != "" {
		return n.killContainer()
	}
	return n.proc.End(s)
}

// pause stops the process without its knowing (SIGSTOP).
func (n *node) pause(t testing.TB) { n.sendSignal(t, syscall.SIGSTOP) }

// resume lets a paused process go on (SIGCONT).
func (n *node) resume(t testing.TB) { n.sendSignal(t, syscall.SIGCONT) }

func (n *node) sendSignal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := n.proc.Signal(s); err != nil {
		t.Fatalf("signal %v to %s: %v", s, n.name, err)
	}
}

// peakMemory is the most resident memory that a node's process has had, in bytes.
func (n *node) peakMemory() (int64, error) {
	_, peak, err := n.proc.Memory()
	return peak, err
}

// wipe removes the data directory of a node that does not run.
func (n *node) wipe(t testing.TB) {
	t.Helper()
	if n.running() {
		t.Fatalf("wipe %s: it runs", n.name)
	}
	if err := os.RemoveAll(n.dir); err != nil {
		t.Fatalf("wipe %s: %v", n.name, err)
	}
}

// waitReady waits until a client can open a channel and be answered on it.
func (n *node) waitReady(t testing.TB) {
	t.Helper()
	err := waitFor(patience, func() error {
		if n.ended() {
			t.Fatalf("%s ended: %v\n%s", n.name, n.proc.Err(), n.logTail())
		}
		return n.tryClient()
	})
	if err != nil {
		t.Fatalf("%s is not ready: %v\n%s", n.name, err, n.logTail())
	}
}

// tryClient connects and has the cluster answer something that goes through it.
func (n *node) tryClient() error {
	conn, err := amqp.DialConfig(n.url, amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return ch.ExchangeDeclarePassive("amq.direct", "direct", true, false, false, false, nil)
}

// logTail is the end of the node's log, for failures.
func (n *node) logTail() string {
	if n.container != "" {
		return n.containerLog()
	}
	return n.proc.LogTail()
}

// logged says how many lines of the node's log contain part.
func (n *node) logged(t testing.TB, part string) int {
	t.Helper()
	text, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatalf("read log: %v", err)
	}
	return strings.Count(string(text), part)
}

// getJSON fetches a path of the node's HTTP API.
func (n *node) getJSON(path string, into any) error {
	return proc.API{Addr: n.http}.Get(path, into)
}

// ctl runs warrenctl against the node and wants success.
func (n *node) ctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := n.tryCtl(args...)
	if err != nil {
		t.Fatalf("warrenctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (n *node) tryCtl(args ...string) (string, error) {
	cmd := exec.Command(n.ctlBin, append([]string{"--node", "http://" + n.http}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ports hands out addresses below the range from which the system takes the
// ports of outgoing connections, so that a node finds its own free again when it
// is restarted.
var ports struct {
	sync.Mutex
	next int
}

// freeAddr is a loopback address on which nothing listens, on TCP and UDP.
func freeAddr() string {
	ports.Lock()
	defer ports.Unlock()
	const low, high = 20000, 32000
	if ports.next == 0 {
		ports.next = low + os.Getpid()%(high-low)
	}
	for range high - low {
		if ports.next++; ports.next >= high-100 {
			ports.next = low
		}
		if addr := fmt.Sprintf("127.0.0.1:%d", ports.next); isFree(addr) {
			return addr
		}
	}
	panic("no free port between 20000 and 32000")
}

func isFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return p.Close() == nil
}

// needAddr wants a certain address free, for clients that cannot be told another.
func needAddr(t testing.TB, addr string) {
	t.Helper()
	if !isFree(addr) {
		t.Fatalf("%s is in use, and the programs of this test know no other address: stop what listens there", addr)
	}
}

// shared are clusters for the many tests that leave theirs as they found it.
var shared struct {
	sync.Mutex
	clusters map[int]*cluster
}

// sharedCluster returns the cluster of n nodes (1 or 3) that tests of client
// behaviour use together, or that many nodes of a peer.
func sharedCluster(t testing.TB, n int) *cluster {
	t.Helper()
	if urls := peerURLs(); urls != nil {
		return peerCluster(urls[:min(n, len(urls))])
	}
	shared.Lock()
	defer shared.Unlock()
	if c := shared.clusters[n]; c != nil {
		return c
	}
	c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), n, options{})
	if err != nil {
		t.Fatalf("make shared cluster: %v", err)
	}
	for _, nd := range c.nodes {
		nd.start(t)
	}
	if shared.clusters == nil {
		shared.clusters = map[int]*cluster{}
	}
	shared.clusters[n] = c
	c.waitReady(t)
	return c
}

func stopShared(failed bool) {
	shared.Lock()
	defer shared.Unlock()
	for _, c := range shared.clusters {
		c.end(failed, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	}
}

func peerCluster(urls []string) *cluster {
	c := &cluster{peer: true}
	for i, u := range urls {
		n := &node{name: fmt.Sprintf("peer%d", i+1), url: strings.TrimSuffix(u, "/") + "/"}
		if uri, err := amqp.ParseURI(u); err == nil {
			n.amqp = net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port))
			n.url = "amqp://" + uri.Username + ":" + uri.Password + "@" + n.amqp + "/"
		}
		c.nodes = append(c.nodes, n)
	}
	return c
}
