package queue

import "warren/fsm/command"

// A Message is a published message, shared by the queues that it was routed to.
type Message struct {
	command.Message
	refs   uint32 // queues that hold it
	copies uint32 // queues that it was put in at first; does not change
}

// A Sink takes the deliveries that assigning messages gives.
type Sink interface {
	// Deliver says that the message goes to the consumer. Ordinal is 0 for a
	// consumer without acknowledgements. m is valid for as long as it is referred to.
	Deliver(c *Consumer, ordinal uint64, redelivered bool, m *command.Message)
}

// A Store is what the queues and channels of one state machine share. Nothing in
// it may be used by two goroutines, but what Freeze and Capture hand out.
type Store struct {
	bodies     command.Bodies
	messages   pool[*Message]
	deliveries pool[delivery]
	dirty      []*Queue // may have both ready messages and willing consumers
}

// NewStore returns an empty store that puts message bodies in bodies.
func NewStore(bodies command.Bodies) *Store { return &Store{bodies: bodies} }

// NewMessage takes in a message that copies queues will get with Push. The
// slices are kept as they are.
func (s *Store) NewMessage(exchange string, key, properties, body []byte, copies int) *Message {
	return &Message{
		Message: command.Message{
			Exchange: exchange, Key: key, Properties: properties, Body: s.bodies.Put(body),
		},
		refs:   uint32(copies),
		copies: uint32(copies),
	}
}

// release gives up one queue's hold of a message.
func (s *Store) release(m *Message) {
	m.refs--
	if m.refs == 0 {
		s.bodies.Drop(m.Body)
	}
}

// touch remembers that a queue may have something to hand out.
func (s *Store) touch(q *Queue) {
	if q.dirty || q.ready == 0 || q.deleted {
		return
	}
	q.dirty = true
	s.dirty = append(s.dirty, q)
}

// Assign hands out the ready messages of all queues that changed since the last
// call, queue by queue in the order of their first change.
func (s *Store) Assign(sink Sink) {
	for i := 0; i < len(s.dirty); i++ {
		q := s.dirty[i]
		q.assign(sink)
		q.dirty = false
		s.dirty[i] = nil
	}
	s.dirty = s.dirty[:0]
}

// Freeze makes the present contents of all queues and channels unchangeable:
// what changes later is copied first. Capture of queues and channels must follow
// before the next change.
func (s *Store) Freeze() {
	s.messages.freeze()
	s.deliveries.freeze()
}
