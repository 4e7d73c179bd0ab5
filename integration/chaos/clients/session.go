package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// A session is one connection with one channel.
type session struct {
	*Load
	node   string
	spared func() bool
	number int // of the channel in the history
	conn   *amqp.Connection
	ch     *amqp.Channel
	raw    net.Conn
	closed chan *amqp.Error // of the connection
	chDown chan *amqp.Error // of the channel
}

// errLeft ends a session that may hold messages which are not settled: they come back, marked.
var errLeft = errors.New("the client left")

// dial connects to the node in a slot.
func (l *Load) dial(slot int) (*session, error) {
	c, err := l.Dial(slot)
	if err != nil {
		return nil, err
	}
	s := &session{Load: l, node: c.Node, spared: c.Spared, conn: c.AMQP, raw: c.Raw}
	s.closed = s.conn.NotifyClose(make(chan *amqp.Error, 1))
	stop := context.AfterFunc(l.Quit, s.cut)
	if s.ch, err = s.conn.Channel(); err != nil {
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

// end closes the connection in order.
func (s *session) end() {
	s.Add(history.Event{Kind: history.Ended, Channel: s.number, Note: s.node})
	_ = s.conn.CloseDeadline(time.Now().Add(5 * time.Second)) // it may be broken
	s.cut()
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
			s.Complain("error", "channel %d on %s was closed with %v", s.number, s.node, said)
		}
	}
	if !errors.Is(err, errLeft) && s.Quit.Err() == nil && s.spared() {
		s.Complain("error", "channel %d on %s, to which nothing was done, ended with %v %v", s.number, s.node, err, all)
	}
	s.Add(history.Event{Kind: history.Broken, Channel: s.number, Note: fmt.Sprintf("%s: %v %v", s.node, err, all)})
}

// sync has a synchronous method answered: what was sent before is in the log then. It needs a queue that
// is there.
func (s *session) sync(queue string) error {
	if _, err := s.ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
		return err
	}
	s.Add(history.Event{Kind: history.Synced, Channel: s.number})
	return nil
}
