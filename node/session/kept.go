package session

import (
	"fmt"
	"sync/atomic"
	"time"

	"warren/protocol"
)

// leastKept is how much a connection has to keep to be closed for what all keep, in bytes.
const leastKept = 64 << 10

// kept is what a client makes its session keep: unfinished messages, open transactions, direct replies that it does not read.
// The session's loop and those who send replies change it, anybody reads it.
type kept struct {
	bytes atomic.Int64
	since atomic.Int64 // when it was nothing for the last time, in nanoseconds since the Unix epoch
	ended atomic.Bool  // nothing is kept any more
}

// Kept returns how many bytes the client makes the node keep, and since when it has been more than nothing. It is false when that is
// too little to matter.
func (s *Session) Kept() (bytes int64, since time.Time, ok bool) {
	bytes = s.kept.bytes.Load()
	return bytes, time.Unix(0, s.kept.since.Load()), bytes >= leastKept
}

// keep counts bytes that are kept, or, below 0, are not any more.
func (s *Session) keep(bytes int) {
	if bytes == 0 {
		return // most messages come whole
	}
	l := s.cfg.Limits
	if s.kept.bytes.Load() == 0 { // before they are counted: whoever sees them sees since when
		s.kept.since.Store(time.Now().UnixNano())
	}
	s.kept.bytes.Add(int64(bytes))
	all := l.kept.Add(int64(bytes))
	if s.kept.ended.Load() { // a reply that came just before the end
		s.keepNothing()
		return
	}
	if most := l.Bytes(); all > most && most > 0 && bytes > 0 && l.Shed != nil {
		l.Shed()
	}
}

// keepNothing ends the account of a session that has ended.
func (s *Session) keepNothing() {
	s.kept.ended.Store(true)
	s.cfg.Limits.kept.Add(-s.kept.bytes.Swap(0))
}

// over reports whether the sessions of the node keep more than so many times what they may.
func (l *Limits) over(times int64) bool {
	most := l.Bytes() // once: a reload may change it
	return most > 0 && l.kept.Load() > times*most
}

// Kept returns how many bytes all sessions keep for their clients.
func (l *Limits) Kept() int64 { return l.kept.Load() }

// charge counts bytes that the client makes us keep. It reports whether that is
// still bearable; if not it closes the connection.
func (c *connection) charge(bytes int) bool {
	c.buffered += bytes
	c.s.keep(bytes)
	most := 2*c.cfg.MaxMessageSize + 2*c.cfg.MaxTransaction
	text := ""
	switch {
	case bytes <= 0:
		return true
	case c.buffered > most:
		text = fmt.Sprintf("unfinished messages and open transactions of the connection hold more than %d bytes", c.buffered-bytes)
	case c.buffered > leastKept && c.cfg.Limits.over(2): // those who are closed for it are slow to go
		text = fmt.Sprintf("unfinished messages, open transactions and unread replies hold more than %d bytes on this node", 2*c.cfg.Limits.Bytes())
	default:
		return true
	}
	c.fail(protocol.Errorf(protocol.ResourceError, 0, "%s", text))
	return false
}

// maxReplies is how many bytes of direct replies may wait for the client to read.
func (s *Session) maxReplies() int {
	if s.cfg.Limits.over(1) {
		return 0
	}
	return s.cfg.MaxReplies
}
