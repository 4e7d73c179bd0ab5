package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Patience bounds every wait of a test. It is generous: a healthy run needs a
// small part of it, and a noisy machine must not fail a right server.
const Patience = 60 * time.Second

// A Process is a program that can be started, ended and started again. Its methods
// may be called by several goroutines; Start and End of one process at once may not.
type Process struct {
	Command []string // path and arguments
	Log     string   // file to whose end standard output and standard error go
	Env     []string // added to the environment of the test

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd was waited for; then err is valid
	err    error
}

// Start starts the process. It ends no later than the test.
func (p *Process) Start() error {
	if p.Running() {
		return errors.New("it runs already")
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	cmd := exec.Command(p.Command[0], p.Command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(WithoutSettings(os.Environ()), p.Env...)
	cmd.SysProcAttr = DieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(exited)
	}()
	return nil
}

// WithoutSettings removes what would change the settings of a server.
func WithoutSettings(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		return strings.HasPrefix(v, "WARREN_") || strings.HasPrefix(v, "RABBITMQ_")
	})
}

// Started says that Start was called with success, ever.
func (p *Process) Started() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// Running says that the process was started and has not ended.
func (p *Process) Running() bool {
	exited := p.Exited()
	if exited == nil {
		return false
	}
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

// Exited returns a channel that is closed when the process of the last Start has
// ended; nil before the first.
func (p *Process) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// Err is how the process ended that ended last: nil with exit status 0.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// PID is the number of the process that was started last, 0 before the first.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Signal sends a signal. A process that has ended gives os.ErrProcessDone.
func (p *Process) Signal(s syscall.Signal) error {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd == nil {
		return os.ErrProcessDone
	}
	return cmd.Process.Signal(s)
}

// End sends a signal and waits for the end, for Patience at most. There may be no
// process.
func (p *Process) End(s syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.Exited():
		return nil
	case <-time.After(Patience * Slow):
		return fmt.Errorf("%w: it still runs after signal %v", ErrTimeout, s)
	}
}

// LogTail is the end of the log, for failures.
func (p *Process) LogTail() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	if len(text) > 4000 {
		text = text[len(text)-4000:]
	}
	return string(text)
}
