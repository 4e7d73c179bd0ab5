package history

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kind says what happened.
type Kind uint8

// What clients write down. Whatever is sent is written down before it is sent, whatever
// comes after it came.
const (
	Published Kind = iota + 1 // Message was sent, for the queues of To
	Confirmed                 // basic.ack of a publish, or the commit that it was in
	Nacked                    // basic.nack of a publish
	Returned                  // basic.return
	Consuming                 // Channel began to take messages from Queue, as a consumer or with basic.get
	Delivered                 // Message came from Queue, by basic.deliver or get-ok
	Acked                     // an ack of what was delivered was sent
	Requeued                  // a nack or reject with requeue was sent
	Rejected                  // one without requeue was sent
	Synced                    // a synchronous method on Channel was answered: what was sent on it before is in the log
	Ended                     // Channel was closed by its client, in order
	Broken                    // Channel ended otherwise
	Noted                     // something that no check looks at: a fault, for example
)

var kinds = [...]string{
	"", "published", "confirmed", "nacked", "returned", "consuming", "delivered", "acked", "requeued", "rejected",
	"synced", "ended", "broken", "noted",
}

func (k Kind) String() string {
	if int(k) < len(kinds) && k > 0 {
		return kinds[k]
	}
	return fmt.Sprintf("kind %d", k)
}

// MarshalText gives a kind its name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the reverse.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kinds {
		if i > 0 && name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("no kind of event: %q", text)
}

// An Event is one thing that a client did or saw. Fields that mean nothing for
// its kind are zero.
type Event struct {
	At          time.Duration `json:"at"` // since the start, by one clock for all
	Kind        Kind          `json:"kind"`
	Channel     int           `json:"channel,omitempty"` // never used again after its end, unlike AMQP's numbers
	Queue       string        `json:"queue,omitempty"`
	Message     uint64        `json:"message,omitempty"` // one for each publish: a message that is sent again gets another
	To          []string      `json:"to,omitempty"`
	Mandatory   bool          `json:"mandatory,omitempty"`
	Perishable  bool          `json:"perishable,omitempty"` // the queues of To may be gone by then
	Redelivered bool          `json:"redelivered,omitempty"`
	Prefetch    int           `json:"prefetch,omitempty"` // of Consuming: how many messages Channel may hold; 0: any number
	Note        string        `json:"note,omitempty"`     // for people
}

// A Recorder gathers the events of many clients. Their order is that of the calls.
type Recorder struct {
	start time.Time

	mu       sync.Mutex
	events   []Event
	channels int
	messages uint64
}

// NewRecorder returns an empty recorder whose time begins now.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Add writes an event down; it sets the time.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.start)
	r.events = append(r.events, e)
}

// Note writes down something for people.
func (r *Recorder) Note(format string, args ...any) {
	r.Add(Event{Kind: Noted, Note: fmt.Sprintf(format, args...)})
}

// Channel returns a number for a new channel.
func (r *Recorder) Channel() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.channels++
	return r.channels
}

// Message returns a number for a new message.
func (r *Recorder) Message() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages++
	return r.messages
}

// Now is the time since the start.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Events returns what was written down so far. It is not copied: the caller changes nothing.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[:len(r.events):len(r.events)]
}

// Write writes events as lines of JSON.
func Write(w io.Writer, events []Event) error {
	out := json.NewEncoder(w)
	for i := range events {
		if err := out.Encode(&events[i]); err != nil {
			return fmt.Errorf("write history: %w", err)
		}
	}
	return nil
}
