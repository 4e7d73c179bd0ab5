package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"warren/integration/proc"
)

// TestRollingUpgrade replaces the processes of a cluster, one after the other and under load, by those of this
// code. They were of the last commit with the version of the state machine before. What is new is refused while
// not all know it, and works when they do; nothing that was confirmed is lost, doubled or out of order.
//
// row: 1.6 mixed versions
func TestRollingUpgrade(t *testing.T) {
	skipWithPeer(t)
	c, err := newCluster(filepath.Join(buildBefore(t), "warren"), executable(t, "warrenctl"), 3, options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	for _, n := range c.nodes {
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
		n.bin = executable(t, "warren")
		n.start(t)
		n.waitReady(t)
		if i == len(order)-1 {
			break
		}
		out, err := setGlobalParameter(n)
		if err == nil || !strings.Contains(err.Error()+out, "the cluster is being upgraded") {
			t.Errorf("with %d of 3 nodes upgraded: %v %s", i+1, err, out)
		}
	}
	for _, n := range c.nodes {
		eventually(t, "what is new on "+n.name, func() error { _, err := setGlobalParameter(n); return err })
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

func setGlobalParameter(n *node) (string, error) {
	out, err := proc.API{Addr: n.http}.Do("PUT", "/api/global-parameters/colour", `{"value":"red"}`)
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

var machineVersion = regexp.MustCompile(`(?m)^const Version = \d+$`)

// buildBefore builds the last commit with another version of the state machine than this code has.
func buildBefore(t *testing.T) (bin string) {
	t.Helper()
	const file = "fsm/upgrade.go"
	root := proc.ModuleRoot()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = root
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, exit.Stderr)
		} else if err != nil {
			t.Fatalf("git %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	commits := strings.Fields(git("log", "--format=%H", "-S"+string(machineVersion.Find(text)), "--", file))
	if len(commits) == 0 {
		t.Fatalf("git does not know where %q came into %s: is its history cut off?", machineVersion.Find(text), file)
	}
	source, bin := t.TempDir(), t.TempDir()
	git("worktree", "add", "--detach", filepath.Join(source, "before"), commits[len(commits)-1]+"^")
	t.Cleanup(func() { git("worktree", "remove", "--force", filepath.Join(source, "before")) })
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin+"/", "./cmd/warren")
	build.Dir, build.Env = filepath.Join(source, "before"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", commits[len(commits)-1]+"^", err, out)
	}
	return bin
}
