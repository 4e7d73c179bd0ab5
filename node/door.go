package node

import (
	"net"
	"sync"
)

// A door is a listener that can be shut, so that the system refuses clients at once, and opened again
// at the same address. Accept waits while it is shut.
type door struct {
	addr net.Addr // as bound first: also when any free port was asked for

	mu      sync.Mutex
	inner   net.Listener  // nil while shut
	changed chan struct{} // closed when inner changes
	closed  bool
}

func openDoor(addr string) (*door, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &door{addr: l.Addr(), inner: l, changed: make(chan struct{})}, nil
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.addr }

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		inner, changed, closed := d.inner, d.changed, d.closed
		d.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if inner == nil {
			<-changed
			continue
		}
		conn, err := inner.Accept()
		if err != nil && d.replaced(inner) {
			continue
		}
		return conn, err
	}
}

func (d *door) replaced(inner net.Listener) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inner != inner
}

// shut lets nobody in any more.
func (d *door) shut() error { return d.set(nil, false) }

// Close implements net.Listener: Accept returns for good.
func (d *door) Close() error { return d.set(nil, true) }

func (d *door) set(inner net.Listener, closed bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed && inner != nil {
		return inner.Close() // the node was closed meanwhile
	}
	old := d.inner
	d.inner, d.closed = inner, d.closed || closed
	close(d.changed)
	d.changed = make(chan struct{})
	if old == nil {
		return nil
	}
	return old.Close()
}

// open undoes shut. It fails when the address has been taken meanwhile.
func (d *door) open() error {
	d.mu.Lock()
	done := d.inner != nil || d.closed
	d.mu.Unlock()
	if done {
		return nil
	}
	l, err := net.Listen(d.addr.Network(), d.addr.String())
	if err != nil {
		return err
	}
	return d.set(l, false)
}
