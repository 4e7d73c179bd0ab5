package integration

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A committer commits numbered transactions, each of several publishes to two
// queues, one after the other.
type committer struct {
	node      *node
	mu        sync.Mutex
	begun     int // the number of the last transaction whose commit was sent
	committed int // the number of the last one that was answered
	err       error
	stopped   chan struct{}
	done      chan struct{}
}

const perTransaction = 5 // publishes to each queue

func startCommitter(t testing.TB, n *node, queues [2]string) *committer {
	t.Helper()
	ch := open(t, n)
	if err := ch.Tx(); err != nil {
		t.Fatal(err)
	}
	c := &committer{node: n, stopped: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = c.run(ch, queues)
	}()
	return c
}

func (c *committer) run(ch *amqp.Channel, queues [2]string) error {
	for number := 1; ; number++ {
		select {
		case <-c.stopped:
			return nil
		default:
		}
		c.mu.Lock()
		c.begun = number
		c.mu.Unlock()
		for range perTransaction {
			for _, q := range queues {
				if err := ch.Publish("", q, false, false, amqp.Publishing{
					DeliveryMode: amqp.Persistent, Type: c.node.name, MessageId: fmt.Sprint(number),
				}); err != nil {
					return err
				}
			}
		}
		if err := ch.TxCommit(); err != nil {
			return err
		}
		c.mu.Lock()
		c.committed = number
		c.mu.Unlock()
	}
}

func (c *committer) progress() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.committed
}

// TestTransactionsOutliveKill kills a node in the middle of commits: of each
// transaction all publishes happened, in both queues, or none; those that were
// answered happened, once.
//
// row: 1.3 transactions
func TestTransactionsOutliveKill(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	for round := range 2 {
		leader := c.leader(t)
		victim := leader
		if round == 1 {
			victim = c.others(leader)[0]
		}
		queues := [2]string{fmt.Sprintf("tx-a-%d", round), fmt.Sprintf("tx-b-%d", round)}
		for _, q := range queues {
			if _, err := open(t, c.node(0)).QueueDeclare(q, true, false, false, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		var all []*committer
		for _, n := range c.nodes {
			all = append(all, startCommitter(t, n, queues))
		}
		awaitCommits(t, all, 20)
		victim.kill(t)
		var survivors []*committer
		for _, cm := range all {
			if cm.node != victim {
				survivors = append(survivors, cm)
			}
		}
		awaitCommits(t, survivors, 20)
		for _, cm := range all {
			close(cm.stopped)
			<-cm.done
			if cm.node != victim && cm.err != nil {
				t.Errorf("commits on %s, which lives: %v", cm.node.name, cm.err)
			}
			if cm.node == victim && cm.err == nil {
				t.Error("the victim's client saw no end")
			}
		}
		checkCommits(t, all, drainTyped(t, c.others(victim)[0], queues[0]), drainTyped(t, c.others(victim)[0], queues[1]))
		victim.start(t)
		victim.waitReady(t)
	}
}

func awaitCommits(t testing.TB, all []*committer, more int) {
	t.Helper()
	for _, cm := range all {
		target := cm.progress() + more
		eventually(t, "commits on "+cm.node.name, func() error {
			select {
			case <-cm.done:
				return errors.Join(errors.New("it ended"), cm.err)
			default:
			}
			if n := cm.progress(); n < target {
				return fmt.Errorf("%d commits, want %d", n, target)
			}
			return nil
		})
	}
}

// drainTyped counts the messages of a queue by type and number.
func drainTyped(t testing.TB, n *node, queue string) map[string]int {
	t.Helper()
	ch := open(t, n)
	count, _ := depth(t, ch, queue)
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for range count {
		d := receive(t, "delivery", deliveries)
		counts[d.Type+" "+d.MessageId]++
	}
	return counts
}

// checkCommits judges what both queues held.
func checkCommits(t testing.TB, all []*committer, a, b map[string]int) {
	t.Helper()
	for _, cm := range all {
		for number := 1; number <= cm.begun; number++ {
			key := fmt.Sprintf("%s %d", cm.node.name, number)
			whole := a[key] == perTransaction && b[key] == perTransaction
			none := a[key] == 0 && b[key] == 0
			if !whole && (!none || number <= cm.committed) {
				t.Errorf("transaction %s (last answered: %d): %d and %d messages, want %d in both queues, or none if it was not answered",
					key, cm.committed, a[key], b[key], perTransaction)
			}
			delete(a, key)
			delete(b, key)
		}
	}
	if len(a)+len(b) > 0 {
		t.Errorf("messages of transactions that were never begun: %v %v", a, b)
	}
}
