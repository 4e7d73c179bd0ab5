package integration

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// TestLargeBacklog fills a queue, kills a node and starts it again, wipes another
// one, which gets all from the others while they have other traffic, and drains the
// queue: every confirmed message is there, in order, once, memory is bounded
// all the time, and the disk is free again in the end. WARREN_BACKLOG=5000000 does it with
// so many messages of 1 KiB and the default settings.
func TestLargeBacklog(t *testing.T) {
	t.Parallel()
	const usual, memory = 5000, 1 << 30
	var o options
	segment := int64(64 << 20)
	messages, size := setNumber(t, "WARREN_BACKLOG", usual), 1<<10
	if messages == usual {
		segment, size = 1<<20, 16<<10 // more than the log that is kept for a node that lags
		o.args = []string{"--message-memory", "2MiB", "--snapshot-bytes", "1MiB", "--segment-bytes", "1MiB"}
	}
	b := &backlogRun{cluster: startClusterWith(t, 3, o), report: newReport(t, fmt.Sprintf("A backlog of %d messages of %d bytes on three nodes", messages, size)),
		messages: messages, size: size, memory: memory}
	p := b.fill(t)
	b.restart(t)
	b.replace(t)
	b.drain(t, p)
	b.wantDiskFree(t, segment+segment/4)
}

// A backlogRun is the cluster in which a backlog stands.
type backlogRun struct {
	cluster        *cluster
	report         *report
	messages, size int
	memory         int64 // that a node may have resident at most
}

// fill fills the queue; the program that did so waits to drain it.
func (b *backlogRun) fill(t *testing.T) *program {
	t.Helper()
	var uris []string
	for _, n := range b.cluster.nodes {
		uris = append(uris, n.url)
	}
	b.report.row("what", "took", "peak memory of the nodes, MiB", "disk: log + messages, MiB")
	b.report.row("---", "---:", "---", "---")
	begin := time.Now()
	p := startProgram(t, "", nil, executable(t, "warrenperf"), "backlog", "--uris", strings.Join(uris, ","), "--queue", "backlog",
		"--messages", fmt.Sprint(b.messages), "--producers", "2", "--consumers", "2", "--size", fmt.Sprint(b.size), "--confirm", "1000", "--qos", "2000",
		"--multi-ack-every", "100", "--quorum-queue", "--flag", "persistent", "--verify", "--quiet", "--pause", "--idle-timeout", "60s")
	p.waitOutput(t, "The backlog stands")
	took := time.Since(begin)
	b.row(t, fmt.Sprintf("fill, %d messages/s", int(float64(b.messages)/took.Seconds())), took)
	return p
}

// row writes what the nodes take, and judges their memory.
func (b *backlogRun) row(t *testing.T, what string, took time.Duration) {
	t.Helper()
	var peaks, disks []string
	for _, n := range b.cluster.nodes {
		peak, err := n.peakMemory()
		if err != nil {
			t.Fatal(err)
		}
		if peak > b.memory {
			t.Errorf("%s: %s had %d MiB resident, more than %d", what, n.name, peak>>20, b.memory>>20)
		}
		peaks = append(peaks, fmt.Sprint(peak>>20))
		disks = append(disks, n.diskUse(t).String())
	}
	b.report.row(what, seconds(took), strings.Join(peaks, ", "), strings.Join(disks, ", "))
}

// restart kills a follower and starts it again.
func (b *backlogRun) restart(t *testing.T) {
	t.Helper()
	n := b.cluster.others(b.cluster.leader(t))[0]
	n.kill(t)
	begin := time.Now()
	n.start(t)
	n.waitReady(t)
	b.row(t, "a killed node serves again", time.Since(begin))
}

// replace wipes a follower, which comes back as a new node, while traffic goes on.
func (b *backlogRun) replace(t *testing.T) {
	t.Helper()
	c := b.cluster
	victim := c.others(c.leader(t))[1]
	before, err := victim.info()
	if err != nil {
		t.Fatal(err)
	}
	rest := c.others(victim)
	traffic := startFlow(t, c, rest[0], rest[1])
	flows := []*flow{traffic}
	progress(t, flows, 100)
	traffic.pub.silence()
	victim.kill(t)
	victim.wipe(t)
	confirms, begin := traffic.pub.count(), time.Now()
	victim.start(t)
	const long = 10 * time.Minute
	if err := waitFor(long, victim.tryClient); err != nil {
		t.Fatalf("%s is not ready: %v\n%s", victim.name, err, victim.logTail())
	}
	goal := waitApplied(t, c.leader(t))
	err = waitFor(long, func() error {
		info, err := victim.info()
		if err == nil && info.AppliedIndex < goal {
			err = fmt.Errorf("%d of %d entries applied", info.AppliedIndex, goal)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s does not catch up: %v", victim.name, err)
	}
	took := time.Since(begin)
	during := traffic.pub.count() - confirms
	progress(t, flows, 100)
	silence := traffic.pub.silence()
	traffic.finish(t)
	for _, err := range traffic.check(loss{}) {
		t.Errorf("the traffic meanwhile: %v", err)
	}
	b.row(t, fmt.Sprintf("a wiped node has all again; %d other messages/s meanwhile, longest silence %v",
		int(float64(during)/took.Seconds()), silence.Round(time.Millisecond)), took)
	if info, err := victim.info(); err != nil || info.NodeID == before.NodeID {
		t.Errorf("not a new node: %+v, %v", info, err)
	}
	if b.messages*b.size > logKept {
		wantInstalled(t, c, victim, 0)
	}
	eventually(t, "the dead node is forgotten", func() error {
		if out, err := rest[0].tryCtl("forget_cluster_node", before.NodeID); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// drain lets the program go on, and wants what it has verified.
func (b *backlogRun) drain(t *testing.T, p *program) {
	t.Helper()
	begin := time.Now()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		t.Fatal(err)
	}
	p.waitOutput(t, "verified:")
	b.row(t, "drain", time.Since(begin))
	<-p.done
	if p.err != nil || p.count(" 0 lost, 0 duplicates, 0 out of order") != 1 {
		t.Errorf("backlog: %v\n%s", p.err, strings.Join(p.output(), "\n"))
	}
	b.report.line("\n```\n%s\n```\n", strings.Join(p.output(), "\n"))
}

// wantDiskFree waits until the files of messages are about gone.
func (b *backlogRun) wantDiskFree(t *testing.T, most int64) {
	t.Helper()
	begin := time.Now()
	var last string
	err := waitFor(10*time.Minute, func() error {
		var uses []string
		var err error
		for _, n := range b.cluster.nodes {
			use := n.diskUse(t)
			uses = append(uses, use.String())
			if use.messages > most {
				err = fmt.Errorf("%s has %v MiB", n.name, use)
			}
		}
		last = strings.Join(uses, ", ")
		return err
	})
	if err != nil {
		t.Errorf("the disk is not free again: %v", err)
	}
	b.report.line("Disk %s behind the drain: log + messages, MiB: %s.", seconds(time.Since(begin)), last)
}
