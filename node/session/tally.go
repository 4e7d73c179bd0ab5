package session

import "sync/atomic"

// A Count is a kind of thing that happens to messages on a channel.
type Count int

// The counts. Their names are those of RabbitMQ's message_stats.
const (
	CountPublished        Count = iota // by the client
	CountPublishedChecked              // of those, on channels in confirm mode
	CountConfirmed                     // with basic.ack
	CountReturned                      // mandatory, and no queue took it
	CountDropped                       // not mandatory, and no queue took it
	CountDelivered                     // to consumers that acknowledge
	CountDeliveredAuto                 // to consumers that do not
	CountGot                           // by basic.get with acknowledgement
	CountGotAuto                       // by basic.get without
	CountGotEmpty                      // basic.get on an empty queue
	CountRedelivered                   // of those delivered and got, not for the first time
	CountAcked
	counts // how many there are
)

var countNames = [counts]string{
	"publish", "publish_checked", "confirm", "return_unroutable", "drop_unroutable", "deliver", "deliver_no_ack",
	"get", "get_no_ack", "get_empty", "redeliver", "ack",
}

// String is the name of the count in the HTTP API; that of CountPublishedChecked is not RabbitMQ's.
func (c Count) String() string { return countNames[c] }

// Counts are all counts.
type Counts [counts]uint64

// Named returns the counts that are not 0, by name.
func (c *Counts) Named() map[string]uint64 {
	named := make(map[string]uint64)
	for i, n := range c {
		if n > 0 {
			named[countNames[i]] = n
		}
	}
	return named
}

// tallyShards parts the sessions of a node so that few write to the same memory.
const tallyShards = 16

// A Tally counts for all connections of a node. Sessions add to it once in a turn of their
// loops, so a busy one seldom does.
type Tally struct {
	shards [tallyShards]tallyShard

	connectionsOpened, connectionsClosed atomic.Uint64
	channelsOpened, channelsClosed       atomic.Uint64
	consumers, publishers                atomic.Int64
}

type tallyShard struct {
	counts [counts]atomic.Uint64
	sizes  [len(SizeBounds) + 1]atomic.Uint64
	bytes  atomic.Uint64
	_      [7]uint64 // apart from the next in the caches
}

// SizeBounds are the upper bounds, in bytes, of the classes in which the bodies of published
// messages are counted by size: those of RabbitMQ. Behind them is a class for what is larger.
var SizeBounds = [...]int{100, 1e3, 10e3, 100e3, 1e6, 10e6, 50e6, 100e6}

// sizes are messages by the class of their size, and the bytes of all.
type sizes struct {
	classes [len(SizeBounds) + 1]uint64
	bytes   uint64
}

func (s *sizes) note(size int) {
	class := 0
	for class < len(SizeBounds) && size > SizeBounds[class] {
		class++
	}
	s.classes[class]++
	s.bytes += uint64(size)
}

// Totals is what a Tally has counted since the process started, and what is there now.
type Totals struct {
	Counts
	ConnectionsOpened, ConnectionsClosed uint64
	ChannelsOpened, ChannelsClosed       uint64
	Consumers, Publishers                int // now; publishers are channels that have published

	Sizes [len(SizeBounds) + 1]uint64 // bodies published, by class: see SizeBounds
	Bytes uint64                      // of all of them
}

// Totals returns the sums of this moment.
func (t *Tally) Totals() Totals {
	sum := Totals{
		ConnectionsOpened: t.connectionsOpened.Load(), ConnectionsClosed: t.connectionsClosed.Load(),
		ChannelsOpened: t.channelsOpened.Load(), ChannelsClosed: t.channelsClosed.Load(),
		Consumers: int(t.consumers.Load()), Publishers: int(t.publishers.Load()),
	}
	for i := range t.shards {
		for k := range sum.Counts {
			sum.Counts[k] += t.shards[i].counts[k].Load()
		}
		for k := range sum.Sizes {
			sum.Sizes[k] += t.shards[i].sizes[k].Load()
		}
		sum.Bytes += t.shards[i].bytes.Load()
	}
	return sum
}

// Add counts what no session sees: messages that come and go over HTTP.
func (t *Tally) Add(c Count, n uint64) { t.shards[0].counts[c].Add(n) }

// count counts for the channel, and for the node at the end of the turn.
func (ch *channel) count(what Count, n uint64) {
	if ch.counts[CountPublished] == 0 && what == CountPublished {
		ch.c.cfg.Tally.publishers.Add(1)
	}
	ch.counts[what] += n
	ch.c.turn[what] += n
	ch.c.counting = true
}

// tally tells the node what was counted in this turn.
func (c *connection) tally() {
	if !c.counting {
		return
	}
	c.counting = false
	shard := &c.cfg.Tally.shards[c.cfg.ID%tallyShards]
	for i, n := range c.turn {
		if n > 0 {
			shard.counts[i].Add(n)
			c.turn[i] = 0
		}
	}
	if c.sizes == (sizes{}) {
		return
	}
	for i, n := range c.sizes.classes {
		if n > 0 {
			shard.sizes[i].Add(n)
		}
	}
	shard.bytes.Add(c.sizes.bytes)
	c.sizes = sizes{}
}
