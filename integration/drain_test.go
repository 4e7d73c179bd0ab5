package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"warren/integration/proc"
)

// TestRollingRestart restarts all nodes of a cluster by deploy/rolling-restart.sh, under load. Clients are told to go by the node that is
// drained, and see no other error; leadership moves once. Nothing that was confirmed is lost.
//
// row: 1.6 maintenance
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	// Only a leader that hands over is followed this fast: an election that nobody called for would show as a silence, and in the term.
	c := startClusterWith(t, 3, options{args: []string{"--heartbeat-timeout", "20s", "--election-timeout", "20s"}})
	flows := startFlows(t, c)
	homes := homesOf(flows)
	progress(t, flows, 300)
	reportSilence(t, flows, homes, nil, "before")
	before, err := c.node(0).info()
	if err != nil {
		t.Fatal(err)
	}

	restarts := t.TempDir() // the script asks with a file, and goes on when it is gone
	script := exec.Command("bash", filepath.Join(moduleRoot(), "deploy", "rolling-restart.sh"))
	for _, n := range c.nodes {
		script.Args = append(script.Args, "http://"+n.http)
	}
	script.Env = append(proc.WithoutSettings(os.Environ()), "WARRENCTL="+executable(t, "warrenctl"), "TIMEOUT=60",
		`RESTART=touch "`+restarts+`/$NODE"; while test -e "`+restarts+`/$NODE"; do sleep 0.05; done`)
	ended := make(chan error, 1)
	go func() {
		out, err := script.CombinedOutput()
		t.Logf("%s", out)
		ended <- err
	}()
	var order []*node
	for range c.nodes {
		n := awaitRestart(t, c, restarts, ended)
		progress(t, flows, 200)
		n.stop(t)
		n.start(t)
		if err := os.Remove(filepath.Join(restarts, n.name)); err != nil {
			t.Fatal(err)
		}
		order = append(order, n)
	}
	if err := receive(t, "the end of the script", ended); err != nil {
		t.Fatal(err)
	}
	progress(t, flows, 200)
	reportSilence(t, flows, homesOf(flows), nil, "over the restart of all nodes")
	after, err := c.node(0).info()
	if err != nil {
		t.Fatal(err)
	}
	if order[2].name != before.Leader || after.Term != before.Term+1 {
		t.Errorf("the leader was %s, nodes were restarted in the order %s, %s, %s, and the term went from %d to %d: want the leader last, and one change",
			before.Leader, order[0].name, order[1].name, order[2].name, before.Term, after.Term)
	}
	for _, f := range flows {
		f.finish(t)
	}
	for _, f := range flows {
		for _, err := range append(f.pub.errs, f.con.errs...) {
			if !strings.Contains(err.Error(), "CONNECTION_FORCED - Node was put into maintenance mode") {
				t.Errorf("a client was told %v", err)
			}
		}
		for _, err := range f.check(loss{publisher: true, consumer: true}) {
			t.Error(err)
		}
	}
}

// awaitRestart waits until the script asks for the restart of a node.
func awaitRestart(t *testing.T, c *cluster, dir string, ended <-chan error) (n *node) {
	t.Helper()
	eventually(t, "the script asks for a restart", func() error {
		select {
		case err := <-ended:
			t.Fatalf("the script has ended: %v", err)
		default:
		}
		for _, n = range c.nodes {
			if _, err := os.Stat(filepath.Join(dir, n.name)); err == nil {
				return nil
			}
		}
		return errors.New("it does not")
	})
	return n
}

// TestGrowAndShrink takes a cluster from one node to three, to five and back to three, under load, by the documented commands.
// Clients of the first node notice nothing.
//
// row: 1.6 membership reconciliation
func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	first := c.node(0)
	f := startFlow(t, c, first, first)
	progress(t, []*flow{f}, 200)
	for len(c.nodes) < 5 {
		var added []*node
		for range 2 {
			added = append(added, c.add(t, first))
		}
		for _, n := range added {
			first.ctl(t, "add_member", n.name)
			n.waitReady(t)
		}
		progress(t, []*flow{f}, 200)
	}
	for _, n := range c.nodes[3:] {
		first.ctl(t, "await_online_quorum_plus_one", n.name)
		if out, err := first.tryCtl("forget_cluster_node", n.name); err == nil || !strings.Contains(out, "warrenctl drain "+n.name) {
			t.Errorf("a node that runs was forgotten, or no next step is said: %v\n%s", err, out)
		}
		first.ctl(t, "drain", n.name)
		n.stop(t)
		eventually(t, n.name+" is forgotten", func() error {
			out, err := first.tryCtl("forget_cluster_node", n.name) // until the others have noticed its end they refuse
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		progress(t, []*flow{f}, 200)
	}
	info, err := first.info()
	if err != nil || len(info.Members) != 3 {
		t.Errorf("%d members are left (%v): %+v", len(info.Members), err, info.Members)
	}
	f.finish(t)
	for _, err := range f.check(loss{}) {
		t.Error(err)
	}
	if f.pub.moved+f.con.moved > 0 {
		t.Error("a client had to connect anew")
	}

	// Of three, one may be drained; then the others are needed, and what to do is said.
	c.nodes[1].ctl(t, "drain")
	out, err := first.tryCtl("drain", c.nodes[2].name)
	if err == nil || !strings.Contains(out, c.nodes[1].name+" is drained") || !strings.Contains(out, "--force") {
		t.Errorf("a second node was drained, or no next step is said: %v\n%s", err, out)
	}
	if out, err := first.tryCtl("await_online_quorum_plus_one", "-t", "0.5"); err == nil || !strings.Contains(out, "time is up") {
		t.Errorf("await: %v\n%s", err, out)
	}
	if out := first.ctl(t, "cluster_status"); !strings.Contains(out, "Node: "+c.nodes[1].name+", status: marked for maintenance") {
		t.Errorf("cluster_status:\n%s", out)
	}
	first.ctl(t, "revive", c.nodes[1].name)
	c.nodes[1].waitReady(t)
	first.ctl(t, "await_online_quorum_plus_one")
	// A restart ends it too.
	first.ctl(t, "drain", c.nodes[2].name)
	c.nodes[2].stop(t)
	c.nodes[2].start(t)
	c.nodes[2].waitReady(t)
}

// add starts one more node, which joins through another.
func (c *cluster) add(t *testing.T, through *node) *node {
	t.Helper()
	more, err := newCluster(through.bin, through.ctlBin, 1, options{})
	if err != nil {
		t.Fatal(err)
	}
	n := more.nodes[0]
	n.name = fmt.Sprintf("n%d", len(c.nodes)+1)
	n.args = append(n.args, "--node-name", n.name, "--join", through.clust)
	c.nodes = append(c.nodes, n)
	t.Cleanup(func() { more.end(t.Failed(), t.Logf) })
	n.start(t)
	return n
}
