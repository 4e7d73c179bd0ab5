//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A network is a switch in a namespace of its own, to which the namespaces of nodes and the test
// itself are plugged. The switch is not in the test's namespace, because what a
// machine's firewall does to bridged packets would be done to them too.
//
// Faults are in the nodes' namespaces: what a node does not receive is dropped by its
// iptables, what it sends late goes through a relay (see relay). This works with any kernel; netem, which
// would do both, is missing in many that run in virtual machines.
type network struct {
	id     int    // of this network, on this machine
	prefix string // of its addresses: a /24 without the last number
	hosts  []*host
}

// A host is a node's place in the network.
type host struct {
	net       *network
	slot      int // 1 …, as in its address
	namespace string
	relay     *relay
}

// namespaces is what the names of all namespaces begin with; the process that made it follows.
const namespaces = "warren-chaos-"

// client is the slot of the test itself.
const client = 254

func (n *network) address(slot int) string { return fmt.Sprintf("%s.%d", n.prefix, slot) }
func (n *network) name(what string) string {
	return fmt.Sprintf("%s%d-%s", namespaces, os.Getpid(), what)
}
func (h *host) address() string { return h.net.address(h.slot) }

// newNetwork makes a network with so many hosts.
func newNetwork(hosts int) (*network, error) {
	if err := sweep(); err != nil {
		return nil, err
	}
	n := &network{}
	for n.id = os.Getpid() % 250; ; n.id++ {
		n.prefix = fmt.Sprintf("198.18.%d", n.id%250) // for tests of networks: RFC 2544
		if !inUse(n.prefix) {
			break
		}
	}
	if err := n.build(hosts); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// sweep removes what test runs have left that were killed.
func sweep() error {
	all, err := filepath.Glob("/run/netns/" + namespaces + "*-*")
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range all {
		name := filepath.Base(path)
		owner, _, _ := strings.Cut(strings.TrimPrefix(name, namespaces), "-")
		if _, err := os.Stat("/proc/" + owner); errors.Is(err, os.ErrNotExist) {
			errs = append(errs, removeNamespace(name))
		}
	}
	return errors.Join(errs...)
}

// inUse says whether a network of another test run has these addresses.
func inUse(prefix string) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if strings.HasPrefix(a.String(), prefix+".") {
			return true
		}
	}
	return false
}

func (n *network) build(hosts int) error {
	sw := n.name("sw")
	if err := run("ip", "netns", "add", sw); err != nil {
		return err
	}
	if err := batch(sw, "link set lo up", "link add br0 type bridge", "link set br0 up"); err != nil {
		return err
	}
	// The test's own end.
	own := fmt.Sprintf("wchaos%d", n.id%250)
	if err := run("ip", "link", "add", own, "type", "veth", "peer", "name", "test", "netns", sw); err != nil {
		return err
	}
	if err := batch(sw, "link set test master br0 up"); err != nil {
		return err
	}
	if err := batch("", "addr add "+n.address(client)+"/24 dev "+own, "link set "+own+" up"); err != nil {
		return err
	}
	for slot := 1; slot <= hosts; slot++ {
		h := &host{net: n, slot: slot, namespace: n.name(fmt.Sprintf("n%d", slot))}
		n.hosts = append(n.hosts, h)
		if err := h.build(sw); err != nil {
			return fmt.Errorf("namespace of node %d: %w", slot, err)
		}
	}
	return nil
}

// build makes the namespace and plugs it in.
func (h *host) build(sw string) error {
	if err := run("ip", "netns", "add", h.namespace); err != nil {
		return err
	}
	port := fmt.Sprintf("p%d", h.slot)
	if err := batch(sw, "link add "+port+" type veth peer name eth0 netns "+h.namespace, "link set "+port+" master br0 up"); err != nil {
		return err
	}
	// The relay gives back, as if they had come from outside, packets that this host sends.
	if err := batch(h.namespace,
		"link set lo up", "addr add "+h.address()+"/24 dev eth0", "link set eth0 up",
		"tuntap add dev "+relayDevice+" mode tun", "link set "+relayDevice+" up",
		"rule add iif "+relayDevice+" lookup 100", "route add "+h.net.address(0)+"/24 dev eth0 table 100",
	); err != nil {
		return err
	}
	for _, setting := range []string{
		"net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf." + relayDevice + ".rp_filter=0",
		"net.ipv4.conf." + relayDevice + ".accept_local=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0",
	} {
		name, value, _ := strings.Cut(setting, "=")
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		if err := h.exec("sh", "-c", "echo "+value+" > "+path); err != nil {
			return err
		}
	}
	var err error
	h.relay, err = openRelay(h)
	return err
}

// exec runs a program in the namespace.
func (h *host) exec(args ...string) error {
	return run("ip", append([]string{"netns", "exec", h.namespace}, args...)...)
}

// lose sets which part (0 to 1) of the packets from each sender does not arrive here. A
// sender that is not named is heard.
func (h *host) lose(drops map[int]float64) error {
	var rules strings.Builder
	rules.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for from, part := range drops {
		chance := ""
		if part < 1 {
			chance = fmt.Sprintf(" -m statistic --mode random --probability %.4f", part)
		}
		fmt.Fprintf(&rules, "-A INPUT -s %s%s -j DROP\n", h.net.address(from), chance)
	}
	rules.WriteString("COMMIT\n")
	// All at once: between two states there is no third.
	cmd := exec.Command("ip", "netns", "exec", h.namespace, "iptables-restore", "-w", "10")
	cmd.Stdin = strings.NewReader(rules.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables of %s: %w: %s", h.namespace, err, out)
	}
	return nil
}

// close removes all of it. It may be called twice.
func (n *network) close() error {
	var errs []error
	for _, h := range n.hosts {
		if h.relay != nil {
			h.relay.close()
		}
		errs = append(errs, removeNamespace(h.namespace))
	}
	n.hosts = nil
	return errors.Join(append(errs, removeNamespace(n.name("sw")))...)
}

func removeNamespace(name string) error {
	if _, err := os.Stat("/run/netns/" + name); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return run("ip", "netns", "delete", name)
}

// run runs a program of the machine.
func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// batch has ip execute lines in a namespace ("": the test's).
func batch(namespace string, lines ...string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip in namespace %q: %w: %s", namespace, err, strings.TrimSpace(string(out)))
	}
	return nil
}
