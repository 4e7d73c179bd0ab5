//go:build linux

package chaos

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
	"warren/integration/proc"
)

// A load is what the clients of one round share.
type load struct {
	*history.Recorder
	cluster *Cluster
	prefix  string // of the names of this round's queues and exchanges
	seed    uint64

	stop  context.Context // ends the clients that put something in,
	leave context.Context // those that take something out, and
	quit  context.Context // the connections of all that are left

	in, out sync.WaitGroup // clients of the first two kinds

	mu         sync.Mutex
	violations []history.Violation
	silences   map[string]time.Duration // by node, see heard
	clients    int
	did        map[string]int // what a workload does over and over, by its name
	reconnects int
}

// complain notes a broken promise that a client saw by itself.
func (l *load) complain(check, format string, args ...any) {
	v := history.Violation{Check: check, Text: fmt.Sprintf(format, args...)}
	l.Note("VIOLATION %v", v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations = append(l.violations, v)
}

// done counts what a workload does over and over: one that does nothing would find nothing.
func (l *load) done(workload string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did[workload]++
}

// random returns a client's own source of choices; it follows from the seed.
func (l *load) random() *rand.Rand {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients++
	return rand.New(rand.NewPCG(l.seed, uint64(l.clients)))
}

func (l *load) name(what string) string { return l.prefix + "." + what }

// put runs a client that ends with stop, take one that ends with leave.
func (l *load) put(f func())  { l.in.Go(f) }
func (l *load) take(f func()) { l.out.Go(f) }

// A session is one connection with one channel.
type session struct {
	load   *load
	node   *Node
	number int // of the channel in the history
	conn   *amqp.Connection
	ch     *amqp.Channel
	raw    net.Conn
	closed chan *amqp.Error // of the connection
	chDown chan *amqp.Error // of the channel
}

// What a client waits for: long for a machine under load, short for a cluster that is cut in two.
const (
	dialTimeout = 3 * time.Second
	heartbeat   = 2 * time.Second // a silent node is given up after some of them
)

// dial connects to a node.
func (l *load) dial(n *Node) (*session, error) {
	s := &session{load: l, node: n}
	dial := amqp.DefaultDial(dialTimeout * proc.Slow)
	conn, err := amqp.DialConfig(n.URL(), amqp.Config{
		Heartbeat: heartbeat * proc.Slow,
		Dial: func(network, addr string) (net.Conn, error) {
			c, err := dial(network, addr)
			s.raw = c
			return c, err
		},
	})
	if err != nil {
		return nil, err
	}
	s.conn = conn
	s.closed = conn.NotifyClose(make(chan *amqp.Error, 1))
	stop := context.AfterFunc(l.quit, s.cut)
	if s.ch, err = conn.Channel(); err != nil {
		stop()
		s.cut()
		return nil, err
	}
	s.chDown = s.ch.NotifyClose(make(chan *amqp.Error, 1))
	s.number = l.Channel()
	return s, nil
}

// cut ends the connection without a word.
func (s *session) cut() { _ = s.raw.Close() }

// keep has work done on a session until it returns nil or ctx is over. It connects to the node in slot home at first, and
// after an error to the next ones in turn.
func (l *load) keep(ctx context.Context, home int, work func(s *session) error) {
	for try := home; ctx.Err() == nil; try++ {
		nodes := l.cluster.Nodes()
		s, err := l.dial(nodes[try%len(nodes)])
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		err = work(s)
		if err == nil {
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

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// end closes the connection in order.
func (s *session) end() {
	s.load.Add(history.Event{Kind: history.Ended, Channel: s.number, Note: s.node.Name})
	_ = s.conn.CloseDeadline(time.Now().Add(5 * time.Second))
}

// broken writes down why a session failed, and judges it: a broker says 320 when
// it closes connections for reasons of its own. Everything else that it says is about what the client did, and
// these clients do nothing wrong. On a node to which nothing was done no session fails.
func (s *session) broken(err error) {
	var all []error
	for _, c := range []chan *amqp.Error{s.chDown, s.closed} {
		select {
		case e := <-c:
			if e != nil {
				all = append(all, e)
			}
		case <-time.After(20 * time.Millisecond):
		}
	}
	_ = s.conn.CloseDeadline(time.Now())
	s.cut()
	for _, e := range append(all, err) {
		var said *amqp.Error
		if errors.As(e, &said) && said.Server && said.Code != amqp.ConnectionForced {
			s.load.complain("error", "channel %d on %s was closed with %v", s.number, s.node.Name, said)
		}
	}
	if !errors.Is(err, errLeft) && s.load.quit.Err() == nil && s.load.cluster.spared(s.node) {
		s.load.complain("error", "channel %d on %s, to which nothing was done, ended with %v %v", s.number, s.node.Name, err, all)
	}
	s.load.Add(history.Event{Kind: history.Broken, Channel: s.number, Note: fmt.Sprintf("%s: %v %v", s.node.Name, err, all)})
}

// sync has a synchronous method answered: what was sent before is in the log then. It needs a queue that
// is there.
func (s *session) sync(queue string) error {
	if _, err := s.ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
		return err
	}
	s.load.Add(history.Event{Kind: history.Synced, Channel: s.number})
	return nil
}

// setUp has something made on any node, again until it works; making it twice must do no harm.
func (l *load) setUp(what string, make func(ch *amqp.Channel) error) error {
	err := proc.WaitFor(proc.Patience, func() error {
		err := errors.New("no nodes")
		for _, n := range l.cluster.Nodes() {
			var s *session
			if s, err = l.dial(n); err != nil {
				continue
			}
			err = make(s.ch)
			_ = s.conn.CloseDeadline(time.Now().Add(time.Second))
			if err == nil {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// heard takes a confirm of a client on a node for the longest silence there.
func (l *load) heard(s *session, last *time.Time) {
	now := time.Now()
	if !last.IsZero() {
		l.mu.Lock()
		l.silences[s.node.Name] = max(l.silences[s.node.Name], now.Sub(*last))
		l.mu.Unlock()
	}
	*last = now
}

// takeSilence returns the longest silence since the last call, but on nodes that were hurt.
func (l *load) takeSilence(hurt map[string]bool) time.Duration {
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
