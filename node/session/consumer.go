package session

import "warren/fsm/command"

const (
	// maxWindow is the most deliveries that a consumer with no or a large prefetch is
	// given ahead of what was written to its socket.
	maxWindow = 2048
	// minWindow is the least.
	minWindow = 32
	// firstWindow is the window while the size of messages is not known.
	firstWindow = 512
	// windowBytes is how many bytes a window should hold.
	windowBytes = 16 << 20
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
	average   int // bytes of a message, moving
}

// topUp counts a delivery and raises the limit when half of the window is used.
func (ch *channel) topUp(k *consumer, size int) {
	k.delivered++
	k.average += (size - k.average) / 8
	if !k.windowed {
		return
	}
	w := k.window()
	if k.limit > k.delivered+w/2 {
		return
	}
	k.limit = k.delivered + w
	cmd := &ch.c.credit
	*cmd = command.Credit{Channel: ch.name(), Tag: k.tag, Limit: k.limit}
	ch.c.cfg.Proposer.Propose(cmd, nil, 0)
}

func (k *consumer) window() uint64 {
	return uint64(min(maxWindow, max(minWindow, windowBytes/max(k.average, 1))))
}
