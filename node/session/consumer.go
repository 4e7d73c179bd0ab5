package session

import "warren/fsm/command"

const (
	// maxWindow is the most deliveries that a consumer with no or a large prefetch is
	// given ahead of what was written to its socket.
	maxWindow = 2048
	// minWindow is the least.
	minWindow = 2
	// firstWindow is the window while the size of messages is not known. A prefetch up to that bounds
	// well enough what is under way.
	firstWindow = 32
	// maxWindowBytes and minWindowBytes bound how many bytes a window should hold: fewer when the node has many consumers.
	maxWindowBytes, minWindowBytes = 16 << 20, 64 << 10
)

// A consumer is one of the channel's. The machine gives it messages up to a
// limit, counted from its beginning. Where its prefetch does not bound what may
// be under way, the session does, by raising the limit as it writes (see
// command.Credit).
type consumer struct {
	tag       string
	queue     string
	noAck     bool
	windowed  bool
	limit     uint64
	delivered uint64
	average   int // bytes of a message, moving; larger ones count at once
}

// topUp counts a delivery and raises the limit when half of the window is used.
func (ch *channel) topUp(k *consumer, size int) {
	k.delivered++
	k.average = max(size, k.average-(k.average-size)/8)
	if !k.windowed {
		return
	}
	w := ch.c.window(k)
	if k.limit > k.delivered+w/2 {
		return
	}
	k.limit = k.delivered + w
	cmd := &ch.c.credit
	*cmd = command.Credit{Channel: ch.name(), Tag: k.tag, Limit: k.limit}
	ch.c.cfg.Proposer.Propose(cmd, nil, 0)
}

// window is how many messages a consumer may have under way.
func (c *connection) window(k *consumer) uint64 {
	bytes := maxWindowBytes
	if l := c.cfg.Limits.Bytes(); l > 0 {
		bytes = int(min(maxWindowBytes, max(minWindowBytes, l/max(c.cfg.Tally.consumers.Load(), 1))))
	}
	return uint64(min(maxWindow, max(minWindow, bytes/max(k.average, 1))))
}
