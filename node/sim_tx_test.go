package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

const (
	tokens     = 10 // messages that transactions move
	moveQueues = 3
)

// moves is what clients know of the tokens that they move.
type moves struct {
	*sim
	queues []string

	mu        sync.Mutex
	at        map[uint64]history.Move // what a message is, by its number
	committed []history.Move
	left      map[uint64]bool // what was there at the end
}

// transactions move messages from queue to queue: there are always as many as there were.
func transactions(s *sim) judge {
	m := &moves{sim: s, at: map[uint64]history.Move{}, left: map[uint64]bool{}}
	for i := range moveQueues {
		m.queues = append(m.queues, fmt.Sprintf("move%d", i))
	}
	s.setUp(func(ch *amqp.Channel) error {
		var err error
		for _, q := range m.queues {
			err = errors.Join(err, declare(ch, q, nil))
		}
		return err
	})
	m.fill()
	var movers sync.WaitGroup
	for i := range moveQueues {
		random := s.source()
		movers.Add(1)
		s.put(func() {
			defer movers.Done()
			s.keep(s.stop, i, func(l *link) error { return m.move(l, random, m.queues[random.IntN(len(m.queues))]) })
		})
	}
	for i, q := range m.queues {
		s.take(func() {
			movers.Wait()
			s.keep(s.leave, i, func(l *link) error { return m.collect(l, q) })
		})
	}
	return judge{queues: m.queues, rules: final(m.queues...), check: m.check}
}

// fill puts all tokens in the first queue, in one transaction, before anything is done to the cluster.
func (m *moves) fill() {
	l, err := m.dial(m.all()[0])
	if err == nil {
		defer l.end()
		err = l.ch.Tx()
	}
	var ids []uint64
	for token := range tokens {
		if err != nil {
			break
		}
		var id uint64
		id, err = m.publish(l, history.Move{Token: token}, m.queues[0], false)
		ids = append(ids, id)
	}
	if err == nil {
		err = l.ch.TxCommit()
	}
	if err != nil {
		m.complain("set up", "tokens: %v", err)
		return
	}
	m.confirmed(l, ids)
}

// publish sends a token's message, in a transaction. One that will be rolled back has nowhere to arrive.
func (m *moves) publish(l *link, move history.Move, to string, rollback bool) (uint64, error) {
	id := m.Message()
	m.mu.Lock()
	m.at[id] = move
	m.mu.Unlock()
	e := history.Event{Kind: history.Published, Channel: l.number, Message: id, To: []string{to}}
	if rollback {
		e.To = nil
	}
	m.Add(e)
	return id, l.ch.Publish("", to, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(id)})
}

// confirmed notes that a transaction with these publishes was committed.
func (m *moves) confirmed(l *link, ids []uint64) {
	m.Add(history.Event{Kind: history.Synced, Channel: l.number})
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		m.Add(history.Event{Kind: history.Confirmed, Channel: l.number, Message: id})
		if move := m.at[id]; move.Hop > 0 {
			m.committed = append(m.committed, move)
		}
	}
}

// move takes tokens from a queue and puts them in others.
func (m *moves) move(l *link, random *rand.Rand, from string) error {
	if err := errors.Join(l.ch.Tx(), l.ch.Qos(3, 0, false)); err != nil {
		return err
	}
	m.Add(history.Event{Kind: history.Consuming, Channel: l.number, Queue: from, Note: l.to.name()})
	deliveries, err := l.ch.Consume(from, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	// After some transactions it goes to another queue.
	for range 5 + random.IntN(20) {
		var held []amqp.Delivery
		for range 1 + random.IntN(2) {
			select {
			case <-m.stop.Done():
				return errLeft
			case <-time.After(100 * time.Millisecond): // all may be elsewhere, or held by others
				return errLeft
			case d, ok := <-deliveries:
				if !ok {
					return errors.New("deliveries ended")
				}
				held = append(held, d)
				m.arrived(l, from, d)
			}
		}
		if random.IntN(10) == 0 {
			if err := m.transact(l, random, from, held, true); err != nil {
				return err
			}
		}
		if err := m.transact(l, random, from, held, false); err != nil {
			return err
		}
		sleep(m.stop, pace)
	}
	return errLeft
}

// arrived writes a delivery down.
func (m *moves) arrived(l *link, queue string, d amqp.Delivery) uint64 {
	id := m.numberOf(d.Body)
	m.Add(history.Event{Kind: history.Delivered, Channel: l.number, Queue: queue, Message: id, Redelivered: d.Redelivered})
	return id
}

// transact moves what was delivered in one transaction.
func (m *moves) transact(l *link, random *rand.Rand, from string, held []amqp.Delivery, rollback bool) error {
	var sent []uint64
	for _, d := range held {
		got := m.numberOf(d.Body)
		m.mu.Lock()
		next := m.at[got]
		m.mu.Unlock()
		next.Hop++
		id, err := m.publish(l, next, m.queues[random.IntN(len(m.queues))], rollback)
		if err != nil {
			return err
		}
		sent = append(sent, id)
		if !rollback { // the history need not know of one that is taken back
			m.Add(history.Event{Kind: history.Acked, Channel: l.number, Queue: from, Message: got})
		}
		if err := d.Ack(false); err != nil {
			return err
		}
	}
	if rollback {
		return l.ch.TxRollback()
	}
	if err := l.ch.TxCommit(); err != nil {
		return err
	}
	m.confirmed(l, sent)
	m.done("transactions")
	return nil
}

// collect takes out what is in a queue at the end.
func (m *moves) collect(l *link, queue string) error {
	m.Add(history.Event{Kind: history.Consuming, Channel: l.number, Queue: queue, Note: l.to.name()})
	deliveries, err := l.ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case <-m.leave.Done():
			return l.sync(queue)
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("deliveries ended")
			}
			id := m.arrived(l, queue, d)
			m.mu.Lock()
			m.left[id] = true
			m.mu.Unlock()
			m.Add(history.Event{Kind: history.Acked, Channel: l.number, Queue: queue, Message: id})
			if err := d.Ack(false); err != nil {
				return err
			}
		}
	}
}

func (m *moves) check() []history.Violation {
	m.mu.Lock()
	defer m.mu.Unlock()
	var left []history.Move
	for id := range m.left {
		left = append(left, m.at[id])
	}
	return history.CheckTokens(tokens, m.committed, left)
}
