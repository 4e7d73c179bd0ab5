package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// moves is what clients know of the tokens that they move.
type moves struct {
	*Load
	queues []string

	mu        sync.Mutex
	at        map[uint64]history.Move // what a message is, by its number
	committed []history.Move
	left      map[uint64]bool // what was there at the end
}

// transactions move messages from queue to queue: there are always as many as there were.
func transactions(l *Load) (*Judge, error) {
	m := &moves{Load: l, at: map[uint64]history.Move{}, left: map[uint64]bool{}}
	for i := range l.Scale.Moves {
		m.queues = append(m.queues, l.name(fmt.Sprintf("move%d", i)))
	}
	err := l.SetUp("queues of tokens", func(ch *amqp.Channel) error {
		for _, q := range m.queues {
			if err := declare(ch, q, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := m.fill(); err != nil {
		return nil, fmt.Errorf("put tokens in: %w", err)
	}
	var movers sync.WaitGroup
	for i := range l.Scale.Moves {
		movers.Add(1)
		l.put(func() {
			defer movers.Done()
			random := l.Random()
			from := i // so somebody begins with the first queue, which has all tokens
			l.keep(l.Stop, i, func(s *session) error {
				q := m.queues[from]
				from = random.IntN(len(m.queues))
				return m.move(s, random, q)
			})
		})
	}
	for i, q := range m.queues {
		l.take(func() {
			<-l.Stop.Done()
			movers.Wait()
			l.keep(l.Leave, i, func(s *session) error { return m.collect(s, q) })
		})
	}
	return &Judge{Queues: m.queues, Rules: final(m.queues...), Check: m.check}, nil
}

// fill puts all tokens in the first queue, in one transaction.
func (m *moves) fill() error {
	s, err := m.dial(0)
	if err != nil {
		return err
	}
	defer s.end()
	if err := s.ch.Tx(); err != nil {
		return err
	}
	var ids []uint64
	for token := range m.Scale.Tokens {
		id, err := m.publish(s, history.Move{Token: token}, m.queues[0], false)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := s.ch.TxCommit(); err != nil {
		return err
	}
	m.confirmed(s, ids)
	return nil
}

// publish sends a token's message, in a transaction. One that will be rolled back has nowhere to arrive.
func (m *moves) publish(s *session, move history.Move, to string, rollback bool) (uint64, error) {
	id := m.Message()
	m.mu.Lock()
	m.at[id] = move
	m.mu.Unlock()
	e := history.Event{Kind: history.Published, Channel: s.number, Message: id, To: []string{to}}
	if rollback {
		e.To = nil
	}
	m.Add(e)
	return id, s.ch.Publish("", to, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: m.Scale.body(id)})
}

// confirmed notes that a transaction with these publishes was committed.
func (m *moves) confirmed(s *session, ids []uint64) {
	m.Add(history.Event{Kind: history.Synced, Channel: s.number})
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		m.Add(history.Event{Kind: history.Confirmed, Channel: s.number, Message: id})
		if move := m.at[id]; move.Hop > 0 {
			m.committed = append(m.committed, move)
		}
	}
}

// move takes tokens from a queue and puts them in others.
func (m *moves) move(s *session, random *rand.Rand, from string) error {
	if err := s.ch.Tx(); err != nil {
		return err
	}
	if err := s.ch.Qos(5, 0, false); err != nil {
		return err
	}
	m.Add(history.Event{Kind: history.Consuming, Channel: s.number, Queue: from, Note: s.node})
	deliveries, err := s.ch.Consume(from, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	// After some transactions it goes to another queue.
	for range 10 + random.IntN(40) {
		var held []amqp.Delivery
		for range 1 + random.IntN(3) {
			select {
			case <-m.Stop.Done():
				return errLeft
			case <-time.After(300 * time.Millisecond): // all may be elsewhere, or held by others
				return errLeft
			case d, ok := <-deliveries:
				if !ok {
					return errors.New("deliveries ended")
				}
				held = append(held, d)
				m.arrived(s, from, d)
			}
		}
		if random.IntN(10) == 0 {
			if err := m.transact(s, random, from, held, true); err != nil {
				return err
			}
		}
		if err := m.transact(s, random, from, held, false); err != nil {
			return err
		}
		pause(m.Stop, m.Scale.Rest)
	}
	return errLeft
}

// arrived writes a delivery down.
func (m *moves) arrived(s *session, queue string, d amqp.Delivery) uint64 {
	id, err := m.Scale.numberOf(d.Body)
	if err != nil {
		m.Complain("corrupted", "queue %s, channel %d: %v", queue, s.number, err)
	}
	m.Add(history.Event{Kind: history.Delivered, Channel: s.number, Queue: queue, Message: id, Redelivered: d.Redelivered})
	return id
}

// transact moves what was delivered in one transaction.
func (m *moves) transact(s *session, random *rand.Rand, from string, held []amqp.Delivery, rollback bool) error {
	var sent []uint64
	for _, d := range held {
		id, err := m.Scale.numberOf(d.Body)
		if err != nil {
			return err
		}
		m.mu.Lock()
		next := m.at[id]
		m.mu.Unlock()
		next.Hop++
		to := m.queues[random.IntN(len(m.queues))]
		if id, err = m.publish(s, next, to, rollback); err != nil {
			return err
		}
		sent = append(sent, id)
		if err := m.acknowledge(s, from, d, !rollback); err != nil {
			return err
		}
	}
	if rollback {
		return s.ch.TxRollback()
	}
	if err := s.ch.TxCommit(); err != nil {
		return err
	}
	m.confirmed(s, sent)
	m.Done("transactions")
	return nil
}

// acknowledge settles a delivery; the history need not know of one that is to be rolled back.
func (m *moves) acknowledge(s *session, queue string, d amqp.Delivery, note bool) error {
	if note {
		id, err := m.Scale.numberOf(d.Body)
		if err != nil {
			return err
		}
		m.Add(history.Event{Kind: history.Acked, Channel: s.number, Queue: queue, Message: id})
	}
	return d.Ack(false)
}

// collect takes out what is in a queue at the end.
func (m *moves) collect(s *session, queue string) error {
	m.Add(history.Event{Kind: history.Consuming, Channel: s.number, Queue: queue, Note: s.node})
	deliveries, err := s.ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case <-m.Leave.Done():
			return s.sync(queue)
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("deliveries ended")
			}
			id := m.arrived(s, queue, d)
			m.mu.Lock()
			m.left[id] = true
			m.mu.Unlock()
			if err := m.acknowledge(s, queue, d, true); err != nil {
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
	return history.CheckTokens(m.Scale.Tokens, m.committed, left)
}
