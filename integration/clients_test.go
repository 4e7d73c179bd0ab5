package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func clientsDir() string { return filepath.Join(moduleRoot(), "integration", "clients") }

// urlList names the nodes with the default vhost spelled out, for clients that take a
// missing one for "".
func urlList(nodes ...*node) string {
	var urls []string
	for _, n := range nodes {
		urls = append(urls, toolURL(n))
	}
	return strings.Join(urls, ",")
}

// pythonWith finds an interpreter that has a module.
func pythonWith(t testing.TB, module, debian string) string {
	t.Helper()
	for _, path := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(path, "-c", "import "+module).Run() == nil {
			return path
		}
	}
	missing(t, "no python3 with the module %s (on Debian: apt-get install %s)", module, debian)
	return ""
}

// wantChecks wants a client program to have made all its checks.
func wantChecks(t *testing.T, lines []string, n int) {
	t.Helper()
	ok := 0
	for _, l := range lines {
		if strings.HasPrefix(l, "ok ") {
			ok++
		}
	}
	if ok != n || lines[len(lines)-1] != "ok all" {
		t.Errorf("%d checks, want %d:\n%s", ok, n, strings.Join(lines, "\n"))
	}
}

// TestBunny runs what applications do with Ruby's client, on one node and with
// publishers and consumers on different nodes.
func TestBunny(t *testing.T) {
	ruby := needProgram(t, "ruby")
	if exec.Command(ruby, "-e", "require 'bunny'").Run() != nil {
		missing(t, "ruby has no bunny (on Debian: apt-get install ruby-bunny)")
	}
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := sharedCluster(t, size)
			lines := runProgram(t, clientsDir(), []string{"AMQP_URLS=" + urlList(c.node(0), c.node(1))}, ruby, "bunny_client.rb")
			wantChecks(t, lines, 9)
		})
	}
}

// TestKombu runs what applications do with kombu, the library below Celery.
func TestKombu(t *testing.T) {
	py := pythonWith(t, "kombu", "python3-kombu")
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := sharedCluster(t, size)
			lines := runProgram(t, clientsDir(), []string{"AMQP_URLS=" + urlList(c.node(0), c.node(1))}, py, "-B", "kombu_client.py")
			wantChecks(t, lines, 7)
		})
	}
}

// TestCelery: a worker that acknowledges late runs a thousand tasks, some of which fail
// and are retried and some of which wait for their time, while the node that it is connected
// to, the leader, is killed. Every result comes; what a task does is done once, and
// again only for those that the worker held when it lost its connection.
func TestCelery(t *testing.T) {
	t.Parallel()
	py := pythonWith(t, "celery", "python3-celery")
	c := startCluster(t, 3)
	leader := c.leader(t)
	rest := c.others(leader)
	const total = 1000
	effects := filepath.Join(t.TempDir(), "effects")
	env := func(nodes ...*node) []string {
		return []string{"AMQP_URLS=" + urlList(nodes...), "EFFECTS=" + effects, "TASK_QUEUE=tasks", fmt.Sprint("TASKS=", total)}
	}
	ch := open(t, rest[0])
	if _, err := ch.QueueDeclare("tasks", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	worker := startProgram(t, clientsDir(), env(leader, rest[0], rest[1]), py, "-B", "-m", "celery", "-A", "celery_app", "worker", "--loglevel", "WARNING")
	wantConsumers(t, ch, "tasks", 1)
	driver := startProgram(t, clientsDir(), env(rest[1], rest[0]), py, "-B", "celery_drive.py")
	driver.waitOutput(t, "a quarter done")
	held := unacknowledged(t, rest[0], "tasks")
	leader.kill(t)
	driver.waitOutput(t, "all results")
	if _, err := driver.wait(t); err != nil {
		t.Error(err)
	}
	if _, err := worker.wait(t); err != nil {
		t.Logf("the worker ended with %v", err)
	}
	text, err := os.ReadFile(effects)
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]int{}
	for line := range strings.Lines(string(text)) {
		done[strings.TrimSpace(line)]++
	}
	again := 0
	for n := range total {
		kind := []string{"plain", "plain", "plain", "flaky", "later"}[n%5]
		count := done[fmt.Sprintf("%s %d", kind, n)]
		if count == 0 {
			t.Errorf("%s task %d was not done", kind, n)
		}
		again += max(count-1, 0)
	}
	// It does what it holds although it can no longer acknowledge that, and takes a few
	// more between the look and the kill.
	if most := held + 8; again > most {
		t.Errorf("%d tasks were done twice, the worker held about %d", again, most)
	}
	if len(done) != total {
		t.Errorf("%d different tasks were done of %d", len(done), total)
	}
	t.Logf("%d tasks, %d of them twice", total, again)
}

// unacknowledged is how many messages of a queue are with consumers.
func unacknowledged(t testing.TB, n *node, queue string) int {
	t.Helper()
	var q struct {
		Unacknowledged int `json:"messages_unacknowledged"`
	}
	if err := n.getJSON("/api/queues/%2F/"+queue, &q); err != nil {
		t.Fatal(err)
	}
	return q.Unacknowledged
}
