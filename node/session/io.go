package session

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"warren/protocol"
)

// maxBurst is the most frames that the reader hands over at once.
const maxBurst = 1024

// A socket is the connection as its two goroutines use it: it counts, and it
// puts a limit on the silence of the peer.
type socket struct {
	net.Conn
	stats   *stats
	silence time.Duration   // the longest that a read may wait; 0: for ever
	raw     syscall.RawConn // for tryWrite; nil when the connection is none of the system's
}

// maxAtOnce is up to how many bytes the loop writes itself: to wake the writer costs more.
const maxAtOnce = 8 << 10

func (k *socket) Read(p []byte) (int, error) {
	if k.silence > 0 {
		// The time counts from the read on, so a peer that we do not listen to, as it
		// sent more than we can take, is not thought silent.
		if err := k.SetReadDeadline(time.Now().Add(k.silence)); err != nil {
			return 0, err
		}
	}
	n, err := k.Conn.Read(p)
	k.stats.received.Add(uint64(n))
	k.stats.receivedReads.Add(1)
	return n, err
}

// A burst is what one read brought: whole frames, and then perhaps an error.
// The frames lie in the reader's buffer until it is told to go on.
type burst struct {
	frames []protocol.Frame
	err    error
}

// read is the reader goroutine. It takes a turn with each burst and waits for the word to
// go on: the kernel's buffer is what reads ahead, and no byte is copied here.
// This relies on protocol.Reader moving its buffer only when it has to read.
// Behind an error in the stream it only looks for the end.
func (c *connection) read() {
	defer c.workers.Done()
	var frames []protocol.Frame
	for {
		f, err := c.reader.ReadFrame()
		frames = frames[:0]
		for err == nil {
			frames = append(frames, f)
			if len(frames) == maxBurst || !c.reader.FrameBuffered() {
				break
			}
			f, err = c.reader.ReadFrame()
		}
		if !c.bring(burst{frames: frames, err: err}) {
			return
		}
		select {
		case <-c.resume:
		case <-c.stop:
			return
		}
		if err != nil {
			c.discard(err)
			return
		}
	}
}

// bring takes a turn with a burst. What the loop has to see of its outcome wakes the loop. It returns false when the
// connection has ended.
func (c *connection) bring(b burst) bool {
	room, ended := c.take(&b)
	if room != nil || ended {
		c.s.inbox.signal()
	}
	return !ended
}

// discard throws away what comes behind an error in the stream, so that the
// client can read our connection.close before its socket breaks.
func (c *connection) discard(cause error) {
	var broken *protocol.Error
	if !errors.As(cause, &broken) {
		return
	}
	_, err := io.Copy(io.Discard, c.socket)
	if err == nil {
		err = io.EOF
	}
	c.bring(burst{err: err})
}

// write is the writer goroutine: one Flush per hand-over.
func (c *connection) write() {
	defer c.workers.Done()
	for w := range c.toWriter {
		before := w.BytesWritten()
		err := w.Flush()
		c.s.stats.sent.Add(w.BytesWritten() - before)
		c.s.stats.sentWrites.Add(1)
		c.written <- writeDone{w, err} // has room: one hand-over at a time
	}
}

type writeDone struct {
	w   *protocol.Writer
	err error
}

// flush writes what was gathered when it is little and the socket takes it at once. Else it
// gives it to the writer, unless that is still busy: then more is gathered.
func (c *connection) flush() {
	if c.spare == nil || c.out.Buffered() == 0 {
		return
	}
	if c.socket.raw != nil && c.out.Buffered() <= maxAtOnce {
		before := c.out.BytesWritten()
		done := c.out.TryFlush(c.socket.tryWrite)
		if n := c.out.BytesWritten() - before; n > 0 {
			c.s.stats.sent.Add(n)
			c.s.stats.sentWrites.Add(1)
			c.quiet = false
		}
		if done {
			return
		}
	}
	c.toWriter <- c.out // has room: the writer is idle
	c.out, c.spare = c.spare, nil
	c.quiet = false
}

// full reports whether so much waits to be written that nothing may be added but
// what ends the connection.
func (c *connection) full() bool { return c.out.Buffered() >= maxUnwritten }

// idle reports whether all is written.
func (c *connection) idle() bool { return c.spare != nil && c.out.Buffered() == 0 }
