package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A language runs the tutorial programs, which have the same names, arguments
// and output in each language.
type language struct {
	name string
	// command is the program and the arguments that come before its own.
	command func(t testing.TB, name string) (dir string, words []string)
}

// python runs the programs with the system's interpreter, for which Debian
// packages pika.
var python = language{"python", func(t testing.TB, name string) (string, []string) {
	dir := filepath.Join(moduleRoot(), "integration", "tutorial", "python")
	return dir, []string{pythonWithPika(t), "-B", "-u", name + ".py"}
}}

var golang = language{"go", func(t testing.TB, name string) (string, []string) {
	return "", []string{filepath.Join(tutorialBinaries(t), name)}
}}

func pythonWithPika(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"/usr/bin/python3", "python3"} {
		if havePika(path) {
			return path
		}
	}
	missing(t, "no python3 with the module pika (on Debian: apt-get install python3-pika)")
	return ""
}

var tutorialGo struct {
	once sync.Once
	dir  string
	err  error
}

// tutorialBinaries builds the Go programs once.
func tutorialBinaries(t testing.TB) string {
	t.Helper()
	tutorialGo.once.Do(func() {
		tutorialGo.dir, tutorialGo.err = os.MkdirTemp("", "warren-tutorial-")
		if tutorialGo.err == nil {
			tutorialGo.err = goBuild(tutorialGo.dir, "./integration/tutorial/go/...")
		}
	})
	if tutorialGo.err != nil {
		t.Fatalf("build the tutorial: %v", tutorialGo.err)
	}
	return tutorialGo.dir
}

// start starts a program of the tutorial as a client of a node.
func (l language) start(t testing.TB, n *node, name string, args ...string) *program {
	t.Helper()
	dir, words := l.command(t, name)
	return startProgram(t, dir, []string{"AMQP_URL=" + n.url}, words[0], append(words[1:], args...)...)
}

// run runs a program of the tutorial to its end.
func (l language) run(t testing.TB, n *node, name string, args ...string) []string {
	t.Helper()
	dir, words := l.command(t, name)
	return runProgram(t, dir, []string{"AMQP_URL=" + n.url}, words[0], append(words[1:], args...)...)
}

// TestTutorial runs the seven programs of the tutorial with producers and
// consumers in the same and in different languages, on different nodes of three.
func TestTutorial(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t, 3)
	pairs := []struct{ producer, consumer language }{
		{python, python}, {golang, golang}, {python, golang}, {golang, python},
	}
	steps := []struct {
		name string
		run  func(t *testing.T, c *cluster, producer, consumer language)
	}{
		{"hello", tutorialHello},
		{"work_queue", tutorialWorkQueue},
		{"dead_worker", tutorialDeadWorker},
		{"fair_workers", tutorialFairWorkers},
		{"publish_subscribe", tutorialPublishSubscribe},
		{"routing", tutorialRouting},
		{"topics", tutorialTopics},
		{"rpc", tutorialRPC},
	}
	for _, p := range pairs {
		for _, s := range steps {
			t.Run(fmt.Sprintf("%s/%s_to_%s", s.name, p.producer.name, p.consumer.name), func(t *testing.T) {
				freshTutorial(t, c.node(0))
				s.run(t, c, p.producer, p.consumer)
			})
		}
	}
}

// freshTutorial removes what an earlier run of the programs left: they use fixed names.
func freshTutorial(t testing.TB, n *node) {
	t.Helper()
	ch := open(t, n)
	for _, queue := range []string{"hello", "tasks", "task_queue", "rpc_queue"} {
		if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
			t.Fatalf("delete %s: %v", queue, err)
		}
	}
	for _, exchange := range []string{"logs", "direct_logs", "topic_logs"} {
		if err := ch.ExchangeDelete(exchange, false, false); err != nil {
			t.Fatalf("delete %s: %v", exchange, err)
		}
	}
}

func tutorialHello(t *testing.T, c *cluster, producer, consumer language) {
	producer.run(t, c.node(0), "send", "before the receiver")
	receiver := consumer.start(t, c.node(1), "receive")
	receiver.waitLines(t, "received before the receiver", 1)
	producer.run(t, c.node(2), "send")
	receiver.waitLines(t, "received Hello World!", 1)
	if n := receiver.count("received"); n != 2 {
		t.Errorf("%d messages received, want 2", n)
	}
}

// tutorialWorkQueue: without prefetch, tasks go round-robin to two workers.
func tutorialWorkQueue(t *testing.T, c *cluster, producer, consumer language) {
	a := consumer.start(t, c.node(1), "worker", "0.001")
	b := consumer.start(t, c.node(2), "worker", "0.001")
	a.waitLines(t, "waiting", 1)
	b.waitLines(t, "waiting", 1)
	producer.run(t, c.node(0), "new_task", "1.", "2..", "3...", "4....", "5.", "6..")
	a.waitLines(t, "done", 3)
	b.waitLines(t, "done", 3)
	wantDepth(t, open(t, c.node(0)), "tasks", 0)
	wantEachOnce(t, []string{"1.", "2..", "3...", "4....", "5.", "6.."}, a, b)
}

// wantEachOnce wants every task done once, by any of the workers.
func wantEachOnce(t *testing.T, tasks []string, workers ...*program) {
	t.Helper()
	done := map[string]int{}
	for _, w := range workers {
		for _, line := range w.output() {
			if task, ok := strings.CutPrefix(line, "done "); ok {
				done[task]++
			}
		}
	}
	for _, task := range tasks {
		if done[task] != 1 {
			t.Errorf("task %q was done %d times", task, done[task])
		}
	}
	if len(done) != len(tasks) {
		t.Errorf("%d tasks done, want %d", len(done), len(tasks))
	}
}

// tutorialDeadWorker: what a worker had not acknowledged when it died goes to
// the other one.
func tutorialDeadWorker(t *testing.T, c *cluster, producer, consumer language) {
	victim := consumer.start(t, c.node(1), "worker", "1000")
	victim.waitLines(t, "waiting", 1)
	producer.run(t, c.node(0), "new_task", "long task.", "another.")
	victim.waitLines(t, "received long task.", 1)
	heir := consumer.start(t, c.node(2), "worker", "0.001")
	heir.waitLines(t, "waiting", 1)
	if n := heir.count("received"); n != 0 {
		t.Fatalf("the second worker got %d tasks that the first one holds", n)
	}
	victim.kill()
	heir.waitLines(t, "done long task.", 1)
	heir.waitLines(t, "done another.", 1)
}

// tutorialFairWorkers: with a prefetch count of 1 the faster of two workers does
// more, and a task is persistent.
func tutorialFairWorkers(t *testing.T, c *cluster, producer, consumer language) {
	slow := consumer.start(t, c.node(1), "fair_worker", "0.5")
	fast := consumer.start(t, c.node(2), "fair_worker", "0.001")
	slow.waitLines(t, "waiting", 1)
	fast.waitLines(t, "waiting", 1)
	var tasks []string
	for i := range 20 {
		tasks = append(tasks, fmt.Sprintf("task-%d.", i))
	}
	producer.run(t, c.node(0), "new_durable_task", tasks...)
	eventually(t, "all tasks done", func() error {
		if n := slow.count("done") + fast.count("done"); n < len(tasks) {
			return fmt.Errorf("%d of %d done", n, len(tasks))
		}
		return nil
	})
	if s, f := slow.count("done"), fast.count("done"); s == 0 || f <= 2*s {
		t.Errorf("the slow worker did %d tasks, the fast one %d: not fair", s, f)
	}
	wantEachOnce(t, tasks, slow, fast)
	if n := slow.count("mode 2") + fast.count("mode 2"); n != len(tasks) {
		t.Errorf("%d of %d tasks were persistent", n, len(tasks))
	}
	ch := open(t, c.node(0))
	if _, err := ch.QueueDeclarePassive("task_queue", true, false, false, false, nil); err != nil {
		t.Errorf("task_queue is not durable: %v", err)
	}
}

func tutorialPublishSubscribe(t *testing.T, c *cluster, producer, consumer language) {
	a := consumer.start(t, c.node(1), "receive_logs")
	b := consumer.start(t, c.node(2), "receive_logs")
	a.waitLines(t, "waiting", 1)
	b.waitLines(t, "waiting", 1)
	producer.run(t, c.node(0), "emit_log", "first")
	producer.run(t, c.node(0), "emit_log", "second")
	for _, p := range []*program{a, b} {
		p.waitLines(t, "received first", 1)
		p.waitLines(t, "received second", 1)
		wantReceived(t, p, "first", "second")
	}
}

// wantReceived wants exactly these lines received, in this order.
func wantReceived(t *testing.T, p *program, want ...string) {
	t.Helper()
	var got []string
	for _, line := range p.output() {
		if text, ok := strings.CutPrefix(line, "received "); ok {
			got = append(got, text)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("received %q, want %q", got, want)
	}
}

func tutorialRouting(t *testing.T, c *cluster, producer, consumer language) {
	errors := consumer.start(t, c.node(1), "receive_logs_direct", "error")
	all := consumer.start(t, c.node(2), "receive_logs_direct", "info", "warning", "error")
	errors.waitLines(t, "waiting", 1)
	all.waitLines(t, "waiting", 1)
	producer.run(t, c.node(0), "emit_log_direct", "info", "one")
	producer.run(t, c.node(0), "emit_log_direct", "debug", "nobody asked")
	producer.run(t, c.node(0), "emit_log_direct", "warning", "two")
	producer.run(t, c.node(0), "emit_log_direct", "error", "three")
	all.waitLines(t, "received error:three", 1)
	errors.waitLines(t, "received error:three", 1)
	wantReceived(t, all, "info:one", "warning:two", "error:three")
	wantReceived(t, errors, "error:three")
}

// tutorialTopics goes through the tutorial's table of animals: routing keys are
// CELERITY.COLOUR.SPECIES, the first queue wants orange animals, the second one
// rabbits and everything lazy.
func tutorialTopics(t *testing.T, c *cluster, producer, consumer language) {
	q1 := consumer.start(t, c.node(1), "receive_logs_topic", "*.orange.*")
	q2 := consumer.start(t, c.node(2), "receive_logs_topic", "*.*.rabbit", "lazy.#")
	everything := consumer.start(t, c.node(0), "receive_logs_topic", "#")
	plain := consumer.start(t, c.node(1), "receive_logs_topic", "quick.orange.fox")
	for _, p := range []*program{q1, q2, everything, plain} {
		p.waitLines(t, "waiting", 1)
	}
	animals := []struct {
		key    string
		q1, q2 bool
	}{
		{"quick.orange.rabbit", true, true},
		{"lazy.orange.elephant", true, true},
		{"quick.orange.fox", true, false},
		{"lazy.brown.fox", false, true},
		{"lazy.pink.rabbit", false, true}, // matches two bindings, comes once
		{"quick.brown.fox", false, false},
		{"orange", false, false},
		{"quick.orange.male.rabbit", false, false},
		{"lazy.orange.male.rabbit", false, true},
		{"lazy.orange.last", true, true}, // marks the end for both
	}
	var keys, want1, want2, wantAll []string
	for _, a := range animals {
		line := a.key + ":about " + a.key
		keys = append(keys, a.key)
		wantAll = append(wantAll, line)
		if a.q1 {
			want1 = append(want1, line)
		}
		if a.q2 {
			want2 = append(want2, line)
		}
	}
	producer.run(t, c.node(0), "emit_log_topic", keys...)
	for _, p := range []*program{q1, q2, everything} {
		p.waitLines(t, "received lazy.orange.last", 1)
	}
	plain.waitLines(t, "received quick.orange.fox", 1)
	wantReceived(t, q1, want1...)
	wantReceived(t, q2, want2...)
	wantReceived(t, everything, wantAll...)
	wantReceived(t, plain, "quick.orange.fox:about quick.orange.fox")
}

func tutorialRPC(t *testing.T, c *cluster, client, server language) {
	a := server.start(t, c.node(1), "rpc_server")
	a.waitLines(t, "waiting", 1)
	b := server.start(t, c.node(2), "rpc_server")
	b.waitLines(t, "waiting", 1)
	out := client.run(t, c.node(0), "rpc_client", "0", "1", "10", "20")
	for i, want := range []string{"fib(0) = 0", "fib(1) = 1", "fib(10) = 55", "fib(20) = 6765"} {
		if i >= len(out) || out[i] != want {
			t.Fatalf("got %q, want line %d to be %q", out, i+1, want)
		}
	}
	if a.count("fib(") == 0 || b.count("fib(") == 0 {
		t.Errorf("the servers answered %d and %d calls, want both to answer some", a.count("fib("), b.count("fib("))
	}
}
