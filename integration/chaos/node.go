//go:build linux

package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"warren/integration/proc"
)

// Ports of a node, on the address of its own.
const (
	amqpPort    = 5672
	httpPort    = 15672
	clusterPort = 7900
)

// A Node is one server process in its namespace.
type Node struct {
	Name string
	slot int
	dir  string // data
	host *host
	proc *proc.Process
	api  proc.API

	mu     sync.Mutex
	down   bool // its process is not meant to run
	paused bool
	lost   map[int]float64 // what does not arrive, by sender
}

// URL is where clients connect.
func (n *Node) URL() string {
	return fmt.Sprintf("amqp://guest:guest@%s:%d/", n.host.address(), amqpPort)
}

// Dir is the data directory.
func (n *Node) Dir() string { return n.dir }

// Start starts the process.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.proc.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.down, n.paused = false, false
	return nil
}

// Kill ends the process as a crash does.
func (n *Node) Kill() error { return n.end(syscall.SIGKILL) }

// Stop asks the process to end, and wants it to end well.
func (n *Node) Stop() error {
	if err := n.end(syscall.SIGTERM); err != nil {
		return err
	}
	if err := n.proc.Err(); err != nil {
		return fmt.Errorf("%s ended with %w after SIGTERM", n.Name, err)
	}
	return nil
}

func (n *Node) end(s syscall.Signal) error {
	if err := n.Crashed(); err != nil {
		return err
	}
	n.mu.Lock()
	n.down = true
	n.mu.Unlock()
	if err := n.proc.End(s); err != nil {
		return fmt.Errorf("end %s: %w", n.Name, err)
	}
	return nil
}

// Pause stops the process without its knowing.
func (n *Node) Pause() error { return n.setPaused(true, syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (n *Node) Resume() error { return n.setPaused(false, syscall.SIGCONT) }

func (n *Node) setPaused(paused bool, s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.proc.Signal(s); err != nil {
		return fmt.Errorf("signal %v to %s: %w", s, n.Name, err)
	}
	n.paused = paused
	return nil
}

// Wipe removes the data directory of a node that does not run.
func (n *Node) Wipe() error {
	if n.proc.Running() {
		return fmt.Errorf("wipe %s: it runs", n.Name)
	}
	return os.RemoveAll(n.dir)
}

// Up says that the process is meant to run, and does not stand still.
func (n *Node) Up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.down && !n.paused
}

// Crashed returns an error when the process has ended and was not meant to.
func (n *Node) Crashed() error {
	n.mu.Lock()
	down := n.down
	n.mu.Unlock()
	if down || n.proc.Running() {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %v; the end of its log:\n%s", n.Name, n.proc.Err(), n.proc.LogTail())
}

// Lose sets which part of the packets from another node, or from clients, does not
// arrive at this one.
func (n *Node) Lose(from int, part float64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if part == 0 {
		delete(n.lost, from)
	} else {
		n.lost[from] = part
	}
	return n.host.lose(n.lost)
}

// SetClock has the node's clock be off by an amount, at once. See clock_chaos.go in package node.
func (n *Node) SetClock(off time.Duration) error {
	path := n.clockFile()
	if err := os.WriteFile(path+".new", []byte(strconv.FormatInt(off.Milliseconds(), 10)), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (n *Node) clockFile() string { return n.dir + ".clock" }

// Transfer has the node make another one lead; "" leaves the choice to it.
func (n *Node) Transfer(to string) error {
	body, err := json.Marshal(map[string]string{"node": to})
	if err != nil {
		return err
	}
	_, err = n.api.Do(http.MethodPost, "/api/cluster/leader", string(body))
	return err
}

// State is what GET /api/cluster/state says.
type State struct {
	Index   uint64 `json:"index"`
	History string `json:"history_hash"`
	State   string `json:"state_hash"`
}

// State asks for the hashes of the node's state.
func (n *Node) State() (State, error) {
	var s State
	err := n.api.Get("/api/cluster/state", &s)
	return s, err
}

// usage is what a process holds.
type usage struct {
	goroutines, files int
	memory, peak      int64 // bytes
}

func (n *Node) usage() (usage, error) {
	var u usage
	var stats struct {
		Goroutines int `json:"proc_used"`
	}
	if err := n.api.Get("/api/nodes/"+n.Name, &stats); err != nil {
		return u, err
	}
	u.goroutines = stats.Goroutines
	var err error
	if u.files, err = n.proc.OpenFiles(); err != nil {
		return u, err
	}
	u.memory, u.peak, err = n.proc.Memory()
	return u, err
}

// panics returns the lines of the log that no log should have.
func (n *Node) panics() ([]string, error) {
	text, err := os.ReadFile(n.proc.Log)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "level=ERROR msg=\"state machine"} {
			if strings.Contains(line, bad) {
				found = append(found, n.Name+": "+strings.TrimSpace(line))
			}
		}
	}
	return found, nil
}

// newNode lays out a node; nothing runs yet.
func newNode(c *Cluster, slot int) *Node {
	name := fmt.Sprintf("n%d", slot)
	h := c.net.hosts[slot-1]
	n := &Node{
		Name: name, slot: slot, host: h, down: true, lost: map[int]float64{},
		dir: filepath.Join(c.Dir, name),
		api: proc.API{Addr: fmt.Sprintf("%s:%d", h.address(), httpPort)},
	}
	at := func(port int) string { return fmt.Sprintf("%s:%d", h.address(), port) }
	var join []string
	for _, other := range c.net.hosts {
		join = append(join, fmt.Sprintf("%s:%d", other.address(), clusterPort))
	}
	expect := 0 // it joins
	if slot <= c.founders {
		expect = c.founders
	}
	n.proc = &proc.Process{
		Command: append([]string{"ip", "netns", "exec", h.namespace, c.bin, "serve",
			"--data-dir", n.dir, "--node-name", name,
			"--amqp-addr", at(amqpPort), "--http-addr", at(httpPort), "--cluster-addr", at(clusterPort), "--metrics-addr", "",
			"--join", strings.Join(join, ","), "--expect", strconv.Itoa(expect), "--loopback-users", ""}, c.flags...),
		Log: filepath.Join(c.Dir, name+".log"),
		Env: []string{"WARREN_TEST_CLOCK=" + n.clockFile()},
	}
	return n
}
