package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"warren/integration/proc"
)

// TestRollingUpgrade replaces the processes of a cluster, one after the other and under load, by those of this
// code. They were of the last commit with an older version of the state machine. What is new is refused while
// not all know it, and works when they do; nothing that was confirmed is lost, doubled or out of order.
//
// row: 1.6 mixed versions
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	skipWithPeer(t)
	c, err := newCluster(filepath.Join(buildBefore(t), "warren"), executable(t, "warrenctl"), 3, options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	args := make(map[*node][]string)
	for _, n := range c.nodes {
		args[n] = n.args
		n.args = withoutFlag(n.args, "--metrics-addr") // the one before has no such setting
		n.start(t)
	}
	c.waitReady(t)
	var publishers []*loadPublisher
	for _, n := range c.nodes {
		queue := t.Name() + "-" + n.name
		if _, err := open(t, n).QueueDeclare(queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		p := &loadPublisher{cluster: c, queue: queue, node: n, history: newHistory()}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		publishers = append(publishers, p)
	}

	leader := c.leader(t)
	order := append(c.others(leader), leader)
	for i, n := range order {
		wantMore(t, publishers)
		n.stop(t)
		n.bin, n.args = executable(t, "warren"), args[n]
		n.start(t)
		n.waitReady(t)
		if i == len(order)-1 {
			break
		}
		out, err := declareEvents(n)
		if err == nil || !strings.Contains(err.Error()+out, "reserved prefix") {
			t.Errorf("with %d of 3 nodes upgraded: %v %s", i+1, err, out)
		}
	}
	for _, n := range c.nodes {
		eventually(t, "what is new on "+n.name, func() error { _, err := declareEvents(n); return err })
	}
	wantMore(t, publishers)
	for i, p := range publishers {
		p.stop()
		arrivals := drainQueue(t, c.node(i+1), p.queue)
		wantConfirmed(t, p, arrivals)
		for _, err := range checkArrivals(arrivals, p.published, p.repeated, false) {
			t.Errorf("%s: %v", p.queue, err)
		}
	}
}

// withoutFlag leaves out a flag and its value.
func withoutFlag(args []string, flag string) []string {
	i := slices.Index(args, flag)
	if i < 0 {
		return args
	}
	return slices.Delete(slices.Clone(args), i, i+2)
}

// declareEvents does what is new in version 4 of the state machine.
func declareEvents(n *node) (string, error) {
	out, err := proc.API{Addr: n.http}.Do("PUT", "/api/exchanges/%2F/amq.rabbitmq.event", `{"type":"topic","durable":true,"internal":true}`)
	return string(out), err
}

// wantMore waits until each publisher has some hundred confirms more than now.
func wantMore(t *testing.T, publishers []*loadPublisher) {
	t.Helper()
	for _, p := range publishers {
		want := p.count() + 300
		eventually(t, "confirms", func() error {
			if p.count() < want {
				return fmt.Errorf("%d confirms", p.count())
			}
			return nil
		})
	}
}

// buildBefore builds the server that a cluster is upgraded from.
func buildBefore(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	what, err := proc.BuildBefore(bin, filepath.Join(t.TempDir(), "before"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the version before: %s", what)
	return bin
}
