package clients

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// A Config is what a harness says of its cluster.
type Config struct {
	// Dial connects to the node in a slot, counted from 0 and around the end: those who are members change.
	Dial func(slot int) (Conn, error)
	// Random returns a new source of choices at each call; they follow from the harness's seed.
	Random func() *rand.Rand
	// Prefix begins the names of all queues and exchanges.
	Prefix string
	Scale  Scale

	// Stop ends the clients that put something in, Leave those that take something out, and Quit the connections of all that are
	// left then.
	Stop, Leave, Quit context.Context
}

// A Conn is a connection to a node.
type Conn struct {
	AMQP   *amqp.Connection
	Raw    net.Conn    // below it
	Node   string      // its name
	Spared func() bool // whether nothing was done to the node that its clients may notice
}

// A Scale is how much the clients do. The larger their numbers the more a history shows, and the longer it takes.
type Scale struct {
	Body      int           // bytes of a message, less than that, 1024 at most; one in 256 is
	Large     int           // so many times as large
	Several   int           // publishers and consumers of a work queue, users of registers
	Copies    int           // queues of a fan-out; in most other workloads as many consumers less one
	Window    int           // publishes of a publisher that wait for their confirms, at most
	SyncEvery int           // after so many settled messages a consumer makes sure, or
	SyncTime  time.Duration // after this time
	TTL       time.Duration // of messages in queues in which they expire
	Tokens    int           // messages that transactions move
	Moves     int           // queues between which they do
	Rest      time.Duration // between two transactions of a client
	// Registers are used one after the other, each for RegisterTime: the fewer operations there are on one, the faster is
	// its check.
	Registers    int
	RegisterTime time.Duration
	Patience     time.Duration // how long queues may take to be made
}

// A Load is all clients of one history.
type Load struct {
	*history.Recorder
	Config
	In, Out sync.WaitGroup // clients that end with Stop, and with Leave

	mu         sync.Mutex
	violations []history.Violation
	silences   map[string]time.Duration // by node, see heard
	did        map[string]int           // what a workload does over and over, by its name
	reconnects int
}

// New returns a load in which nothing runs yet.
func New(r *history.Recorder, c Config) *Load {
	return &Load{Recorder: r, Config: c, silences: map[string]time.Duration{}, did: map[string]int{}}
}

// Complain notes a broken promise that somebody saw by himself.
func (l *Load) Complain(check, format string, args ...any) {
	v := history.Violation{Check: check, Text: fmt.Sprintf(format, args...)}
	l.Note("VIOLATION %v", v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations = append(l.violations, v)
}

// Violations are those that were noted by Complain.
func (l *Load) Violations() []history.Violation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]history.Violation(nil), l.violations...)
}

// Done counts what is done over and over: a workload that does nothing would find nothing.
func (l *Load) Done(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did[what]++
}

// Did is how often each workload, and whatever else was counted with Done, went through.
func (l *Load) Did() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	did := map[string]int{}
	for what, n := range l.did {
		did[what] = n
	}
	return did
}

// Reconnects is how many connections clients lost.
func (l *Load) Reconnects() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reconnects
}

// name is that of a queue or exchange of this load.
func (l *Load) name(what string) string { return l.Prefix + "." + what }

// put runs a client that ends with Stop, take one that ends with Leave.
func (l *Load) put(f func())  { l.In.Go(f) }
func (l *Load) take(f func()) { l.Out.Go(f) }

// keep has work done on a session until it returns nil or ctx is over. It connects to the node in slot home at first, and
// after an error to the next ones in turn.
func (l *Load) keep(ctx context.Context, home int, work func(s *session) error) {
	for try := home; ctx.Err() == nil; try++ {
		s, err := l.dial(try)
		if err != nil {
			pause(ctx, redial)
			continue
		}
		if err = work(s); err == nil {
			s.end()
			return
		}
		s.broken(err)
		if !errors.Is(err, errLeft) {
			l.mu.Lock()
			l.reconnects++
			l.mu.Unlock()
		}
	}
}

// redial is the pause after an attempt to connect that failed.
const redial = 50 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// SetUp has something made on any node, again until it works, for the scale's Patience at most; making it twice must do no harm.
func (l *Load) SetUp(what string, make func(ch *amqp.Channel) error) error {
	var err error
	end := time.Now().Add(l.Scale.Patience)
	for slot := 0; ; slot++ {
		var s *session
		if s, err = l.dial(slot); err == nil {
			err = make(s.ch)
			_ = s.conn.CloseDeadline(time.Now().Add(time.Second)) // it may be broken
			s.cut()
		}
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %w", what, err)
		}
		time.Sleep(redial)
	}
}

// heard takes a confirm of a client on a node for the longest silence there.
func (l *Load) heard(s *session, last *time.Time) {
	now := time.Now()
	if !last.IsZero() {
		l.mu.Lock()
		l.silences[s.node] = max(l.silences[s.node], now.Sub(*last))
		l.mu.Unlock()
	}
	*last = now
}

// TakeSilence returns the longest time between two confirms of a client since the last call, but on nodes that were hurt.
func (l *Load) TakeSilence(hurt map[string]bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest := time.Duration(0)
	for name, d := range l.silences {
		if !hurt[name] {
			longest = max(longest, d)
		}
	}
	clear(l.silences)
	return longest
}
