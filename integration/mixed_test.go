package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// mixedLife says how long, and how much.
type mixedLife struct {
	args     []string      // of the nodes
	rounds   int           // at least so many …
	time     time.Duration // … and at least so long
	messages int           // through the busy queue, a round
	size     int           // bytes of each
	old      int           // into the queue that nobody consumes, a round
	most     diskUse       // what a node's files may take, however much went through
}

// TestMixedLife: a queue that gets a message now and then, which nobody consumes,
// beside one with heavy traffic. The old messages stand between those that went,
// in the log and on disk; disk use must not grow with the traffic, nor the time
// of a restart. WARREN_MIXED=10m runs it for so long, with the default settings.
//
// row: 1.6 log and disk
func TestMixedLife(t *testing.T) {
	t.Parallel()
	m := mixedLife{
		args:   []string{"--message-memory", "2MiB", "--snapshot-bytes", "1MiB", "--segment-bytes", "1MiB"},
		rounds: 4, messages: 6000, size: 16 << 10, old: 100,
		// The log is kept in files of 64 MiB, and 64 MiB of it for nodes that lag.
		most: diskUse{log: 260 << 20, messages: 32 << 20},
	}
	if text := os.Getenv("WARREN_MIXED"); text != "" {
		long, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("WARREN_MIXED: %v", err)
		}
		m = mixedLife{rounds: 9, time: long, messages: 500_000, size: 1 << 10, old: 500,
			most: diskUse{log: 512 << 20, messages: 512 << 20}}
	}
	m.live(t)
}

func (m mixedLife) live(t *testing.T) {
	const old, busy = "old", "busy"
	c := startClusterWith(t, 3, options{args: m.args})
	if _, err := open(t, c.node(0)).QueueDeclare(old, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	r := newReport(t, "Old messages beside heavy traffic")
	r.row("round", "after", "through the busy queue, MB", "old messages", "disk: log + messages, MiB", "restart of", "served again after")
	r.row("---:", "---:", "---:", "---:", "---", "---", "---:")
	var restarts []time.Duration
	stored := 0
	begin := time.Now()
	for round := 0; round < m.rounds || time.Since(begin) < m.time; round++ {
		stored += m.traffic(t, c, old, busy, stored)
		passed := int64(round+1) * int64(m.messages) * int64(m.size)
		var uses []string
		for _, n := range c.nodes {
			use := n.diskUse(t)
			uses = append(uses, use.String())
			if use.log > m.most.log || use.messages > m.most.messages {
				t.Errorf("%s has %v MiB on disk after %d MB of traffic, more than %v", n.name, use, passed/1e6, m.most)
			}
		}
		victim := c.node(round)
		victim.kill(t)
		restart := time.Now()
		victim.start(t)
		victim.waitReady(t)
		restarts = append(restarts, time.Since(restart))
		r.row(round+1, time.Since(begin).Round(time.Second), passed/1e6, stored, strings.Join(uses, ", "), victim.name, seconds(restarts[round]))
	}
	if passed := int64(len(restarts)) * int64(m.messages) * int64(m.size); passed < m.most.log {
		t.Errorf("%d MB of traffic cannot show that no more than %v MiB are kept", passed/1e6, m.most)
	}
	wantSteady(t, restarts)
	arrivals := drainQueue(t, c.node(0), old)
	for _, err := range checkArrivals(arrivals, uint64(stored), nil, false) {
		t.Error(err)
	}
	if len(arrivals) != stored {
		t.Errorf("%d of %d old messages are there", len(arrivals), stored)
	}
}

// traffic sends a round of messages through the busy queue, with some for the old
// one between, each confirmed before the next. It returns how many.
func (m mixedLife) traffic(t *testing.T, c *cluster, old, busy string, stored int) (more int) {
	t.Helper()
	var uris []string
	for _, n := range c.nodes {
		uris = append(uris, n.url)
	}
	p := startProgram(t, "", nil, executable(t, "warrenperf"), "--uris", strings.Join(uris, ","), "--queue", busy, "--quorum-queue",
		"--flag", "persistent", "--producers", "2", "--consumers", "2", "--size", fmt.Sprint(m.size), "--confirm", "500",
		"--qos", "1000", "--multi-ack-every", "50", "--pmessages", fmt.Sprint(m.messages/2), "--verify", "--quiet")
	ch := open(t, c.node(stored))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for running := true; running && more < m.old; more++ {
		confirmed(t, ch, "", old, amqp.Publishing{DeliveryMode: amqp.Persistent,
			Headers: amqp.Table{"pad": strings.Repeat("x", 1000)}, Body: strconv.AppendInt(nil, int64(stored+more+1), 10)})
		select {
		case <-p.done:
			running = false
		default:
		}
	}
	const verified = "verified:"
	p.waitOutput(t, verified)
	<-p.done
	if p.err != nil || p.count(" 0 lost, 0 duplicates") != 1 {
		t.Fatalf("traffic: %v\n%s", p.err, strings.Join(p.output(), "\n"))
	}
	return more
}

// wantSteady wants the later restarts to take no longer than the first ones, as far
// as there are enough to tell.
func wantSteady(t *testing.T, restarts []time.Duration) {
	t.Helper()
	const enough, slack = 9, 2 * time.Second
	if len(restarts) < enough {
		return
	}
	third := len(restarts) / 3
	middle := func(d []time.Duration) time.Duration {
		d = slices.Sorted(slices.Values(d))
		return d[len(d)/2]
	}
	first, last := middle(restarts[:third]), middle(restarts[len(restarts)-third:])
	if last > 2*first+slack {
		t.Errorf("a restart took %v in the beginning and %v in the end", first, last)
	}
}
