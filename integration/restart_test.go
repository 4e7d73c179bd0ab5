package integration

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestAllKilled kills all nodes at once under load and starts them again: every
// confirmed message is there, in order, once.
//
// row: 1.6 confirm point
func TestAllKilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	for round := range 2 {
		queues := map[string]*loadPublisher{}
		for i, n := range c.nodes {
			queue := fmt.Sprintf("%s-%d-%d", t.Name(), round, i)
			if _, err := open(t, n).QueueDeclare(queue, true, false, false, false, nil); err != nil {
				t.Fatal(err)
			}
			p := &loadPublisher{cluster: c, queue: queue, node: n, history: newHistory()}
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			queues[queue] = p
		}
		for _, p := range queues {
			eventually(t, "confirms", func() error {
				if p.count() < 1000 {
					return fmt.Errorf("%d confirms", p.count())
				}
				return nil
			})
		}
		killAll(t, c)
		for _, n := range c.nodes {
			n.start(t)
		}
		c.waitReady(t)
		for queue, p := range queues {
			p.stop() // it has reconnected and sent again what was not confirmed
			arrivals := drainQueue(t, c.node(round), queue)
			wantConfirmed(t, p, arrivals)
			for _, err := range checkArrivals(arrivals, p.published, p.repeated, false) {
				t.Errorf("%s: %v", queue, err)
			}
		}
	}
}

// TestColdStart: what a stopped cluster held is there again, in order and whole,
// with exchanges, bindings and their arguments, whichever node is asked.
//
// row: 1.6 metadata
func TestColdStart(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue, exchange = "kept", "kept-exchange"
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-note": "kept"}); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, "a.#", exchange, false, amqp.Table{"n": int32(1)}); err != nil {
		t.Fatal(err)
	}
	const count = 200
	for i := range count {
		confirmed(t, ch, exchange, "a."+strconv.Itoa(i), amqp.Publishing{
			DeliveryMode: amqp.Persistent, MessageId: strconv.Itoa(i), Headers: amqp.Table{"n": int32(i)}, Body: pattern(i * 10),
		})
	}
	held := drainQueueN(t, ch, queue, 10) // got, and never acknowledged
	if err := held[4].Ack(false); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclarePassive(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err) // its answer says that the ack is through
	}
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)

	there := open(t, c.node(2))
	if _, err := there.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-note": "kept"}); err != nil {
		t.Fatalf("the queue has changed: %v", err)
	}
	wantDepth(t, there, queue, count-1)
	for i := range count {
		if i == 4 {
			continue
		}
		d, ok, err := there.Get(queue, true)
		if err != nil || !ok {
			t.Fatalf("get %d: %v %v", i, ok, err)
		}
		if d.MessageId != strconv.Itoa(i) || d.RoutingKey != "a."+strconv.Itoa(i) || d.Headers["n"] != int32(i) || string(d.Body) != string(pattern(i*10)) {
			t.Fatalf("message %d came back as %q, key %q, %d bytes", i, d.MessageId, d.RoutingKey, len(d.Body))
		}
		if want := i < 10; d.Redelivered != want {
			t.Errorf("message %d: redelivered %v, want %v", i, d.Redelivered, want)
		}
	}
	publishTo(t, there, exchange, "a.new", amqp.Publishing{Body: []byte("routed as before")})
	wantDepth(t, there, queue, 1)
}

// killAll ends all processes before it waits for any of them.
func killAll(t testing.TB, c *cluster) {
	t.Helper()
	for _, n := range c.nodes {
		n.sendSignal(t, syscall.SIGKILL)
	}
	for _, n := range c.nodes {
		n.kill(t)
	}
}

func drainQueueN(t testing.TB, ch *amqp.Channel, queue string, n int) []amqp.Delivery {
	t.Helper()
	var all []amqp.Delivery
	for range n {
		d, ok, err := ch.Get(queue, false)
		if err != nil || !ok {
			t.Fatalf("get: %v %v", ok, err)
		}
		all = append(all, d)
	}
	return all
}

// drainQueue takes all that a queue of numbered messages holds.
func drainQueue(t testing.TB, n *node, queue string) []arrival {
	t.Helper()
	ch := open(t, n)
	var all []arrival
	count, _ := depth(t, ch, queue)
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		d := receive(t, "delivery", deliveries)
		seq, err := strconv.ParseUint(string(d.Body), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, arrival{seq, d.Redelivered})
	}
	return all
}

// wantConfirmed wants all confirmed messages among the arrivals.
func wantConfirmed(t testing.TB, p *loadPublisher, arrivals []arrival) {
	t.Helper()
	f := &flow{pub: p, con: &loadConsumer{arrivals: arrivals}}
	if err := f.complete(); err != nil {
		t.Errorf("%s: %v", p.queue, err)
	}
}

// TestWipedNode: a node that lost its data comes back as a new one, the dead one
// is removed, and then the cluster stands another loss.
//
// row: 1.6 members; 1.6 membership reconciliation
func TestWipedNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	victim := c.others(c.leader(t))[0]
	ch := open(t, c.others(victim)[0])
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue = "outlives"
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	const count = 100
	for i := range count {
		confirmed(t, ch, "", queue, amqp.Publishing{DeliveryMode: 2, Body: []byte(strconv.Itoa(i + 1))})
	}
	before, err := victim.info()
	if err != nil {
		t.Fatal(err)
	}
	victim.kill(t)
	victim.wipe(t)
	victim.start(t)
	victim.waitReady(t)
	after, err := victim.info()
	if err != nil {
		t.Fatal(err)
	}
	if after.NodeID == before.NodeID {
		t.Fatalf("the wiped node came back as %s, which it cannot know it was", after.NodeID)
	}
	helper := c.others(victim)[0]
	eventually(t, "the dead node is forgotten", func() error {
		// Until the others have noticed its end they refuse.
		out, err := helper.tryCtl("forget_cluster_node", before.NodeID)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	eventually(t, "three voters, the dead one gone", func() error {
		info, err := helper.info()
		if err != nil {
			return err
		}
		voters := 0
		for _, m := range info.Members {
			if m.ID == before.NodeID {
				return fmt.Errorf("%s is still a member", m.ID)
			}
			if m.Voter {
				voters++
			}
		}
		if voters != 3 {
			return fmt.Errorf("%d voters: %+v", voters, info.Members)
		}
		return nil
	})

	// Another loss: the new node is needed for the quorum now.
	c.leader(t).kill(t)
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		n.waitReady(t)
		ch := open(t, n)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		confirmed(t, ch, "", queue, amqp.Publishing{DeliveryMode: 2, Body: []byte("0")})
	}
	live := open(t, victim)
	wantDepth(t, live, queue, count+2)
	for i := range count {
		get(t, live, queue, strconv.Itoa(i+1))
	}
}

// TestSnapshotForStoppedNode: a node that was away for longer than the log
// reaches back gets a snapshot, and serves clients right afterwards.
//
// row: 1.6 log and disk
func TestSnapshotForStoppedNode(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB"}})
	away := c.others(c.leader(t))[0]
	here := open(t, c.others(away)[0])
	if err := here.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue = "backlog"
	if _, err := here.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	confirmed(t, here, "", queue, numbered(1, 1000))
	before := waitApplied(t, away)
	away.kill(t)
	last := 1 + fillPastSnapshot(t, c.leader(t), here, queue, 2)

	away.start(t)
	away.waitReady(t)
	wantInstalled(t, c, away, before)
	ch := open(t, away)
	wantDepth(t, ch, queue, last)
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range last {
		d := receive(t, "delivery", deliveries)
		if got := numberOf(d); got != i+1 {
			t.Fatalf("message %d came as %d", i+1, got)
		}
	}
}

// TestSnapshotForPausedNode: the same for a process that stood still, with
// clients connected all the time: they go on as if nothing had been.
func TestSnapshotForPausedNode(t *testing.T) {
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB", "--node-grace", "5m"}})
	leader := c.leader(t)
	paused := c.others(leader)[0]
	here := open(t, c.others(paused)[0])
	if err := here.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue, mine = "backlog", "mine"
	for _, q := range []string{queue, mine} {
		if _, err := here.QueueDeclare(q, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	conn := dial(t, paused)
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	ch := channel(t, conn)
	if err := ch.Qos(50, 0, false); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	deliveries := consume(t, ch, queue)
	exclusive, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	confirmed(t, here, "", queue, numbered(1, 1000))
	if got := numberOf(receive(t, "delivery", deliveries)); got != 1 {
		t.Fatalf("message 1 came as %d", got)
	}
	before := waitApplied(t, paused)
	paused.pause(t)
	last := 1 + fillPastSnapshot(t, leader, here, queue, 2)
	paused.resume(t)

	confirmed(t, ch, "", mine, amqp.Publishing{Body: []byte("after")})
	wantInstalled(t, c, paused, before)
	for want := 2; want <= last; want++ {
		d := receive(t, fmt.Sprintf("delivery %d", want), deliveries)
		if got := numberOf(d); got != want || d.Redelivered {
			t.Fatalf("message %d came as %d, redelivered %v", want, got, d.Redelivered)
		}
		if err := d.Ack(true); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, here, exclusive.Name, "still there")
	wantDepth(t, ch, exclusive.Name, 1)
	select {
	case e := <-closed:
		t.Errorf("the client's connection was closed: %v", e)
	default:
	}
}

// numbered is a persistent message of about so many bytes that tells its number.
func numbered(n, size int) amqp.Publishing {
	return amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: strconv.Itoa(n), Body: pattern(size)}
}

func numberOf(d amqp.Delivery) int {
	n, err := strconv.Atoi(d.MessageId)
	if err != nil {
		return -1
	}
	return n
}

// waitApplied returns how far a node's log is, once it has applied all of it.
func waitApplied(t testing.TB, n *node) uint64 {
	t.Helper()
	var last uint64
	eventually(t, "the log is applied", func() error {
		info, err := n.info()
		if err != nil {
			return err
		}
		last = info.LastIndex
		if info.AppliedIndex < last {
			return fmt.Errorf("%d of %d entries applied", info.AppliedIndex, last)
		}
		return nil
	})
	return last
}

// logKept is how much log a node keeps behind a snapshot for others that lag, in
// bytes: what is further behind needs the snapshot.
const logKept = 64 << 20

// fillPastSnapshot publishes some numbered messages to a queue, then sends so
// much through another one that no node keeps the log of it, and waits until the
// leader has taken snapshots since. It returns the number of numbered messages.
func fillPastSnapshot(t testing.TB, leader *node, ch *amqp.Channel, queue string, from int) int {
	t.Helper()
	const count, size = 200, 1 << 20
	for i := range count {
		confirmed(t, ch, "", queue, numbered(from+i, 1000))
	}
	// Without a backlog: bodies in the state put the next snapshot off.
	passing, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(passing.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := pattern(size)
	send := func() {
		confirmed(t, ch, "", passing.Name, amqp.Publishing{Body: body})
		receive(t, "passing message", deliveries)
	}
	for range logKept/size + 8 {
		send()
	}
	passed := waitApplied(t, leader)
	eventually(t, "the leader takes another snapshot", func() error {
		send()
		info, err := leader.info()
		if err != nil {
			return err
		}
		if info.SnapshotIndex <= passed {
			return fmt.Errorf("snapshot at %d, want one behind %d", info.SnapshotIndex, passed)
		}
		return nil
	})
	return count
}

// wantInstalled wants a node to have taken over a snapshot from the leader.
func wantInstalled(t testing.TB, c *cluster, n *node, before uint64) {
	t.Helper()
	eventually(t, "a snapshot is installed", func() error {
		info, err := n.info()
		if err != nil {
			return err
		}
		if info.SnapshotIndex <= before {
			return fmt.Errorf("snapshot at %d, the node had applied %d before", info.SnapshotIndex, before)
		}
		for _, other := range c.others(n) {
			if other.logged(t, logCut) > 0 {
				return nil
			}
		}
		return errors.New("no leader missed log that the node needs")
	})
}

// logCut is what a leader logs when a follower needs log that is gone: it sends a
// snapshot then.
const logCut = `"failed to get log"`

// throughFaults kills the leader, if there are others, then all nodes at once, and has looked after each.
func throughFaults(t *testing.T, c *cluster, look func()) {
	t.Helper()
	if len(c.nodes) > 1 {
		leader := c.leader(t)
		leader.kill(t)
		(&cluster{nodes: c.others(leader)}).waitReady(t)
		look()
		leader.start(t)
		c.waitReady(t)
	}
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	look()
}
