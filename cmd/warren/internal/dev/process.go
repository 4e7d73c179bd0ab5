package dev

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// A process is one node's, from its start to its end.
type process struct {
	node int
	cmd  *exec.Cmd
	// done gets the process once, when it has ended; state is set by then.
	state string
	// asked is set when we ended it, so that its end is no news.
	asked bool
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// start starts node i; ended gets the process when it is over. The caller's
// goroutine must stay on its thread (see procAttr).
func (c *Config) start(i int, ended chan<- *process) (*process, error) {
	if err := os.MkdirAll(c.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	log, err := os.OpenFile(c.logFile(i), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own copy
	cmd := exec.Command(c.Executable, c.serveArgs(i)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = procAttr()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", nodeName(i), err)
	}
	p := &process{node: i, cmd: cmd}
	go func() {
		p.state = endOf(cmd.Wait())
		ended <- p
	}()
	return p, nil
}

// endOf says in words how a process ended.
func endOf(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "stopped"
	case !errors.As(err, &exit):
		return err.Error()
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return fmt.Sprintf("killed by signal %d (%v)", s.Signal(), s.Signal())
	}
	return fmt.Sprintf("ended with exit code %d", exit.ExitCode())
}
