package integration

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// standardAddr is where programs look for a broker that have not been told where
// it is.
const standardAddr = "127.0.0.1:5672"

// TestAMQPLib runs, unchanged, the tutorial programs and examples that the npm
// package amqplib ships. They look for amqp://localhost, so the test needs that
// port for itself. Not run: ssl.js (it wants certificates at fixed places) and stream_queues
// (there are no streams).
func TestAMQPLib(t *testing.T) {
	t.Parallel()
	examples := installAMQPLib(t)
	serveStandardAddr(t)
	tutorials := filepath.Join(examples, "tutorials")
	for _, api := range []string{tutorials, filepath.Join(tutorials, "callback_api")} {
		t.Run(filepath.Base(api), func(t *testing.T) {
			j := javascript{t, needProgram(t, "node"), api}
			t.Run("hello", j.with((*javascript).hello))
			t.Run("work_queue", j.with((*javascript).workQueue))
			t.Run("publish_subscribe", j.with((*javascript).publishSubscribe))
			t.Run("routing", j.with((*javascript).routing))
			t.Run("topics", j.with((*javascript).topics))
			t.Run("rpc", j.with((*javascript).rpc))
		})
	}
	j := javascript{t, needProgram(t, "node"), examples}
	t.Run("headers", j.with((*javascript).headers))
	t.Run("confirms", j.with((*javascript).confirms))
	t.Run("generators", j.with((*javascript).generators))
	t.Run("direct_reply_to", j.with((*javascript).directReplyTo))
}

// installAMQPLib installs the packages of integration/node/package-lock.json
// into a directory of its own and returns amqplib's examples.
func installAMQPLib(t *testing.T) string {
	t.Helper()
	npm, dir := needProgram(t, "npm"), t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(moduleRoot(), "integration", "node", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "npm ci: %v\n%s", err, out)
	}
	return filepath.Join(dir, "node_modules", "amqplib", "examples")
}

// serveStandardAddr starts a single node on the standard port, or passes the
// port on to a peer.
func serveStandardAddr(t *testing.T) {
	t.Helper()
	needAddr(t, standardAddr)
	if urls := peerURLs(); urls != nil {
		forward(t, standardAddr, peerCluster(urls).node(0).amqp)
		return
	}
	startClusterWith(t, 1, options{amqp: []string{standardAddr}})
}

// forward passes connections to an address on to another one.
func forward(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				out, err := net.Dial("tcp", to)
				if err != nil {
					_ = in.Close()
					return
				}
				go func() {
					_, err := io.Copy(out, in)
					_ = errors.Join(err, out.Close())
				}()
				_, err = io.Copy(in, out)
				_ = errors.Join(err, in.Close())
			}()
		}
	}()
}

// javascript runs the programs of a directory.
type javascript struct {
	t    *testing.T
	node string
	dir  string
}

// with runs a test with the programs on a broker without leftovers.
func (j javascript) with(run func(*javascript)) func(*testing.T) {
	return func(t *testing.T) {
		j.t = t
		freshTutorial(t, &node{name: "localhost", url: "amqp://guest:guest@" + standardAddr + "/"})
		run(&j)
	}
}

func (j *javascript) start(name string, args ...string) *program {
	j.t.Helper()
	return startProgram(j.t, j.dir, nil, j.node, append([]string{name + ".js"}, args...)...)
}

// run wants the program to print a line; all of them exit with 0, come what may.
func (j *javascript) run(line, name string, args ...string) {
	j.t.Helper()
	out := runProgram(j.t, j.dir, nil, j.node, append([]string{name + ".js"}, args...)...)
	if len(out) == 0 || out[len(out)-1] != line {
		j.t.Errorf("%s printed\n%s\nwant at last: %s", name, strings.Join(out, "\n"), line)
	}
}

// end interrupts a consumer, as its reader would, and wants it to leave in order.
func (j *javascript) end(p *program) {
	j.t.Helper()
	p.signal(j.t, syscall.SIGINT)
	if out, err := p.wait(j.t); err != nil || p.count("Error") > 0 {
		j.t.Errorf("%s %v: %v\n%s", p.name, p.cmd.Args, err, strings.Join(out, "\n"))
	}
}

func (j *javascript) hello() {
	p := j.start("receive")
	p.waitLines(j.t, "To exit press", 1)
	j.run(" [x] Sent 'Hello World!'", "send")
	p.waitLines(j.t, " [x] Received 'Hello World!'", 1)
	j.end(p)
}

func (j *javascript) workQueue() {
	j.run(" [x] Sent 'persistent task'", "new_task", "persistent task")
	p := j.start("worker")
	p.waitLines(j.t, " [x] Received 'persistent task'", 1)
	p.waitLines(j.t, " [x] Done", 1)
	j.run(" [x] Sent 'a second.'", "new_task", "a second.")
	p.waitLines(j.t, " [x] Done", 2)
	j.end(p)
	ch := open(j.t, &node{url: "amqp://guest:guest@" + standardAddr + "/"})
	wantDepth(j.t, ch, "task_queue", 0)
}

func (j *javascript) publishSubscribe() {
	a, b := j.start("receive_logs"), j.start("receive_logs")
	a.waitLines(j.t, "To exit press", 1)
	b.waitLines(j.t, "To exit press", 1)
	j.run(" [x] Sent 'to all'", "emit_log", "to all")
	a.waitLines(j.t, " [x] 'to all'", 1)
	b.waitLines(j.t, " [x] 'to all'", 1)
	j.end(a)
	j.end(b)
}

// arrives emits until a receiver prints a line: the callback programs bind their
// queues after they have said that they wait.
func (j *javascript) arrives(p *program, line, name string, args ...string) {
	j.t.Helper()
	eventually(j.t, line, func() error {
		j.start(name, args...).wait(j.t)
		if p.count(line) == 0 {
			return errTimeout
		}
		return nil
	})
}

func (j *javascript) routing() {
	p := j.start("receive_logs_direct", "warning", "error")
	p.waitLines(j.t, "To exit press", 1)
	j.arrives(p, " [x] error:'ready'", "emit_log_direct", "error", "ready")
	j.arrives(p, " [x] warning:'ready'", "emit_log_direct", "warning", "ready")
	j.start("emit_log_direct", "info", "nobody asked").wait(j.t)
	j.start("emit_log_direct", "warning", "the end").wait(j.t)
	p.waitLines(j.t, " [x] warning:'the end'", 1)
	if p.count("nobody asked") > 0 {
		j.t.Error("a message came that was not asked for")
	}
	j.end(p)
}

func (j *javascript) topics() {
	p := j.start("receive_logs_topic", "*.orange.*", "lazy.#")
	p.waitLines(j.t, "To exit press", 1)
	j.arrives(p, " [x] quick.orange.fox:'ready'", "emit_log_topic", "quick.orange.fox", "ready")
	j.arrives(p, " [x] lazy.cat:'ready'", "emit_log_topic", "lazy.cat", "ready")
	j.start("emit_log_topic", "quick.brown.fox", "not for us").wait(j.t)
	j.start("emit_log_topic", "lazy.orange.male.rabbit", "the end").wait(j.t)
	p.waitLines(j.t, " [x] lazy.orange.male.rabbit:'the end'", 1)
	if p.count("not for us") > 0 {
		j.t.Error("a message came that was not asked for")
	}
	j.end(p)
}

func (j *javascript) rpc() {
	p := j.start("rpc_server")
	p.waitLines(j.t, "To exit press", 1)
	j.run(" [.] Got 6765", "rpc_client", "20")
	j.run(" [.] Got 55", "rpc_client", "10")
	p.waitLines(j.t, " [.] fib(10)", 1)
	j.end(p)
}

func (j *javascript) headers() {
	p := j.start("headers")
	p.waitLines(j.t, "hello", 2)
	if p.count("lost") > 0 {
		j.t.Error("a message came that no header matched")
	}
	j.end(p)
	ch := open(j.t, &node{url: "amqp://guest:guest@" + standardAddr + "/"})
	if err := ch.ExchangeDelete("matching exchange", false, false); err != nil {
		j.t.Error(err)
	}
}

func (j *javascript) confirms() { j.run("All messages done", "waitForConfirms") }

func (j *javascript) generators() {
	j.run(" [x] Sent 'Hello World!'", "send_generators")
	p := j.start("receive_generator")
	p.waitLines(j.t, `consuming message "Hello World!" in generator`, 2)
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		j.t.Error(err)
	}
	if _, err := p.wait(j.t); err != nil {
		j.t.Error(err)
	}
}

func (j *javascript) directReplyTo() {
	p := j.start("direct_reply_to_server")
	p.waitLines(j.t, "To exit press", 1)
	j.run(" [.] pong", "direct_reply_to_client")
	p.waitLines(j.t, " [X] ping", 1)
	j.end(p)
}
