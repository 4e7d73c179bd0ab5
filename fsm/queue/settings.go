package queue

// None stands for a number of Settings that is not set.
const None = -1

// Overflow says what a full queue does.
type Overflow uint8

// What a full queue does.
const (
	DropHead          Overflow = iota // its oldest messages go
	RejectPublish                     // new messages are refused
	RejectPublishDead                 // new messages are refused, and dead-lettered
)

// Settings are what a queue does with its messages and itself, made of its arguments and
// of what else sets them. They are no state: who makes the queue makes them anew.
type Settings struct {
	TTL       int64 // milliseconds that a message may wait; None
	Expires   int64 // milliseconds without use after which the queue goes; None
	MaxLength int64 // ready messages; None
	MaxBytes  int64 // of the bodies of ready messages; None
	Overflow  Overflow

	// DeliveryLimit is how often a message may come back from clients that failed with it; None.
	DeliveryLimit int64

	// Retry says which messages wait before they are given out again, RetryMin is for how long they do so after
	// the first failure, in milliseconds, and RetryMax the most; None, as is 0 for RetryMin.
	Retry              Retry
	RetryMin, RetryMax int64

	// AckTimeout is how long a delivery may stay unsettled, in milliseconds; None. A consumer may have
	// another one: see TimeoutArgument.
	AckTimeout int64

	DeadLetters  bool // those that die go to DeadExchange
	DeadExchange string
	DeadKey      string // routing key, if HasDeadKey: else each message keeps its own
	HasDeadKey   bool
}

// DefaultSettings are those of a queue for which nothing is set.
func DefaultSettings() Settings {
	return Settings{TTL: None, Expires: None, MaxLength: None, MaxBytes: None, DeliveryLimit: None, AckTimeout: None, RetryMin: None, RetryMax: None}
}

// Settings returns the present settings.
func (q *Queue) Settings() *Settings { return &q.settings }

// SetSettings changes the settings of a living queue. A limit holds at once, as far as an
// entry may do; a new TTL holds for messages to come, and the time without use begins anew.
func (q *Queue) SetSettings(s Settings) {
	if s.Expires != q.settings.Expires {
		q.used = q.store.now
	}
	timeout := q.settings.AckTimeout
	q.set(s)
	q.wake(q.store.now)
	if s.AckTimeout != timeout {
		for _, c := range q.consumers {
			c.await()
		}
	}
}

func (q *Queue) set(s Settings) {
	q.store.rejecting += refusing(&s) - refusing(&q.settings)
	q.settings = s
}

// refusing is 1 for a queue that may refuse a message.
func refusing(s *Settings) int {
	if s.Overflow != DropHead {
		return 1
	}
	return 0
}

// Rejecting reports whether any queue may refuse a message.
func (s *Store) Rejecting() bool { return s.rejecting > 0 }

// RestoreSettings sets the settings of a queue that was read from a snapshot: it is as it was
// under them.
func (q *Queue) RestoreSettings(s Settings) {
	q.set(s)
	if at, ok := q.Due(); ok {
		q.wake(at)
	}
}

// RejectsPublish reports whether the queue refuses one more message with a body of so many bytes,
// as it would be with others of so many bytes before it.
func (q *Queue) RejectsPublish(size int, before int, bytesBefore uint64) bool {
	s := &q.settings
	if s.Overflow == DropHead {
		return false
	}
	return s.MaxLength >= 0 && int64(q.ready+before) >= s.MaxLength ||
		s.MaxBytes >= 0 && q.bytes+bytesBefore+uint64(size) > uint64(s.MaxBytes)
}

// over reports whether ready messages are to go because there are too many.
func (q *Queue) over() bool {
	s := &q.settings
	if s.Overflow != DropHead || q.ready == 0 {
		return false
	}
	return s.MaxLength >= 0 && int64(q.ready) > s.MaxLength || s.MaxBytes >= 0 && q.bytes > uint64(s.MaxBytes)
}
