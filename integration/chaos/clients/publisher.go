package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// A publisher sends messages with confirms until the load stops, at a pace, and moves on to another node when its own
// fails it. What was not confirmed by then is not sent again: it may have happened or not.
type publisher struct {
	*Load
	workload string // its name
	home     int
	pace     time.Duration // between two messages
	// next chooses what is sent.
	next func(random *rand.Rand) publishing

	choice  *rand.Rand
	heardAt time.Time // of the last confirm, on this session
}

// A publishing is one message to send.
type publishing struct {
	exchange, key string
	to            []string // queues that it has to arrive in
	mandatory     bool
	transient     bool
	expiration    string
}

func (p *publisher) run() {
	p.choice = p.Random()
	p.keep(p.Stop, p.home, p.publish)
}

// publish works on one session until the load stops and all is confirmed, or the session fails.
func (p *publisher) publish(s *session) error {
	p.heardAt = time.Time{}
	confirms := s.ch.NotifyPublish(make(chan amqp.Confirmation, 2*p.Scale.Window))
	returns := s.ch.NotifyReturn(make(chan amqp.Return, 2*p.Scale.Window))
	if err := s.ch.Confirm(false); err != nil {
		return err
	}
	var pending []uint64
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	stop := p.Stop.Done()
	for stop != nil || len(pending) > 0 {
		var ready <-chan time.Time
		if len(pending) < p.Scale.Window && stop != nil {
			ready = tick.C
		}
		select {
		case <-stop:
			stop = nil
		case <-p.Quit.Done():
			p.Complain("answer", "%d publishes on channel %d, which is open, were not confirmed, though all is mended", len(pending), s.number)
			return nil
		case <-ready:
			id, err := p.send(s)
			if err != nil {
				return err
			}
			pending = append(pending, id)
		case c, ok := <-confirms:
			if !ok {
				return errors.New("the channel is closed")
			}
			takeReturns(s, returns)
			if len(pending) == 0 {
				return fmt.Errorf("a confirm too many: %+v", c)
			}
			kind := history.Confirmed
			if !c.Ack {
				kind = history.Nacked
			}
			p.Add(history.Event{Kind: kind, Channel: s.number, Message: pending[0]})
			pending = pending[1:]
			p.Done(p.workload)
			p.heard(s, &p.heardAt)
		}
	}
	return nil
}

func (p *publisher) send(s *session) (uint64, error) {
	m := p.next(p.choice)
	id := p.Message()
	p.Add(history.Event{Kind: history.Published, Channel: s.number, Message: id, To: m.to, Mandatory: m.mandatory})
	msg := amqp.Publishing{Body: p.Scale.body(id), Expiration: m.expiration, DeliveryMode: amqp.Persistent}
	if m.transient {
		msg.DeliveryMode = amqp.Transient
	}
	return id, s.ch.Publish(m.exchange, m.key, m.mandatory, false, msg)
}

// takeReturns writes down the returns that came before a confirm.
func takeReturns(s *session, returns <-chan amqp.Return) {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				return
			}
			id, err := s.Scale.numberOf(r.Body)
			if err != nil {
				s.Complain("corrupted", "returned on channel %d: %v", s.number, err)
			}
			s.Add(history.Event{Kind: history.Returned, Channel: s.number, Message: id, Note: r.ReplyText})
		default:
			return
		}
	}
}
