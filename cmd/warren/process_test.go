package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// asWarren makes the test binary be warren: the tests of this file run it as
// real processes.
const asWarren = "TEST_AS_WARREN"

func TestMain(m *testing.M) {
	if os.Getenv(asWarren) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// A process is a warren that runs; its lines of output come one by one.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed at the end of the output
	seen  []string
}

func startWarren(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(exe, args...), lines: make(chan string, 64)}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), asWarren+"=1")
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // the child has its own copy
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		for range p.lines {
		}
		_ = r.Close()
	})
	return p
}

// see waits for a line that contains all parts, and returns it.
func (p *process) see(parts ...string) string {
	p.t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("ended without a line with %q:\n%s", parts, strings.Join(p.seen, "\n"))
			}
			p.seen = append(p.seen, line)
			if containsAll(line, parts) {
				return line
			}
		case <-limit:
			p.t.Fatalf("no line with %q:\n%s", parts, strings.Join(p.seen, "\n"))
		}
	}
}

func containsAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// end waits for the end of the process and wants the exit code.
func (p *process) end(code int) {
	p.t.Helper()
	for line := range p.lines {
		p.seen = append(p.seen, line)
	}
	_ = p.cmd.Wait() // ProcessState says it all
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d:\n%s", got, code, strings.Join(p.seen, "\n"))
	}
}

func publishOne(url string) error {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		return err
	}
	confirm, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("x")})
	if err != nil {
		return err
	}
	if !confirm.Wait() {
		return fmt.Errorf("not confirmed")
	}
	return nil
}

// messages returns how many messages wait in the queue of publishOne.
func messages(t *testing.T, url string) int {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclarePassive("q", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}

// addresses takes the AMQP and HTTP address from the line that says "ready".
func addresses(t *testing.T, line string) (amqpAddr, httpAddr string) {
	t.Helper()
	var ready struct{ AMQP, HTTP string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return ready.AMQP, ready.HTTP
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	args := []string{
		"serve", "--amqp-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--cluster-addr", "127.0.0.1:0", "--log-format", "json",
	}
	first := startWarren(t, dir, args...)
	amqpAddr, httpAddr := addresses(t, first.see(`"msg":"ready"`))
	if err := publishOne("amqp://guest:guest@" + amqpAddr); err != nil {
		t.Fatal(err)
	}
	startWarren(t, dir, "healthcheck", "--http-addr", httpAddr).end(exitOK)
	second := startWarren(t, dir, args...)
	second.see("in use by another warren", fmt.Sprint(first.cmd.Process.Pid))
	second.end(exitFailure)

	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	first.see(`"msg":"stopped"`)
	first.end(exitOK)
	startWarren(t, dir, "healthcheck", "--http-addr", httpAddr).end(exitFailure)

	again := startWarren(t, dir, args...)
	amqpAddr, _ = addresses(t, again.see(`"msg":"ready"`))
	if n := messages(t, "amqp://guest:guest@"+amqpAddr); n != 1 {
		t.Errorf("%d messages after a restart, want 1", n)
	}
	taken := startWarren(t, dir, "serve", "--data-dir", "other", "--amqp-addr", amqpAddr, "--http-addr", "127.0.0.1:0", "--cluster-addr", "127.0.0.1:0")
	taken.see("address already in use")
	taken.end(exitFailure)
	if _, err := os.Stat(filepath.Join(dir, "warren-data", "lock")); err != nil {
		t.Errorf("default data directory: %v", err)
	}
}

// TestDev follows the README: three nodes, kill the leader, start it again, stop.
func TestDev(t *testing.T) {
	port := freePorts(t, 9)
	args := []string{
		"dev", "--nodes", "3", "--data-dir", t.TempDir(),
		"--amqp-port", fmt.Sprint(port), "--http-port", fmt.Sprint(port + 3), "--cluster-port", fmt.Sprint(port + 6),
	}
	dev := startWarren(t, "", args...)
	var leader, pid int
	line := dev.see("leader: node", "3 of 3 nodes serve clients")
	if _, err := fmt.Sscanf(line, "leader: node%d (pid %d)", &leader, &pid); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	follower := (leader + 1) % 3
	url := fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d", port+follower)
	if err := publishOne(url); err != nil {
		t.Fatal(err)
	}

	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	dev.see(fmt.Sprintf("node%d (pid %d) killed by signal", leader, pid))
	dev.see("serve", "--data-dir", fmt.Sprintf("node%d", leader)) // the line that starts it again
	for next := leader; next == leader; {
		if _, err := fmt.Sscanf(dev.see("leader: node"), "leader: node%d", &next); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, url); n != 1 {
		t.Errorf("%d messages after the leader's death, want 1", n)
	}
	if _, err := fmt.Fprintf(dev.in, "restart %d\n", leader); err != nil {
		t.Fatal(err)
	}
	dev.see("leader: node", "3 of 3 nodes serve clients")
	startWarren(t, "", "healthcheck", "--http-addr", fmt.Sprintf("127.0.0.1:%d", port+3+leader)).end(exitOK)
	if err := dev.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	dev.end(exitOK)

	again := startWarren(t, "", args...)
	again.see("leader: node", "3 of 3 nodes serve clients")
	if n := messages(t, url); n != 1 {
		t.Errorf("%d messages after a stop of all, want 1", n)
	}
	if _, err := fmt.Fprintln(again.in, "quit"); err != nil {
		t.Fatal(err)
	}
	again.end(exitOK)
}

// freePorts returns the first of n ports in a row that nobody has right now.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 50 {
		first, ok := freeRow(n)
		if ok {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

// freeRow asks for any port, and then for those after it.
func freeRow(n int) (first int, ok bool) {
	for i := range n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i))
		if err != nil {
			return 0, false
		}
		defer func() { _ = l.Close() }()
		if i == 0 {
			first = l.Addr().(*net.TCPAddr).Port
		}
	}
	return first, first+n <= 65535
}
