package queue

import (
	"math"

	"warren/fsm/command"
	"warren/fsm/internal/due"
)

// A Sink takes the deliveries that assigning messages gives.
type Sink interface {
	// Deliver says that the message goes to the consumer. Ordinal is 0 for a
	// consumer without acknowledgements. m is valid for as long as it is referred to; it is nil
	// when the message is away and the consumer is not served here (see Store.Serve). size is
	// that of its body.
	Deliver(c *Consumer, ordinal uint64, redelivered bool, tries Tries, m *command.Message, size uint32)
}

// A Store is what the queues and channels of one state machine share. Nothing in
// it may be used by two goroutines, but what Freeze and Capture hand out.
type Store struct {
	records    command.Records // nil: all messages stay in memory
	messages   pool[*command.Message]
	deliveries pool[delivery]
	remembered pool[remembered]
	taken      pool[struct{}]
	dues       pool[int64]
	Timers     due.Index // what is next to happen to queues, and to others that the caller puts there
	now        int64     // milliseconds since the Unix epoch
	lent       int64     // when a delivery of this entry counts as lent: see lendTime
	entry      uint64    // counts entries of the log since the store was made
	dead       []Dead
	counting   bool // how often messages come back
	timing     bool // how long deliveries are unsettled
	rejecting  int  // queues that may refuse a message

	unchosen []*Queue // whose active consumer or its rival has gone
	dirty    []*Queue // may have both ready messages and willing consumers

	resident int64 // cost of the messages in memory
	limit    int64 // of resident; below 0 there is none
	visits   []visit
	round    uint64 // grows with each Age
	versions uint64 // the last one given to a chunk's parts
	leaving  leaving

	// Serve says whether the clients of an epoch are served here, nil that all are. What others
	// get is not read from disk.
	Serve func(epoch uint64) bool
	// Watch looks on; nil: nobody does.
	Watch Watcher
}

// here is the epoch of whoever gets a message in any case.
const here = math.MaxUint64

func (s *Store) serves(epoch uint64) bool { return epoch == here || s.Serve == nil || s.Serve(epoch) }

// NewStore returns an empty store whose messages may be on disk in records; nil
// for a store that has no disk.
func NewStore(records command.Records) *Store {
	s := &Store{records: records, limit: -1}
	s.messages.dropped = s.dropped
	return s
}

// NewMessage makes a message that may be pushed to any number of queues. The
// slices are kept as they are.
func (s *Store) NewMessage(exchange string, key, properties, body []byte) *command.Message {
	return &command.Message{
		Exchange: exchange, Key: key, Properties: properties,
		Body: body,
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
	for i, q := range s.unchosen {
		q.unchosen = false
		q.choose()
		s.unchosen[i] = nil
	}
	s.unchosen = s.unchosen[:0]
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
	s.remembered.freeze()
	s.taken.freeze()
	s.dues.freeze()
}

// SetCounting says whether it is counted how often messages come back, which early
// versions of the machine did not.
func (s *Store) SetCounting(on bool) { s.counting = on }
