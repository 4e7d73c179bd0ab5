package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBacklogOnDisk queues many times what messages may take in memory, with
// snapshots and segments of messages so small that they come and go all the
// time, and kills nodes meanwhile: one after the other, then all at once. Then one
// is wiped and gets everything from the others. Every confirmed message is
// there, in order, once, whichever node is asked.
func TestBacklogOnDisk(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{
		"--message-memory", "2MiB", "--snapshot-bytes", "1MiB", "--segment-bytes", "1MiB"}})
	var publishers []*loadPublisher
	for i, n := range c.nodes {
		p := &loadPublisher{cluster: c, queue: fmt.Sprintf("%s-%d", t.Name(), i), node: n, history: newHistory(),
			pad: strings.Repeat("x", 1000)}
		if _, err := open(t, n).QueueDeclare(p.queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		publishers = append(publishers, p)
	}
	more := func(n uint64) {
		t.Helper()
		for _, p := range publishers {
			from := p.count()
			eventually(t, "confirms", func() error {
				if got := p.count() - from; got < n {
					return fmt.Errorf("%s: %d of %d", p.queue, got, n)
				}
				return nil
			})
		}
	}
	more(3000)
	for _, n := range []*node{c.leader(t), c.node(0), c.node(1)} {
		n.kill(t)
		more(1000)
		n.start(t)
		n.waitReady(t)
		more(1000)
	}
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	more(1000)
	for _, p := range publishers {
		p.stop()
	}

	victim := c.others(c.leader(t))[0]
	victim.kill(t)
	victim.wipe(t)
	began := time.Now()
	victim.start(t)
	victim.waitReady(t)
	t.Logf("a wiped node served again after %v", time.Since(began).Round(time.Millisecond))
	for i, p := range publishers {
		from := c.node(i)
		if i == 0 {
			from = victim
		}
		arrivals := drainQueue(t, from, p.queue)
		t.Logf("%s: %d messages confirmed, %d drained on %s", p.queue, p.count(), len(arrivals), from.name)
		wantConfirmed(t, p, arrivals)
		for _, err := range checkArrivals(arrivals, p.published, p.repeated, false) {
			t.Errorf("%s: %v", p.queue, err)
		}
	}
}
