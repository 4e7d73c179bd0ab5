package dev

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// Run starts the nodes and returns when ctx ends, or "quit" is typed, and all of
// them have stopped. It fails, with nothing left running, when a setting is
// wrong, a port is taken or a node cannot be started.
func Run(ctx context.Context, c Config) error {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return err
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	c.DataDir = dir
	if err := c.checkPorts(); err != nil {
		return err
	}
	if err := c.makeSecret(); err != nil {
		return err
	}

	// Nodes die with the thread that started them (see procAttr): this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := &developer{Config: c, procs: make([]*process, c.Nodes), ended: make(chan *process, c.Nodes), view: view{nodes: make([]answer, c.Nodes), leader: -1}}
	defer d.stopAll()
	for i := range c.Nodes {
		if err := d.start(i); err != nil {
			return err
		}
	}
	d.printf("%d nodes, data in %s\n\n", c.Nodes, c.DataDir)
	d.printNodes()
	d.printHelp()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	views := make(chan view)
	go c.watch(ctx, views)
	lines := make(chan string)
	go readLines(ctx, c.In, lines)
	return d.loop(ctx, views, lines)
}

// A developer owns the processes of one Run, on one goroutine.
type developer struct {
	Config
	procs []*process // nil: we have none running
	ended chan *process
	view  view
	told  string // the last line about the leader
}

func (d *developer) loop(ctx context.Context, views <-chan view, lines <-chan string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-d.ended:
			d.noteEnd(p)
		case v := <-views:
			d.view = v
			d.tellLeader()
		case line, ok := <-lines:
			if !ok {
				lines = nil // the input is at its end; the cluster goes on
				continue
			}
			if quit := d.obey(line); quit {
				return nil
			}
		}
	}
}

// readLines sends the lines of r, and closes lines at its end. It ends with ctx
// only where r does: a terminal cannot be read with a deadline.
func readLines(ctx context.Context, r io.Reader, lines chan<- string) {
	defer close(lines)
	if r == nil {
		return
	}
	for s := bufio.NewScanner(r); s.Scan(); {
		select {
		case lines <- s.Text():
		case <-ctx.Done():
			return
		}
	}
}

// obey does what a line asks for; true means quit.
func (d *developer) obey(line string) (quit bool) {
	r, err := parseRequest(line, d.Nodes)
	if err != nil {
		d.printf("%v\n", err)
		return false
	}
	switch r.verb {
	case "status":
		d.printStatus()
	case "kill":
		d.signal(r.node, syscall.SIGKILL)
	case "stop":
		d.signal(r.node, syscall.SIGTERM)
	case "restart":
		err = d.restart(r.node)
	case "help":
		d.printf("%s", helpText())
	case "quit":
		return true
	}
	if err != nil {
		d.printf("%v\n", err)
	}
	return false
}

func (d *developer) start(i int) error {
	p, err := d.Config.start(i, d.ended)
	if err != nil {
		return err
	}
	d.procs[i] = p
	return nil
}

func (d *developer) signal(i int, s syscall.Signal) {
	p := d.procs[i]
	if p == nil {
		d.printf("%s does not run here\n", nodeName(i))
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.printf("%s: %v\n", nodeName(i), err)
	}
}

func (d *developer) restart(i int) error {
	if p := d.procs[i]; p != nil {
		p.asked = true
		d.signal(i, syscall.SIGTERM)
		d.awaitEnd(i, d.StopTimeout)
	}
	for _, a := range []string{addr(d.AMQPPort, i), addr(d.HTTPPort, i), addr(d.ClusterPort, i)} {
		if err := checkPort(a, false); err != nil {
			return fmt.Errorf("%s cannot start: %s: %w", nodeName(i), a, err)
		}
	}
	if err := d.start(i); err != nil {
		return err
	}
	d.printf("%s started, pid %d\n", nodeName(i), d.procs[i].pid())
	d.told = "" // say how the cluster is, also when it is as before
	return nil
}

// awaitEnd waits for a node that was told to stop, and kills it when that takes
// too long.
func (d *developer) awaitEnd(i int, limit time.Duration) {
	late := time.NewTimer(limit)
	defer late.Stop()
	for d.procs[i] != nil {
		select {
		case p := <-d.ended:
			d.noteEnd(p)
		case <-late.C:
			d.printf("%s did not stop within %v, killing it\n", nodeName(i), limit)
			d.signal(i, syscall.SIGKILL)
		}
	}
}

// stopAll ends all nodes, in order where they do so in time.
func (d *developer) stopAll() {
	running := false
	for i, p := range d.procs {
		if p != nil {
			running, p.asked = true, true
			d.signal(i, syscall.SIGTERM)
		}
	}
	if running {
		d.printf("stopping the nodes\n")
	}
	deadline := time.Now().Add(d.StopTimeout)
	for i := range d.procs {
		d.awaitEnd(i, max(0, time.Until(deadline)))
	}
}

// noteEnd takes a process that has ended off the list, and says so when it
// was not our doing.
func (d *developer) noteEnd(p *process) {
	if d.procs[p.node] == p {
		d.procs[p.node] = nil
	}
	if p.asked {
		return
	}
	d.printf("%s (pid %d) %s\n", nodeName(p.node), p.pid(), p.state)
	if strings.Contains(p.state, "exit code") {
		d.printf("its log, %s, ends with:\n%s", d.logFile(p.node), tail(d.logFile(p.node), 5))
	}
	d.printf("  start it again: type \"restart %d\", or run\n  %s\n", p.node, d.commandLine(p.node))
}

// tail returns the last lines of a file, as far as it can be read.
func tail(name string, lines int) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read from
	const most = 8 << 10
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-most), io.SeekStart) // or from the start, all the same
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return ""
	}
	all := strings.SplitAfter(strings.TrimRight(string(b), "\n"), "\n")
	return "    " + strings.Join(all[max(0, len(all)-lines):], "    ") + "\n"
}

// tellLeader prints who leads when that has changed, or a node came or went.
func (d *developer) tellLeader() {
	if line := d.leaderLine(); line != d.told {
		d.told = line
		d.printf("%s\n", line)
	}
}

func (d *developer) leaderLine() string {
	count := fmt.Sprintf("%d of %d nodes serve clients", d.view.serving(), d.Nodes)
	i := d.view.leader
	switch {
	case i < 0:
		return "no leader, " + count
	case d.procs[i] == nil:
		return fmt.Sprintf("leader: %s, %s", nodeName(i), count)
	}
	return fmt.Sprintf("leader: %s (pid %d), %s", nodeName(i), d.procs[i].pid(), count)
}

func (d *developer) printNodes() {
	w := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "node\tpid\tAMQP\tHTTP\tlog")
	for i := range d.Nodes {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\thttp://%s\t%s\n",
			nodeName(i), d.pidColumn(i), addr(d.AMQPPort, i), addr(d.HTTPPort, i), d.logFile(i))
	}
	_ = w.Flush() // as printf
}

func (d *developer) printStatus() {
	d.printNodes()
	for i, a := range d.view.nodes {
		d.printf("%s %s\n", nodeName(i), a.state())
	}
	d.printf("%s\n", d.leaderLine())
}

func (d *developer) pidColumn(i int) string {
	switch {
	case d.procs[i] != nil:
		return fmt.Sprint(d.procs[i].pid())
	case d.view.nodes[i].up:
		return "elsewhere" // started by hand
	}
	return "-"
}

func (d *developer) printHelp() {
	d.printf(`
Kill a node:        kill -9 PID, or type "kill 0"
Start it again:     type "restart 0", or in another terminal
  %s
Stop them all:      type "quit", or Ctrl-C; the next start finds the data
More:               type "help"

`, d.commandLine(0))
}

// printf writes to the person. That nobody reads is no reason to stop the nodes.
func (d *developer) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.Out, format, args...)
}
