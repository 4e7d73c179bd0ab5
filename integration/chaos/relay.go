//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// relayDevice is the network device, in each node's namespace, whose other end is a relay.
const relayDevice = "relay0"

// A relay holds packets back that a node sends: they are routed into a tun device, read here, and written
// back when their time has come, from where the namespace forwards them. With a time that varies
// they overtake one another.
type relay struct {
	host *host
	tun  *os.File
	line chan held // packets that keep their order
	work sync.WaitGroup

	mu     sync.Mutex
	routed map[int]bool // slots whose packets come here
	least  time.Duration
	vary   time.Duration
}

// A held packet is to be written at a time.
type held struct {
	packet []byte
	until  time.Time
}

// openRelay opens the host's end of the device and starts to read.
func openRelay(h *host) (*relay, error) {
	tun, err := openTun(h.namespace)
	if err != nil {
		return nil, fmt.Errorf("relay of %s: %w", h.namespace, err)
	}
	r := &relay{host: h, tun: tun, line: make(chan held, 1024), routed: map[int]bool{}}
	r.work.Add(2)
	go r.read()
	go r.writeInOrder()
	return r, nil
}

// openTun opens the device in a namespace. The thread that enters the namespace does nothing
// else, and ends.
func openTun(namespace string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread
		file, err := openTunHere(namespace)
		done <- result{file, err}
	}()
	r := <-done
	return r.file, r.err
}

func openTunHere(namespace string) (*os.File, error) {
	ns, err := os.Open("/run/netns/" + namespace)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("setns: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(relayDevice)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, errors.Join(fmt.Errorf("TUNSETIFF: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), relayDevice), nil
}

// delay has what the host sends to some others take between least and least+vary longer,
// in order when vary is 0. What it sends to all others does not come here.
func (r *relay) delay(to []int, least, vary time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.least, r.vary = least, vary
	var lines []string
	for slot := range r.routed {
		if !slices.Contains(to, slot) {
			lines = append(lines, r.route("delete", slot))
			delete(r.routed, slot)
		}
	}
	for _, slot := range to {
		if !r.routed[slot] {
			lines = append(lines, r.route("replace", slot))
			r.routed[slot] = true
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return batch(r.host.namespace, lines...)
}

func (r *relay) route(verb string, slot int) string {
	return fmt.Sprintf("route %s %s/32 dev %s src %s", verb, r.host.net.address(slot), relayDevice, r.host.address())
}

func (r *relay) read() {
	defer r.work.Done()
	defer close(r.line)
	for {
		packet := make([]byte, 2048)
		n, err := r.tun.Read(packet)
		if err != nil {
			return // closed
		}
		r.mu.Lock()
		least, vary := r.least, r.vary
		r.mu.Unlock()
		if vary > 0 {
			time.AfterFunc(least+rand.N(vary), func() { r.write(packet[:n]) })
			continue
		}
		select {
		case r.line <- held{packet[:n], time.Now().Add(least)}:
		default: // lost, as where a router's memory is full
		}
	}
}

func (r *relay) writeInOrder() {
	defer r.work.Done()
	for h := range r.line {
		time.Sleep(time.Until(h.until))
		r.write(h.packet)
	}
}

// write gives a packet back. One that cannot be written any more is lost.
func (r *relay) write(packet []byte) { _, _ = r.tun.Write(packet) }

func (r *relay) close() {
	_ = r.tun.Close()
	r.work.Wait()
}
