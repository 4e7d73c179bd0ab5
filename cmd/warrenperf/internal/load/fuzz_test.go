package load

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"warren/cmd/warrenperf/internal/client"
	"warren/protocol"
)

// FuzzConsumer feeds a consumer whatever a broker may send.
func FuzzConsumer(f *testing.F) {
	good := protocol.AppendDeliver(nil, 1, "c", 1, true, "x", []byte("k"))
	good = protocol.AppendHeader(good, 1, protocol.ClassBasic, 20, []byte{0, 0})
	good = protocol.AppendBody(good, 1, bytes.Repeat([]byte{1}, 20), 4096)
	f.Add(append(good, good...))
	f.Add(protocol.AppendMethod(good, 0, &protocol.ConnectionBlocked{Reason: "r"}))
	f.Add(protocol.AppendBody(nil, 1, []byte("lone"), 0))
	f.Fuzz(func(t *testing.T, stream []byte) {
		near, far := net.Pipe()
		defer func() { _ = near.Close() }()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		c := &consumer{
			o: &Options{MultiAck: 2}, conn: client.New(near), received: &atomic.Uint64{},
			tracker: newTracker(1, 1, 0),
		}
		c.tracker.confirmed[0].sent.Store(1 << 10)
		r := protocol.NewReader(bytes.NewReader(stream))
		for {
			frame, err := r.ReadFrame()
			if err != nil || c.frame(frame, 1) != nil {
				break
			}
			c.tracker.receive(0, c.arrived, &c.order)
			c.arrived = c.arrived[:0]
		}
		if c.count > uint64(len(stream)) {
			t.Errorf("%d messages in %d bytes", c.count, len(stream))
		}
	})
}
