package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// retrying are the arguments of a queue whose messages wait when they come back.
func retrying(kind string, least, most int32) amqp.Table {
	args := amqp.Table{"x-delayed-retry-type": kind, "x-delayed-retry-min": least}
	if most > 0 {
		args["x-delayed-retry-max"] = most
	}
	return args
}

// retrySemantics: messages that come back wait before they are given out again.
var retrySemantics = []semantic{
	// row: 1.5 x-delayed-retry
	{"a rejected message waits, longer each time, and goes back to its place", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), retrying("all", 300, 500))
		there := open(t, c.node(1))
		if err := there.Qos(1, 0, false); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "poison")
		publish(t, ch, q, "good")
		from := patient(t, there, q)
		var rejected time.Time
		for try, least := range []time.Duration{0, 300, 500} { // twice 300 is above the most
			d := next(t, from, "poison")
			// The clock of the log may be some milliseconds ahead of ours.
			if passed := time.Since(rejected); try > 0 && passed < (least-20)*time.Millisecond {
				t.Errorf("try %d came after %v, want %v ms", try, passed, least)
			}
			if got, _ := d.Headers["x-delivery-count"].(int64); got != int64(try) {
				t.Errorf("try %d: x-delivery-count %v", try, d.Headers["x-delivery-count"])
			}
			rejected = time.Now()
			if err := d.Reject(true); err != nil {
				t.Fatal(err)
			}
			if try == 0 { // the next one is not held up
				if err := next(t, from, "good").Ack(false); err != nil {
					t.Fatal(err)
				}
				wantDelayed(t, c.node(2), q, 1)
			}
		}
		wantDelayed(t, c.node(0), q, 1)
		if out := c.node(1).ctl(t, "--quiet", "browse", q, "--state", "delayed", "state", "payload"); !strings.Contains(out, "delayed") || !strings.Contains(out, "poison") {
			t.Errorf("it is not seen: %s", out)
		}
		if n, err := ch.QueuePurge(q, false); err != nil || n != 1 {
			t.Errorf("purge of what waits: %d, %v", n, err)
		}
		wantDelayed(t, c.node(1), q, 0)
	}},
	// row: 1.5 x-delayed-retry
	{"what waits stands before what was published after it", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), retrying("all", 200, 0))
		publish(t, ch, q, "first")
		if err := get(t, ch, q, "first").Nack(false, true); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "second")
		wantDelayed(t, c.node(1), q, 1)
		wantDepth(t, ch, q, 2) // the time is over
		there := open(t, c.node(1))
		get(t, there, q, "first")
		get(t, there, q, "second")
	}},
	// row: 1.5 x-delayed-retry
	{"the types of delayed retry", func(t *testing.T, c *cluster) {
		hour := int32(3_600_000)
		for _, one := range []struct {
			kind           string
			reject, nack   int // messages that wait
			closed, inTime int
		}{
			{"disabled", 0, 0, 0, 0},
			{"all", 1, 1, 1, 1},
			{"failed", 1, 0, 1, 0},
			{"returned", 0, 1, 0, 1},
		} {
			ch := open(t, c.node(0))
			args := retrying(one.kind, hour, 0)
			args["x-consumer-timeout"] = briefly
			q := declare(t, ch, c.node(0), args)
			try := func(what string, want int, giveBack func(amqp.Delivery, *amqp.Channel) error) {
				t.Helper()
				there := open(t, c.node(1))
				publish(t, ch, q, "m")
				if err := giveBack(next(t, consume(t, there, q), "m"), there); err != nil {
					t.Fatal(err)
				}
				_ = there.Close()
				eventually(t, fmt.Sprintf("%s of type %s", what, one.kind), func() error {
					ready, waits, err := readyAndDelayed(c.node(1), q)
					if err != nil || waits != want || ready != 1-want {
						return fmt.Errorf("%d ready and %d waiting, want %d to wait, %v", ready, waits, want, err)
					}
					return nil
				})
				if _, err := ch.QueuePurge(q, false); err != nil {
					t.Fatal(err)
				}
			}
			try("reject", one.reject, func(d amqp.Delivery, there *amqp.Channel) error {
				if err := there.Cancel(d.ConsumerTag, false); err != nil {
					return err
				}
				return d.Reject(true)
			})
			try("nack", one.nack, func(d amqp.Delivery, there *amqp.Channel) error {
				if err := there.Cancel(d.ConsumerTag, false); err != nil {
					return err
				}
				return d.Nack(false, true)
			})
			try("close", one.closed, func(d amqp.Delivery, there *amqp.Channel) error { return there.Close() })
			try("timeout", one.inTime, func(d amqp.Delivery, there *amqp.Channel) error {
				receive(t, "cancel", there.NotifyCancel(make(chan string, 1)))
				return nil
			})
		}
	}},
	// row: 1.5 x-delayed-retry; 1.7 operator policies
	{"policies set delayed retry", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		name := unique(t)
		c.node(1).ctl(t, "set_policy", name, "^"+regexp.QuoteMeta(q), `{"delayed-retry-type": "failed", "delayed-retry-min": 3600000}`, "--apply-to", "queues")
		c.node(2).ctl(t, "set_operator_policy", name, "^"+regexp.QuoteMeta(q), `{"delayed-retry-max": 100}`, "--apply-to", "queues")
		defer c.node(0).ctl(t, "clear_operator_policy", name)
		publish(t, ch, q, "m")
		begin := time.Now()
		if err := get(t, ch, q, "m").Reject(true); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 1)
		if passed := time.Since(begin); passed < 80*time.Millisecond {
			t.Errorf("it was there after %v", passed)
		}
		c.node(1).ctl(t, "clear_policy", name)
		if err := get(t, ch, q, "m").Reject(true); err != nil {
			t.Fatal(err)
		}
		get(t, ch, q, "m") // at once
	}},
	// row: 1.5 x-delayed-retry; 1.5 x-delivery-limit
	{"arguments of delayed retry that are refused", func(t *testing.T, c *cluster) {
		for _, bad := range []struct {
			name, reason string
			value        any
		}{
			{"x-delayed-retry-type", "invalid_delayed_retry_type", "sometimes"},
			{"x-delayed-retry-min", "{value_negative,-1}", int32(-1)},
			{"x-delayed-retry-max", `"expected integer, got longstr"`, "long"},
		} {
			name := unique(t)
			_, err := open(t, c.node(1)).QueueDeclare(name, true, false, false, false, amqp.Table{bad.name: bad.value})
			refusal(t, err, amqp.PreconditionFailed, fmt.Sprintf("PRECONDITION_FAILED - invalid arg '%s' for queue '%s' in vhost '/': %s", bad.name, name, bad.reason))
		}
	}},
	// row: 1.6 poison messages; 1.5 x-delayed-retry
	{"a poison message does not take the throughput", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), retrying("failed", 1000, 0))
		publish(t, ch, q, "poison")
		const good = 1000
		for i := range good {
			publish(t, ch, q, fmt.Sprint(i))
		}
		there := open(t, c.node(1))
		if err := there.Qos(1, 0, false); err != nil {
			t.Fatal(err)
		}
		// With a prefetch of one each try of the poison would be in place of a good message.
		begin, tries, done := time.Now(), 0, 0
		for from := patient(t, there, q); done < good; {
			d := receive(t, "delivery", from)
			if string(d.Body) == "poison" {
				tries++
				if err := d.Reject(true); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if string(d.Body) != fmt.Sprint(done) {
				t.Fatalf("%s came in place %d", d.Body, done)
			}
			done++
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
		}
		if most := 1 + int(time.Since(begin)/time.Second); tries < 1 || tries > most {
			t.Errorf("the poison was tried %d times in %v", tries, time.Since(begin))
		}
	}},
}

func readyAndDelayed(n *node, queue string) (ready, waits int, err error) {
	var q struct {
		Ready    int `json:"messages_ready"`
		Delayed  int `json:"messages_delayed"`
		Unacked  int `json:"messages_unacknowledged"`
		Messages int `json:"messages"`
	}
	err = n.getJSON("/api/queues/%2F/"+queue, &q)
	if err == nil && q.Messages != q.Ready+q.Delayed+q.Unacked {
		err = fmt.Errorf("%d messages are counted as %+v", q.Messages, q)
	}
	return q.Ready, q.Delayed, err
}

// wantDelayed waits until so many messages of a queue wait because they came back.
func wantDelayed(t testing.TB, n *node, queue string, want int) {
	t.Helper()
	eventually(t, "delayed messages of "+queue, func() error {
		if _, got, err := readyAndDelayed(n, queue); err != nil || got != want {
			return fmt.Errorf("%d are delayed, want %d, %v", got, want, err)
		}
		return nil
	})
}

// TestRetriesOutliveFaults: messages that wait are there, in their order, when the leader was killed meanwhile and
// after all nodes were, with most of them on disk.
//
// row: 1.5 x-delayed-retry; 1.6 poison messages
func TestRetriesOutliveFaults(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--message-memory", "1MiB", "--snapshot-bytes", "1MiB"}})
	leader := c.leader(t)
	home := c.others(leader)[0]
	ch := open(t, home)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const count, hour = 250, int32(3_600_000)
	for name, least := range map[string]int32{"soon": 2000, "late": hour} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, retrying("all", least, 0)); err != nil {
			t.Fatal(err)
		}
		for i := range count {
			confirmed(t, ch, "", name, numbered(i, 12_000))
		}
		there := open(t, home)
		from := patient(t, there, name)
		for i := range count {
			d := receive(t, "delivery", from)
			if i%2 == 0 {
				continue
			}
			if err := d.Nack(false, true); err != nil {
				t.Fatal(err)
			}
		}
		if name == "late" { // the rest fails with the channel
			_ = there.Close()
		}
	}
	leader.kill(t)
	wantDelayed(t, home, "late", count)
	fillPastSnapshot(t, c.leader(t), ch, "filler", 0)
	leader.start(t)
	leader.waitReady(t)
	wantDelayed(t, leader, "late", count)

	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	there := open(t, leader)
	wantDelayed(t, leader, "late", count)
	wantDepth(t, there, "late", 0)
	wantDepth(t, there, "soon", count)
	from := patient(t, there, "soon")
	for i := range count {
		if d := receive(t, "delivery", from); numberOf(d) != i || !d.Redelivered {
			t.Fatalf("message %d came in place %d, redelivered %v", numberOf(d), i, d.Redelivered)
		}
	}
	if n, err := there.QueuePurge("late", false); err != nil || n != count {
		t.Errorf("purged %d, %v", n, err)
	}
}
