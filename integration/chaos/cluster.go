//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/faultdisk"
	"warren/integration/proc"
)

// maxNodes is how many nodes a cluster has room for.
const maxNodes = 5

// Grace is --node-grace of the nodes: shorter than the default, so that faults that outlast it are
// short. LongerThanGrace outlasts every timeout of theirs.
const (
	Grace           = 3 * time.Second
	LongerThanGrace = 5 * time.Second
)

// heartbeatTimeout is --heartbeat-timeout of the nodes: the default.
const heartbeatTimeout = 500 * time.Millisecond

// A Cluster is a set of nodes in a network of their own.
type Cluster struct {
	Dir      string // data directories, logs
	net      *network
	disks    []*faultdisk.Disk // by slot
	bin      *build
	flags    []string
	founders int
	logf     func(string, ...any)

	mu    sync.Mutex
	nodes []*Node // members, by slot
	young usage   // of a process, when the cluster was young
	hurt  harm    // of this round
}

// A harm is what faults have done so far. Clients of nodes that are not hurt keep their connections,
// as long as only processes were.
type harm struct {
	nodes map[string]bool // by name
	links bool
}

// harm notes that nodes are about to be hurt, harmLinks that links are.
func (c *Cluster) harm(nodes ...*Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		c.hurt.nodes[n.Name] = true
	}
}

func (c *Cluster) harmLinks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurt.links = true
}

// unharmed begins a round.
func (c *Cluster) unharmed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurt = harm{nodes: map[string]bool{}}
}

// spared says that nothing was done to a node, nor to any link.
func (c *Cluster) spared(n *Node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.hurt.links && !c.hurt.nodes[n.Name]
}

// NewCluster makes a network and starts so many nodes in it, of a binary. It returns when they serve.
func NewCluster(dir string, bin *build, nodes int, logf func(string, ...any)) (*Cluster, error) {
	network, err := newNetwork(maxNodes)
	if err != nil {
		return nil, fmt.Errorf("make the network (this needs root, ip and iptables): %w", err)
	}
	c := &Cluster{
		Dir: dir, net: network, bin: bin, founders: nodes, logf: logf,
		// Small, so that snapshots, files of messages and reading them come about.
		flags: []string{"--node-grace", Grace.String(), "--snapshot-bytes", "1MiB", "--message-memory", "1MiB", "--segment-bytes", "1MiB",
			"--disk-stall-timeout", diskStall.String(),
			"--heartbeat-timeout", (heartbeatTimeout * proc.Slow).String(), "--election-timeout", (heartbeatTimeout * proc.Slow).String()},
	}
	for slot := 1; slot <= maxNodes; slot++ {
		at := filepath.Join(dir, fmt.Sprintf("disk%d", slot))
		disk, err := faultdisk.Mount(at, at+"-files")
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.disks = append(c.disks, disk)
	}
	for slot := 1; slot <= nodes; slot++ {
		c.nodes = append(c.nodes, newNode(c, slot))
	}
	for _, n := range c.nodes {
		if err := n.Start(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := c.WaitReady(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close ends all processes and removes the disks, whose files stay, and the network.
func (c *Cluster) Close() error {
	var errs []error
	for _, d := range c.disks {
		d.Heal() // a process cannot end while it waits for one
	}
	for _, n := range c.Nodes() {
		errs = append(errs, n.end(syscall.SIGKILL))
	}
	for _, d := range c.disks {
		errs = append(errs, d.Unmount())
	}
	return errors.Join(append(errs, c.net.close())...)
}

// Nodes are the members, by slot.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// others are all nodes but some.
func (c *Cluster) others(not ...*Node) []*Node {
	return slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return slices.Contains(not, n) })
}

func (c *Cluster) byName(name string) *Node {
	for _, n := range c.Nodes() {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Leader waits until one of the nodes that are up says who leads, and that one is up.
func (c *Cluster) Leader() (*Node, error) {
	var found *Node
	err := proc.WaitFor(proc.Patience, func() error {
		best := uint64(0)
		err := errors.New("no node is up")
		for _, asked := range c.Nodes() {
			if !asked.Up() {
				continue
			}
			info, e := asked.api.Cluster()
			if e != nil {
				err = e
				continue
			}
			// One that is cut off may still believe in the leader of an earlier term.
			if n := c.byName(info.Leader); n != nil && n.Up() && info.Term >= best {
				found, best = n, info.Term
			} else if found == nil {
				err = fmt.Errorf("%s takes %q for the leader", asked.Name, info.Leader)
			}
		}
		if found != nil {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the leader: %w", err)
	}
	return found, nil
}

// WaitReady waits until every node that is up serves clients.
func (c *Cluster) WaitReady() error { return c.waitReady(c.Nodes()) }

func (c *Cluster) waitReady(nodes []*Node) error {
	for _, n := range nodes {
		if !n.Up() {
			continue
		}
		var crash error // ends the wait: it does not get better
		err := proc.WaitFor(proc.Patience, func() error {
			if crash = n.Crashed(); crash != nil {
				return nil
			}
			return n.tryClient()
		})
		if crash != nil {
			return crash
		}
		if err != nil {
			err = fmt.Errorf("%s does not serve: %w; the end of its log:\n%s", n.Name, err, n.proc.LogTail())
			return errors.Join(err, c.traces(n))
		}
	}
	return nil
}

// traces has a node that is stuck end with the traces of its goroutines in its log, and writes those of this process, which
// answers for its disk, into a file.
func (c *Cluster) traces(n *Node) error {
	n.beFrail()
	f, err := os.Create(filepath.Join(c.Dir, "traces.txt"))
	if err == nil {
		err = errors.Join(pprof.Lookup("goroutine").WriteTo(f, 2), f.Close())
	}
	return errors.Join(err, n.proc.Signal(syscall.SIGQUIT))
}

// tryClient connects and has the cluster answer something that goes through its log.
func (n *Node) tryClient() error {
	conn, err := amqp.DialConfig(n.URL(), amqp.Config{Dial: amqp.DefaultDial(dialTimeout * proc.Slow)})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	// Answers may not come before the cluster is whole again.
	stop := time.AfterFunc(5*time.Second*proc.Slow, func() { _ = conn.CloseDeadline(time.Now()) })
	defer stop.Stop()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return ch.ExchangeDeclarePassive("amq.direct", "direct", true, false, false, false, nil)
}

// Grow starts nodes in free slots, to join, and waits until they vote.
func (c *Cluster) Grow(to int) error {
	for len(c.Nodes()) < to {
		used := map[int]bool{}
		for _, n := range c.Nodes() {
			used[n.slot] = true
		}
		slot := 1
		for used[slot] {
			slot++
		}
		n := newNode(c, slot)
		if err := n.Start(); err != nil {
			return err
		}
		c.mu.Lock()
		c.nodes = append(c.nodes, n)
		slices.SortFunc(c.nodes, func(a, b *Node) int { return a.slot - b.slot })
		c.mu.Unlock()
	}
	return c.waitVoters()
}

// Shrink stops nodes, the last slots first, and takes them out of the cluster.
func (c *Cluster) Shrink(to int) error {
	for all := c.Nodes(); len(all) > to; all = c.Nodes() {
		n := all[len(all)-1]
		id, err := n.identity()
		if err != nil {
			return err
		}
		c.harm(n)
		if err := n.Stop(); err != nil {
			return err
		}
		c.mu.Lock()
		c.nodes = slices.DeleteFunc(c.nodes, func(m *Node) bool { return m == n })
		c.mu.Unlock()
		if err := c.forget(id); err != nil {
			return err
		}
		if err := n.Wipe(); err != nil {
			return err
		}
	}
	return c.waitVoters()
}

// identity is what the cluster knows the node by.
func (n *Node) identity() (string, error) {
	id, err := os.ReadFile(n.files() + "/node-id")
	return strings.TrimSpace(string(id)), err
}

// forget has a node that is gone removed from the cluster.
func (c *Cluster) forget(id string) error {
	err := proc.WaitFor(proc.Patience, func() error {
		err := errors.New("no node is up")
		for _, n := range c.Nodes() {
			if !n.Up() {
				continue
			}
			if _, err = n.api.Do(http.MethodDelete, "/api/cluster/nodes/"+id, ""); err == nil || strings.Contains(err.Error(), "404") {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("forget node %s: %w", id, err)
	}
	return nil
}

// waitVoters waits until exactly the nodes that there are vote, and each knows it.
func (c *Cluster) waitVoters() error {
	err := proc.WaitFor(proc.Patience, func() error {
		all := c.Nodes()
		for _, n := range all {
			if !n.Up() {
				continue
			}
			info, err := n.api.Cluster()
			if err != nil {
				return err
			}
			voters := 0
			for _, m := range info.Members {
				if m.Voter {
					voters++
				}
			}
			if voters != len(all) || len(info.Members) != len(all) {
				return fmt.Errorf("%s knows %d voters among %d members, want %d: %+v", n.Name, voters, len(info.Members), len(all), info.Members)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("members: %w", err)
	}
	return nil
}

// Heal mends everything that faults of links, clocks, disks and processes did.
func (c *Cluster) Heal() error {
	var errs []error
	for _, n := range c.Nodes() {
		n.mu.Lock()
		n.lost = map[int]float64{}
		paused, down := n.paused, n.down
		errs = append(errs, n.host.lose(n.lost), n.host.relay.delay(nil, 0, 0))
		n.mu.Unlock()
		errs = append(errs, n.SetClock(0))
		n.disk.Heal()
		if paused {
			errs = append(errs, n.Resume())
		}
		switch {
		case down:
			errs = append(errs, n.Start())
		case n.isFrail():
			_, err := n.recover()
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
