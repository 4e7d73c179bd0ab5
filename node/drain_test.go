package node

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"warren/node/management"
)

// A node that is drained refuses clients, sends its own away with RabbitMQ's words, does not lead, and says
// so on all nodes; the others go on. Draining it again changes nothing. A revive undoes all of it.
func TestDrain(t *testing.T) {
	nodes := openAll(t, func(int, *Config) {})
	ctx := context.Background()
	at := leaderOf(t, nodes)
	leader, asked := nodes[at], nodes[(at+1)%3]
	conn, ch := dial(t, leader)
	gone := conn.NotifyClose(make(chan *amqp.Error, 1))
	q, err := ch.QueueDeclare("of-one-client", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, och := dial(t, asked)

	closed, err := broker{asked}.Drain(ctx, leader.cfg.NodeName, false)
	if err != nil || closed != 1 {
		t.Fatalf("drain: %d connections, %v", closed, err)
	}
	if e := <-gone; e == nil || e.Code != 320 || e.Reason != "CONNECTION_FORCED - Node was put into maintenance mode" {
		t.Errorf("the client was told %v", e)
	}
	if _, err := amqp.Dial("amqp://guest:guest@" + leader.AMQPAddr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new client got %v", err)
	}
	if leader.cluster.IsLeader() {
		t.Error("a drained node leads")
	}
	within(t, "all nodes say so", func() bool {
		for _, n := range nodes {
			for _, m := range (broker{n}).Cluster(ctx).Members {
				if m.BeingDrained != (m.ID == leader.id) {
					return false
				}
			}
		}
		return (broker{asked}).NodeStats(ctx)[leader.id].BeingDrained
	})
	within(t, "the drained node is well, and not in service", func() bool { // it may not know the new leader yet
		info := broker{leader}.Cluster(ctx)
		return !info.Serving && info.BeingDrained && info.Waiting == ""
	})
	// Its exclusive queue went with its client; others go on.
	if _, err := och.QueueDeclare(q.Name, false, false, false, false, nil); err != nil {
		t.Errorf("on another node: %v", err)
	}
	if closed, err := (broker{asked}).Drain(ctx, leader.id, false); err != nil || closed != 0 {
		t.Errorf("drained again: %d, %v", closed, err)
	}

	// The last two are needed.
	third := nodes[(at+2)%3]
	_, err = broker{asked}.Drain(ctx, third.cfg.NodeName, false)
	if !errors.Is(err, management.ErrNeeded) || !strings.Contains(err.Error(), leader.cfg.NodeName+" is drained") {
		t.Errorf("a second node: %v", err)
	}
	if third.maintenance() != inService {
		t.Error("a node that was refused is not in service")
	}
	if _, err := (broker{asked}).Drain(ctx, third.cfg.NodeName, true); err != nil {
		t.Errorf("forced: %v", err)
	}
	if _, err := (broker{asked}).Drain(ctx, "nobody", false); !errors.Is(err, management.ErrUnknownNode) {
		t.Errorf("of a node that is not there: %v", err)
	}

	for _, n := range []*Node{third, leader, leader} {
		if err := (broker{asked}).Revive(ctx, n.id); err != nil {
			t.Fatal(err)
		}
	}
	back, _ := dial(t, leader)
	back.Close()
	other.Close()
	within(t, "the revived node is in service", func() bool {
		info := broker{leader}.Cluster(ctx)
		return info.Serving && !info.BeingDrained
	})
	within(t, "it may lead again", func() bool { return asked.cluster.TransferLeadership(ctx, leader.id) == nil })
}

func leaderOf(t *testing.T, nodes []*Node) (at int) {
	t.Helper()
	within(t, "a leader", func() bool {
		for i, n := range nodes {
			if n.cluster.IsLeader() {
				at = i
				return true
			}
		}
		return false
	})
	return at
}

// Two nodes of three that are drained at the same time: one of them at most is.
func TestDrainTwoAtOnce(t *testing.T) {
	nodes := openAll(t, func(int, *Config) {})
	for range 5 {
		errs := make(chan error, 2)
		for _, n := range nodes[:2] {
			go func() {
				_, err := broker{n}.Drain(context.Background(), n.id, false)
				errs <- err
			}()
		}
		one, two := <-errs, <-errs
		if one == nil && two == nil {
			t.Fatal("both were drained")
		}
		for _, n := range nodes[:2] {
			if err := (broker{n}).Revive(context.Background(), n.id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A node alone may be drained, revived and stopped in any order, and leaves nothing behind.
func TestDrainAlone(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	n := start(t, testConfig(t.TempDir()))
	if _, err := (broker{n}).Drain(context.Background(), n.id, false); err != nil {
		t.Fatal(err)
	}
	// Its port is somebody else's by now.
	l, err := net.Listen("tcp", n.AMQPAddr())
	if err != nil {
		t.Fatal(err)
	}
	if err := (broker{n}).Revive(context.Background(), n.id); err == nil || !strings.Contains(err.Error(), "stays drained") {
		t.Errorf("revived without its port: %v", err)
	}
	l.Close()
	if err := (broker{n}).Revive(context.Background(), n.id); err != nil {
		t.Fatal(err)
	}
	conn, _ := dial(t, n)
	conn.Close()
	if _, err := (broker{n}).Drain(context.Background(), n.id, false); err != nil {
		t.Fatal(err)
	}
	stop(t, n)
	goleak.VerifyNone(t, ignore)
}

// A door that is shut makes those wait who accept, and lets them on when it is opened or closed for good.
func TestDoor(t *testing.T) {
	d, err := openDoor("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 8)
	go func() {
		for {
			c, err := d.Accept()
			accepted <- err
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	knock := func() error {
		c, err := net.DialTimeout("tcp", d.Addr().String(), time.Minute)
		if err == nil {
			c.Close()
		}
		return err
	}
	for range 3 {
		if err := knock(); err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.shut(), d.shut()); err != nil {
			t.Fatal(err)
		}
		if err := knock(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("shut: %v", err)
		}
		if err := errors.Join(d.open(), d.open()); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if err := errors.Join(d.open(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := knock(); err == nil {
		t.Error("a closed door was opened")
	}
}
