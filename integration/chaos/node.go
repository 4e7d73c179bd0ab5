//go:build linux

package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"warren/integration/faultdisk"
	"warren/integration/proc"
)

// Ports of a node, on the address of its own.
const (
	amqpPort    = 5672
	httpPort    = 15672
	clusterPort = 7900
)

// A Node is one server process in its namespace, with a disk of its own.
type Node struct {
	Name string
	slot int
	home string // what the names of its files below begin with
	disk *faultdisk.Disk
	host *host
	proc *proc.Process
	bin  *build // that runs, or is run next
	args []string
	api  proc.API

	mu     sync.Mutex
	down   bool // its process is not meant to run
	frail  bool // its process may end by itself
	paused bool
	lost   map[int]float64 // what does not arrive, by sender

	failed int // how often it had said that it fails when it became frail
}

// URL is where clients connect.
func (n *Node) URL() string {
	return fmt.Sprintf("amqp://guest:guest@%s:%d/", n.host.address(), amqpPort)
}

// dataDir is the data directory, for processes other than this one; see faultdisk.Disk. What is in it is in files.
func (n *Node) dataDir() string { return filepath.Join(n.disk.Dir, "data") }
func (n *Node) files() string   { return filepath.Join(n.disk.Files, "data") }

// Start starts the process.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.proc.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	n.down, n.paused, n.frail = false, false, false
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
	return run("rm", "-rf", n.dataDir())
}

// Up says that the process is meant to run, and does not stand still.
func (n *Node) Up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.down && !n.paused && (!n.frail || n.proc.Running())
}

// Crashed returns an error when the process has ended and was not meant to.
func (n *Node) Crashed() error {
	n.mu.Lock()
	meant := n.down || n.frail
	n.mu.Unlock()
	if meant || n.proc.Running() {
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

func (n *Node) clockFile() string { return n.home + ".clock" }

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
	disk              int64 // bytes of its files
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d MiB of memory (%d at most), %d MiB on disk", u.goroutines, u.files, u.memory>>20, u.peak>>20, u.disk>>20)
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
	if u.memory, u.peak, err = n.proc.Memory(); err != nil {
		return u, err
	}
	u.disk, err = n.diskUsed()
	return u, err
}

// diskUsed is how much room the node's files take.
func (n *Node) diskUsed() (int64, error) {
	const block = 512 // of st_blocks
	sum := int64(0)
	err := filepath.WalkDir(n.files(), func(path string, e fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && !e.IsDir() {
			if info, err = e.Info(); err == nil {
				sum += info.Sys().(*syscall.Stat_t).Blocks * block
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it goes just now
		}
		return err
	})
	return sum, err
}

// logged counts the lines of the log with a text.
func (n *Node) logged(text string) int {
	log, err := os.ReadFile(n.proc.Log)
	if err != nil {
		return 0 // none yet
	}
	return strings.Count(string(log), text)
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
		home: filepath.Join(c.Dir, name), disk: c.disks[slot-1],
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
	n.args = append([]string{
		"--data-dir", n.dataDir(), "--node-name", name,
		"--amqp-addr", at(amqpPort), "--http-addr", at(httpPort), "--cluster-addr", at(clusterPort), "--metrics-addr", "",
		"--join", strings.Join(join, ","), "--expect", strconv.Itoa(expect), "--loopback-users", ""}, c.flags...)
	n.proc = &proc.Process{Log: n.home + ".log", Env: []string{"WARREN_TEST_CLOCK=" + n.clockFile()}}
	n.use(c.bin)
	return n
}

// A build is one of the server.
type build struct {
	path string
	help string // on its flags, for one that may not know all
}

// use has the node run a binary from its next start on. One of an earlier version gets the flags that it knows.
func (n *Node) use(b *build) {
	command := []string{"ip", "netns", "exec", n.host.namespace, b.path, "serve"}
	for flag := range slices.Chunk(n.args, 2) {
		if b.help == "" || strings.Contains(b.help, flag[0]+" ") {
			command = append(command, flag...)
		}
	}
	n.bin, n.proc.Command = b, command
}
