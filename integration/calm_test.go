package integration

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"warren/integration/proc"
)

// hiccup is for how long the machine may let processes wait before an election says nothing about the nodes: half
// of the time after which a follower misses the leader.
const hiccup = 250 * time.Millisecond

// TestCalmLoad: nobody stands for election while clients make as much load as the machine bears, and nothing is lost, doubled or
// out of order. WARREN_CALM=10m runs it for so long.
func TestCalmLoad(t *testing.T) {
	long := 5 * time.Second
	if text := os.Getenv("WARREN_CALM"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatalf("WARREN_CALM: %v", err)
		}
	}
	c := startCluster(t, 3)
	var uris []string
	for _, n := range c.nodes {
		uris = append(uris, n.url)
	}
	before, err := c.node(0).info()
	if err != nil {
		t.Fatal(err)
	}
	waited := proc.WatchMachine()
	p := startProgram(t, "", nil, executable(t, "warrenperf"), "--uris", strings.Join(uris, ","), "--producers", "2", "--consumers", "2", "--size", "1024",
		"--confirm", "1000", "--qos", "2000", "--multi-ack-every", "100", "--quorum-queue", "--flag", "persistent", "--verify",
		"--time", strconv.Itoa(int(long.Seconds())))
	<-p.done
	out := p.output()
	if p.err != nil || p.count(" 0 lost, 0 duplicates, 0 out of order") != 1 {
		t.Fatalf("%v\n%s", p.err, strings.Join(out, "\n"))
	}
	longest := waited()
	r := newReport(t, "Load without an election")
	r.line("%v: %s. The machine let a process wait for %v at most.", long, out[len(out)-1], longest)
	for _, n := range c.nodes {
		switch after, err := n.info(); {
		case err != nil:
			t.Error(err)
		case after.Term == before.Term && after.Leader == before.Leader:
		case longest > hiccup*proc.Slow:
			t.Logf("%s led in term %d and %s leads in term %d, which says nothing: the machine let a process wait for %v",
				before.Leader, before.Term, after.Leader, after.Term, longest)
		default:
			t.Errorf("nothing had happened, but %s led in term %d and %s leads in term %d; the machine let a process wait for %v at most",
				before.Leader, before.Term, after.Leader, after.Term, longest)
		}
	}
}
