package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestWarrenctl looks at a cluster with real clients through warrenctl, as the
// tutorial types it, at another node than the clients are on.
//
// row: 1.1 connection name
func TestWarrenctl(t *testing.T) {
	c := sharedCluster(t, 3)
	if c.peer {
		t.Skip("a peer has its own command line")
	}
	ch, q := filled(t, c, 5)
	exchange := unique(t)
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q, "a.#", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Qos(2, 0, false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume(q, "my-tag", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	wantDepth(t, ch, q, 3)
	for _, asked := range c.nodes {
		wantRow(t, asked, []string{q, "3", "2"}, "list_queues", "name", "messages_ready", "messages_unacknowledged")
		wantRow(t, asked, []string{exchange, "topic"}, "list_exchanges")
		wantRow(t, asked, []string{exchange, "exchange", q, "queue", "a.#"}, "list_bindings")
		wantRow(t, asked, []string{q, "my-tag"}, "list_consumers", "queue_name", "consumer_tag")
		wantRow(t, asked, []string{"guest"}, "list_connections", "user")
		wantRow(t, asked, []string{"guest", "2"}, "list_channels", "user", "prefetch_count")
	}
	var rows []struct {
		Name  string `json:"name"`
		Ready int    `json:"messages_ready"`
	}
	out := c.node(1).ctl(t, "--quiet", "--formatter", "json", "list_queues", "name", "messages_ready")
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("list_queues as JSON: %v\n%s", err, out)
	}
	found := false
	for _, r := range rows {
		found = found || r.Name == q && r.Ready == 3
	}
	if !found {
		t.Errorf("list_queues as JSON lacks %s: %s", q, out)
	}
	for _, n := range c.nodes {
		if out := c.node(0).ctl(t, "cluster_status"); !strings.Contains(out, n.name) {
			t.Errorf("cluster_status does not name %s:\n%s", n.name, out)
		}
		n.ctl(t, "status")
	}
	if err := open(t, c.node(0)).ExchangeDelete(exchange, false, false); err != nil {
		t.Error(err)
	}
}

// wantRow wants a row of a table that begins with these columns.
func wantRow(t testing.TB, n *node, columns []string, args ...string) {
	t.Helper()
	out := n.ctl(t, args...)
	for line := range strings.Lines(out) {
		if fields := strings.Split(strings.TrimRight(line, "\n"), "\t"); len(fields) >= len(columns) && strings.Join(fields[:len(columns)], "\t") == strings.Join(columns, "\t") {
			return
		}
	}
	t.Errorf("warrenctl %s at %s: no row %q in\n%s", strings.Join(args, " "), n.name, columns, out)
}

// TestFormation starts the nodes one after the other, the last one late, in
// every order: there is one cluster of three in the end, never two.
//
// row: 1.6 join and leave
func TestFormation(t *testing.T) {
	t.Parallel()
	skipWithPeer(t)
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 3, options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
		c.node(order[0]).start(t)
		c.node(order[1]).start(t)
		for _, i := range order[:2] {
			eventually(t, "the HTTP API of a node that waits for the third", func() error {
				info, err := c.node(i).info()
				if err == nil && info.Leader != "" {
					t.Fatalf("order %v: two of the three nodes that were to wait for one another have a leader: %+v", order, info)
				}
				return err
			})
		}
		c.node(order[2]).start(t)
		c.waitReady(t)
		for _, n := range c.nodes {
			eventually(t, "three voters", func() error { return wantVoters(n, 3) })
		}
		ch := open(t, c.node(0))
		if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		for _, n := range c.nodes {
			depth(t, open(t, n), "q") // it is one cluster
		}
		c.end(false, t.Logf)
	}
}

// wantVoters returns an error unless a node sees so many voting members.
func wantVoters(n *node, want int) error {
	info, err := n.info()
	if err != nil {
		return err
	}
	voters := 0
	for _, m := range info.Members {
		if m.Voter {
			voters++
		}
	}
	if voters != want || len(info.Members) != want {
		return fmt.Errorf("%s sees %+v", n.name, info.Members)
	}
	return nil
}

// TestNoQuorum: while the majority is away nothing is confirmed, the publisher is
// told that it is blocked, and all goes on when the majority is back.
//
// row: 1.6 partitions; 1.6 metadata
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	conn := dial(t, c.node(0))
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 10))
	ch := channel(t, conn)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclare("q", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	confirmed(t, ch, "", q.Name, amqp.Publishing{DeliveryMode: 2, Body: []byte("1")})
	for _, n := range c.others(c.node(0)) {
		n.kill(t)
	}
	conf, err := ch.PublishWithDeferredConfirm("", q.Name, false, false, amqp.Publishing{DeliveryMode: 2, Body: []byte("2")})
	if err != nil {
		t.Fatal(err)
	}
	if b := receive(t, "connection.blocked", blocked); !b.Active {
		t.Errorf("told %+v", b)
	}
	// Not a wait for something: a confirm now would be a lie, however late.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if ok, err := conf.WaitContext(ctx); err == nil {
		t.Fatalf("confirmed (%v) without a quorum", ok)
	}
	for _, n := range c.others(c.node(0)) {
		n.start(t)
	}
	ctx, cancel = context.WithTimeout(context.Background(), patience)
	defer cancel()
	if ok, err := conf.WaitContext(ctx); err != nil || !ok {
		t.Fatalf("after the return of the others: %v %v", ok, err)
	}
	if b := receive(t, "connection.unblocked", blocked); b.Active {
		t.Errorf("told %+v", b)
	}
	c.waitReady(t)
	there := open(t, c.node(1))
	get(t, there, q.Name, "1")
	get(t, there, q.Name, "2")
}

// TestDev runs the README's first command: a cluster of real processes on this
// machine, of which one is killed.
func TestDev(t *testing.T) {
	skipWithPeer(t)
	base := devPorts(t)
	dir := filepath.Join(t.TempDir(), "dev")
	p := startProgram(t, "", nil, executable(t, "warren"), "dev", "--nodes", "3", "--data-dir", dir,
		"--amqp-port", strconv.Itoa(base), "--http-port", strconv.Itoa(base+10), "--cluster-port", strconv.Itoa(base+20))
	p.waitLines(t, "3 of 3 nodes serve clients", 1)
	row := regexp.MustCompile(`^(node\d)\s+(\d+)\s+(\S+)\s+http://(\S+)`)
	c := &cluster{}
	pids := map[string]int{}
	for _, line := range p.output() {
		if m := row.FindStringSubmatch(line); m != nil {
			n := &node{name: m[1], amqp: m[3], http: m[4], url: "amqp://guest:guest@" + m[3] + "/", foreign: true, up: true}
			c.nodes = append(c.nodes, n)
			pids[m[1]], _ = strconv.Atoi(m[2])
		}
	}
	if len(c.nodes) != 3 {
		t.Fatalf("it printed\n%s", strings.Join(p.output(), "\n"))
	}
	for i, n := range c.nodes {
		if want := fmt.Sprintf("127.0.0.1:%d", base+i); n.amqp != want {
			t.Errorf("node %d is at %s, want %s", i, n.amqp, want)
		}
	}
	leader := c.leader(t)
	if pids[leader.name] <= 1 {
		t.Fatalf("no process id of %s", leader.name)
	}
	if _, err := fmt.Fprintf(p.in, "kill %s\n", strings.TrimPrefix(leader.name, "node")); err != nil {
		t.Fatal(err)
	}
	leader.up = false
	p.waitLines(t, "2 of 3 nodes serve clients", 1)
	next := c.leader(t)
	if next == leader {
		t.Errorf("%s leads still", leader.name)
	}
	next.waitReady(t)
	if _, err := fmt.Fprintf(p.in, "restart %s\n", strings.TrimPrefix(leader.name, "node")); err != nil {
		t.Fatal(err)
	}
	p.waitLines(t, "3 of 3 nodes serve clients", 2)
	if _, err := fmt.Fprintln(p.in, "quit"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.wait(t); err != nil {
		t.Errorf("warren dev ended with %v", err)
	}
}

// devPorts finds a base for three times three neighbouring ports.
func devPorts(t testing.TB) int {
	t.Helper()
	for range 1000 {
		base, err := strconv.Atoi(port(freeAddr()))
		if err != nil {
			t.Fatal(err)
		}
		free := true
		for i := range 30 {
			free = free && isFree(fmt.Sprintf("127.0.0.1:%d", base+i))
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}
