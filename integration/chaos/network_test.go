//go:build linux

package chaos

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside calls f on a thread in the namespace of a host.
func inside[T any](t *testing.T, h *host, f func() (T, error)) T {
	t.Helper()
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread
		var r result
		ns, err := os.Open("/run/netns/" + h.namespace)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if r.err = err; err == nil {
			r.value, r.err = f()
		}
		done <- r
	}()
	r := <-done
	if r.err != nil {
		t.Fatalf("in the namespace of %s: %v", h.address(), r.err)
	}
	return r.value
}

// sent sends numbered packets from one host to another and returns them as they come.
func sent(t *testing.T, from, to *host, count int) (arrived []int, took time.Duration) {
	t.Helper()
	in := inside(t, to, func() (net.PacketConn, error) { return net.ListenPacket("udp", to.address()+":9999") })
	defer func() { _ = in.Close() }()
	out := inside(t, from, func() (net.Conn, error) { return net.Dial("udp", to.address()+":9999") })
	defer func() { _ = out.Close() }()
	begun := time.Now()
	for i := range count {
		if _, err := out.Write(binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
			t.Fatal(err)
		}
	}
	packet := make([]byte, 16)
	for len(arrived) < count {
		if err := in.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := in.ReadFrom(packet); err != nil {
			break
		}
		if len(arrived) == 0 {
			took = time.Since(begun)
		}
		arrived = append(arrived, int(binary.BigEndian.Uint32(packet)))
	}
	return arrived, took
}

func inOrder(numbers []int) bool {
	for i := range numbers {
		if i > 0 && numbers[i] < numbers[i-1] {
			return false
		}
	}
	return true
}

// TestNetwork: the faults of links are real.
func TestNetwork(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("network namespaces need root, ip and iptables (Debian: iproute2, iptables)")
	}
	n, err := newNetwork(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	a, b := n.hosts[0], n.hosts[1]
	const count = 200
	want := func(what string, from, to *host, ok func(arrived []int) bool) {
		t.Helper()
		if arrived, _ := sent(t, from, to, count); !ok(arrived) {
			t.Errorf("%s: %d of %d packets arrived from %s at %s, in order: %v", what, len(arrived), count, from.address(), to.address(), inOrder(arrived))
		}
	}
	lose := func(h *host, from int, part float64) {
		t.Helper()
		if err := h.lose(map[int]float64{from: part}); err != nil {
			t.Fatal(err)
		}
	}
	all := func(arrived []int) bool { return len(arrived) == count && inOrder(arrived) }
	none := func(arrived []int) bool { return len(arrived) == 0 }
	some := func(arrived []int) bool { return len(arrived) > count/10 && len(arrived) < count*9/10 }

	want("no fault", a, b, all)
	lose(b, a.slot, 1)
	want("cut one way", a, b, none)
	want("cut the other way", b, a, all)
	lose(b, a.slot, 0.5)
	want("loss of half", a, b, some)
	if err := b.lose(nil); err != nil {
		t.Fatal(err)
	}
	want("mended", a, b, all)

	const least = 50 * time.Millisecond
	if err := a.relay.delay([]int{b.slot}, least, 0); err != nil {
		t.Fatal(err)
	}
	arrived, took := sent(t, a, b, count)
	if took < least || !all(arrived) {
		t.Errorf("delayed: %d of %d packets after %v", len(arrived), count, took)
	}
	if _, took := sent(t, b, a, 1); took >= least {
		t.Errorf("the other way took %v too", took)
	}
	if err := a.relay.delay([]int{b.slot}, time.Millisecond, 30*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	want("reordered", a, b, func(arrived []int) bool { return len(arrived) == count && !inOrder(arrived) })
	if err := a.relay.delay(nil, 0, 0); err != nil {
		t.Fatal(err)
	}
	want("mended again", a, b, all)

	// Clients are the test itself.
	l := inside(t, a, func() (net.Listener, error) { return net.Listen("tcp", a.address()+":9998") })
	defer func() { _ = l.Close() }()
	dial := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		if err == nil {
			err = c.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Errorf("a client does not get through: %v", err)
	}
	lose(a, client, 1)
	if err := dial(); err == nil {
		t.Error("a client that is cut off gets through")
	}
}
