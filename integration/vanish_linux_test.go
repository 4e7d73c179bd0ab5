package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sys/unix"
)

// A faraway is a place on the network from which clients connect, and which can be cut off: nothing comes from it or goes
// to it any more, and nobody is told. It is a network namespace.
type faraway struct {
	namespace string
	near      string // address of this side, on which a node listens
}

func newFaraway(t *testing.T) *faraway {
	t.Helper()
	skipWithPeer(t)
	if os.Getuid() != 0 {
		missing(t, "network namespaces need root")
	}
	needProgram(t, "ip")
	needProgram(t, "iptables")
	pid := os.Getpid()
	prefix := fmt.Sprintf("198.19.%d", pid%250) // for tests of networks: RFC 2544
	f := &faraway{namespace: fmt.Sprintf("warren-far-%d", pid), near: prefix + ".1"}
	device := fmt.Sprintf("wfar%d", pid%250)
	t.Cleanup(func() {
		for _, args := range [][]string{{"link", "delete", device}, {"netns", "delete", f.namespace}} { // sockets may keep a namespace
			if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
				t.Errorf("ip %v: %v, %s", args, err, out)
			}
		}
	})
	for _, line := range []string{
		"netns add " + f.namespace,
		"link add " + device + " type veth peer name eth0 netns " + f.namespace,
		"addr add " + f.near + "/24 dev " + device,
		"link set " + device + " up",
		"-n " + f.namespace + " addr add " + prefix + ".2/24 dev eth0",
		"-n " + f.namespace + " link set eth0 up",
	} {
		command(t, "ip", strings.Fields(line)...)
	}
	return f
}

// dial connects from there. The thread comes back: were it to end, the system would end the processes that it has started
// (see proc.DieWithParent).
func (f *faraway) dial(_, addr string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer func() { _ = here.Close() }() // only referred to
	there, err := os.Open("/run/netns/" + f.namespace)
	if err != nil {
		return nil, err
	}
	defer func() { _ = there.Close() }()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", addr)
	if e := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); e != nil {
		panic(fmt.Sprintf("a thread is lost in another network namespace: %v", e))
	}
	return conn, err
}

// cut has all packets to and from it lost.
func (f *faraway) cut(t *testing.T) {
	t.Helper()
	for _, chain := range []string{"INPUT", "OUTPUT"} {
		command(t, "ip", "netns", "exec", f.namespace, "iptables", "-w", "10", "-A", chain, "-j", "DROP")
	}
}

// TestPeersThatVanish: the machine of some clients is gone without a word. Their heartbeats are missed, also where the node had
// more to write than they took: their connections end, and what they held goes to others, who are served all the time.
//
// row: 1.1 heartbeat
func TestPeersThatVanish(t *testing.T) {
	f := newFaraway(t)
	_, port, err := net.SplitHostPort(freeAddr())
	if err != nil {
		t.Fatal(err)
	}
	c := startClusterWith(t, 1, options{amqp: []string{net.JoinHostPort(f.near, port)}, args: []string{"--loopback-users", ""}})
	n := c.node(0)
	ch := open(t, n)
	held, waits := declare(t, ch, n, nil), fillQueue(t, n, 1000, 20_000)
	const clients, each = 10, 20
	for i := range clients * each {
		publish(t, ch, held, fmt.Sprint(i))
	}
	wantDepth(t, ch, held, clients*each)
	far := func() *amqp.Channel {
		t.Helper()
		conn, err := amqp.DialConfig(n.url, amqp.Config{Heartbeat: time.Second, Dial: f.dial})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseDeadline(time.Now()) }) // to nowhere
		return channel(t, conn)
	}
	for range clients {
		holds := far()
		if err := holds.Qos(each, 0, false); err != nil {
			t.Fatal(err)
		}
		deliveries := consume(t, holds, held)
		for range each {
			receive(t, "delivery", deliveries)
		}
		if _, err := holds.QueueDeclare("", false, false, true, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	const stuffed = 2
	for range stuffed {
		f.stuffed(t, n, waits)
	}
	beside := startFlow(t, c, n, n)
	const near = 5 // connections: of ch, of fillQueue, and three of startFlow
	wantConnections(t, n, near+clients+stuffed)
	f.cut(t)
	progress(t, []*flow{beside}, 200)
	wantConnections(t, n, near)
	wantDepth(t, ch, held, clients*each)
	wantDepth(t, ch, waits, 1000)
	wantConsumers(t, ch, waits, 0)
	beside.finish(t)
	for _, err := range beside.check(loss{}) {
		t.Error(err)
	}
	again := consume(t, ch, held)
	for range clients * each {
		if d := receive(t, "delivery", again); !d.Redelivered {
			t.Errorf("%s was held by a client that is gone, and does not come as redelivered", d.Body)
		}
	}
}

// wantConnections waits until a node has so many.
func wantConnections(t *testing.T, n *node, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d connections", want), func() error {
		var list []struct{ Name string }
		err := n.getJSON("/api/connections?columns=name", &list)
		if err == nil && len(list) != want {
			err = fmt.Errorf("%d connections", len(list))
		}
		return err
	})
}

// stuffed is a client that is sent more than it reads, and beats as long as it can be heard.
func (f *faraway) stuffed(t *testing.T, n *node, queue string) {
	t.Helper()
	conn, err := f.dial("tcp", n.amqp)
	if err != nil {
		t.Fatal(err)
	}
	r := rawOn(t, conn)
	r.toTune()
	r.method(0, 10, 31, r.short(2047), r.long(131072), r.short(1))
	r.method(0, 10, 40, r.shortstr("/"), r.shortstr(""), []byte{0})
	r.expectMethod(0, 10, 41)
	r.openChannel(1)
	r.method(1, 60, 20, r.short(0), r.shortstr(queue), r.shortstr(""), []byte{0}, r.long(0))
	beat := rawFrame(frameHeartbeat, 0, nil)
	pour(t, r, false, func(int) []byte { time.Sleep(100 * time.Millisecond); return beat })
}
