package session

// What the result of a command is for.
const (
	forPublish = iota
	forMethod  // the synchronous method that its channel is waiting for
	forChannelClose
	forConnectionClose
)

// A token says what the result of a command is for: from the top, 16 bits of
// channel number, 16 of the channel's incarnation (a number that is opened
// again must not be given the results of the channel that had it before), 2 of
// the purpose, and for a publish the low 30 bits of its number on the channel.
type token uint64

const publishMask = 1<<30 - 1

// settleOnly, in place of a publish's number, says that the command of forMethod is no method's, but a settle whose
// outcome no client waits for: see flushSettles.
const settleOnly = 1

func newToken(channel, incarnation uint16, purpose int, publish uint64) token {
	return token(channel)<<48 | token(incarnation)<<32 | token(purpose)<<30 | token(publish&publishMask)
}

// ChannelOf returns the channel whose command a token of a session is of.
func ChannelOf(t uint64) uint16 { return token(t).channel() }

func (t token) channel() uint16     { return uint16(t >> 48) }
func (t token) incarnation() uint16 { return uint16(t >> 32) }
func (t token) purpose() int        { return int(t>>30) & 3 }

// settles says that the token is that of a settle alone.
func (t token) settles() bool { return t.purpose() == forMethod && t&publishMask == settleOnly }

// publish restores the number of a publish from its low bits: it is the last
// such number not above the number of the latest publish.
func (t token) publish(latest uint64) uint64 {
	return latest - (latest-uint64(t))&publishMask
}
