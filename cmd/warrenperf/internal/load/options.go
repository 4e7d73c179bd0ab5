package load

import (
	"fmt"
	"strings"
	"time"

	"warren/cmd/warrenperf/internal/client"
)

// Options say what load to make. Names and meanings are those of RabbitMQ's
// PerfTest where it has them (https://perftest.rabbitmq.com).
type Options struct {
	URIs      []client.Endpoint // clients go round-robin over them, producers first
	Producers int
	Consumers int

	Queues       int
	Spread       bool   // clients use all queues of their share in turn, not one of them
	Queue        string // the name, when there is one queue
	QueuePattern string // the names, when there are more: %d is the number, from 1
	Quorum       bool   // x-queue-type: quorum, durable
	AutoDelete   bool
	Predeclared  bool // declare, bind and delete nothing
	KeepQueues   bool // do not delete at the end what was declared

	Exchange   string // "" is the default exchange: the routing key is the queue's name
	Type       string // of the exchange
	RoutingKey string // default: the queue's name

	Size       int // bytes of body
	Persistent bool
	Mandatory  bool
	Confirm    int     // at most so many publishes unconfirmed a producer; 0: no confirms
	Rate       float64 // publishes a second and producer; 0: no limit
	PMessages  uint64  // publishes a producer; 0: no limit

	QoS       int // prefetch count a consumer; 0: no limit
	MultiAck  int // one ack for so many deliveries
	AutoAck   bool
	CMessages uint64 // deliveries a consumer; 0: no limit

	Time        time.Duration // of the measurement; 0: until the counts are reached
	Warmup      time.Duration // before it, not measured
	IdleTimeout time.Duration // how long nothing may come while messages are awaited
	Shutdown    time.Duration // for outstanding confirms at the end

	Verify     bool  // number messages, and look for lost and doubled ones
	ServerPIDs []int // whose CPU and memory is told; found for loopback URIs when empty
}

// Sizes of what stands in a body's first bytes.
const (
	stampSize  = 8             // time of the publish, nanoseconds since 1970
	numberSize = stampSize + 8 // producer and number of the message, for Verify
	maxSize    = 1 << 30       // bytes of body
	maxClients = 60_000        // a producer's number has 16 bits
	batchBytes = 128 << 10     // about so much is sent with one write
	maxWindow  = 1 << 20       // of Confirm
)

// names returns the names of the queues.
func (o *Options) names() []string {
	if o.Queues == 1 && o.Queue != "" {
		return []string{o.Queue}
	}
	names := make([]string, o.Queues)
	for i := range names {
		names[i] = o.name(uint64(i) + 1)
	}
	return names
}

// name makes a name of the pattern.
func (o *Options) name(number uint64) string {
	return strings.ReplaceAll(o.QueuePattern, "%d", fmt.Sprint(number))
}

// share returns the numbers, from 0, of the queues that the i-th of so many clients uses.
func (o *Options) share(i, clients int) (queues []int) {
	if !o.Spread {
		return []int{i % o.Queues}
	}
	for q := i % o.Queues; q < o.Queues; q += clients {
		queues = append(queues, q)
	}
	return queues
}

// everyQueue reports whether each message is routed to all queues.
func (o *Options) everyQueue() bool {
	return o.Exchange != "" && (o.Type == "fanout" || o.RoutingKey != "")
}

// copies returns how many queues a message comes into.
func (o *Options) copies() int {
	if o.everyQueue() {
		return o.Queues
	}
	return 1
}

// An OptionError says which options cannot be, and what to do about it.
type OptionError struct{ Text string }

func (e *OptionError) Error() string { return e.Text }

func badOption(format string, args ...any) error { return &OptionError{fmt.Sprintf(format, args...)} }

// errEndless is of a run that has no end.
func errEndless(count string) error {
	return badOption("the run would never end: give --time or --%s", count)
}

// Check returns an *OptionError for what cannot be.
func (o *Options) Check() error {
	switch {
	case len(o.URIs) == 0:
		return badOption("no URI is given")
	case o.Producers < 0 || o.Consumers < 0 || o.Producers+o.Consumers == 0:
		return badOption("there is neither a producer nor a consumer")
	case o.Producers > maxClients || o.Consumers > maxClients:
		return badOption("more than %d producers or consumers", maxClients)
	case o.Queues < 1:
		return badOption("there is no queue: --queues must be at least 1")
	case o.Queues > 1 && o.Queue != "":
		return badOption("--queue names one queue: for more of them use --queue-pattern")
	case (o.Queues > 1 || o.Queue == "") && !strings.Contains(o.QueuePattern, "%d"):
		return badOption("--queue-pattern %q does not hold %%d", o.QueuePattern)
	case o.Spread && o.Verify:
		return badOption("--verify follows each producer to one queue: it cannot be with --spread")
	case o.Spread && o.everyQueue():
		return badOption("--spread is for messages that go to one queue each")
	case o.Size < 0 || o.Size > maxSize:
		return badOption("--size must be from 0 to %d bytes", maxSize)
	case o.Verify && o.Size < numberSize:
		return badOption("--verify needs messages of at least %d bytes: see --size", numberSize)
	case o.Confirm < 0 || o.Confirm > maxWindow:
		return badOption("--confirm must be from 0 to %d", maxWindow)
	case o.Verify && o.Producers > 0 && o.Confirm == 0:
		return badOption("--verify needs --confirm: what was not confirmed may be lost")
	case o.Rate < 0:
		return badOption("--rate must not be negative")
	case o.QoS < 0 || o.QoS > 65535:
		return badOption("--qos must be from 0 to 65535")
	case o.MultiAck < 1:
		return badOption("--multi-ack-every must be at least 1")
	case o.QoS > 0 && o.MultiAck > o.QoS && !o.AutoAck:
		return badOption("--multi-ack-every %d would wait for ever with --qos %d", o.MultiAck, o.QoS)
	case o.Time < 0 || o.Warmup < 0 || o.IdleTimeout <= 0 || o.Shutdown <= 0:
		return badOption("durations must be positive")
	case o.Predeclared && o.Exchange != "" && o.everyQueue() && o.Queues > 1 && o.Verify:
		return badOption("--verify cannot know the bindings of predeclared queues: use one queue")
	}
	return nil
}
