package integration

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"warren/integration/proc"
)

// A program is a client program under test: its output is gathered by line.
type program struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser

	mu    sync.Mutex
	lines []string

	done chan struct{} // closed when the process has been waited for
	err  error         // valid once done is closed
}

// startProgram starts a client program that ends no later than the test. env is
// added to the environment of the test.
func startProgram(t testing.TB, dir string, env []string, path string, args ...string) *program {
	t.Helper()
	p := &program{name: path, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = proc.DieWithParent()
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	go p.gather(out)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			out := p.output()
			t.Logf("the end of the output of %s %s:\n%s", path, strings.Join(args, " "), strings.Join(out[max(0, len(out)-50):], "\n"))
		}
	})
	return p
}

// gather reads the output to its end, then waits for the process: exec wants
// them in this order.
func (p *program) gather(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		p.mu.Unlock()
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

// output is what the program has printed so far.
func (p *program) output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// count says how many lines contain part.
func (p *program) count(part string) int {
	n := 0
	for _, line := range p.output() {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// waitLines waits until n lines contain part.
func (p *program) waitLines(t testing.TB, part string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s prints %q", p.name, part), func() error {
		if got := p.count(part); got < n {
			select {
			case <-p.done:
				t.Fatalf("%s ended (%v) with %d lines of %q, want %d", p.name, p.err, got, part, n)
			default:
			}
			return fmt.Errorf("%d lines, want %d", got, n)
		}
		return nil
	})
}

// signal sends a signal to the program.
func (p *program) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// wait waits for the end of the program and returns its output.
func (p *program) wait(t testing.TB) ([]string, error) {
	t.Helper()
	select {
	case <-p.done:
		return p.output(), p.err
	case <-time.After(patience):
		t.Fatalf("%s does not end; its output:\n%s", p.name, strings.Join(p.output(), "\n"))
	}
	panic("unreachable")
}

// kill ends the program at once, if it still runs.
func (p *program) kill() {
	if err := p.cmd.Process.Kill(); err == nil || strings.Contains(err.Error(), "already finished") {
		<-p.done
	}
}

// runProgram runs a client program to its end and wants success.
func runProgram(t testing.TB, dir string, env []string, path string, args ...string) []string {
	t.Helper()
	p := startProgram(t, dir, env, path, args...)
	out, err := p.wait(t)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", path, strings.Join(args, " "), err, strings.Join(out, "\n"))
	}
	return out
}
