// Package shovel moves messages from a queue or an exchange of one broker to another, as
// RabbitMQ's shovels do: it is a client of both sides. A node runs those that are set as
// parameters, warrenctl one in the foreground; the package knows neither.
//
// With on-confirm a message is acknowledged at the source only after the destination has confirmed it, so
// nothing is lost, whatever ends in between. What was confirmed and not yet acknowledged then comes twice.
package shovel

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// An AckMode says when a message is acknowledged at the source.
type AckMode string

// The modes, by the names that parameters have for them.
const (
	OnConfirm AckMode = "on-confirm" // when the destination has confirmed it
	OnPublish AckMode = "on-publish" // when it was sent to the destination
	NoAck     AckMode = "no-ack"     // before
)

// Defaults of RabbitMQ (https://www.rabbitmq.com/docs/shovel-dynamic).
const (
	DefaultPrefetch       = 1000
	DefaultReconnectDelay = 5 * time.Second
)

// Values of Source.DeleteAfter that are no number of messages.
const (
	Never       = -1
	QueueLength = -2 // as many as the queue holds when the shovel starts
)

// A Shovel says what is to be moved, and how.
type Shovel struct {
	VHost, Name    string
	Source         Source
	Destination    Destination
	AckMode        AckMode
	ReconnectDelay time.Duration // after a failure; 0: then it ends
}

// A Source is where messages come from: a queue, or an exchange to which a queue of the shovel's own is bound.
type Source struct {
	URIs          []string
	Protocol      string // amqp091, or local: in the cluster that runs the shovel
	Queue         string
	QueueArgs     amqp.Table // of a queue that is declared because it is missing
	Predeclared   bool       // a queue that is missing is an error
	Exchange, Key string
	ConsumerArgs  amqp.Table
	Prefetch      int   // messages, 1 to 65535
	DeleteAfter   int64 // how many messages are moved before the shovel ends; or Never, QueueLength
}

// A Destination is where messages go. With neither queue nor exchange they go to the exchange that they came through.
type Destination struct {
	URIs           []string
	Protocol       string
	Queue          string
	QueueArgs      amqp.Table
	Predeclared    bool
	Exchange       *string // nil: as it was
	Key            *string
	ForwardHeaders bool // tell in x-shovelled who moved it
	TimestampHead  bool // and in x-shovelled-timestamp when
	Properties     properties
}

// document is the value of a parameter. Keys without src- or dest- are the older ones.
type document struct {
	AckMode        AckMode  `json:"ack-mode"`
	ReconnectDelay *float64 `json:"reconnect-delay"` // seconds

	SrcURI          uris            `json:"src-uri"`
	SrcProtocol     string          `json:"src-protocol"`
	SrcQueue        string          `json:"src-queue"`
	SrcQueueArgs    arguments       `json:"src-queue-args"`
	SrcConsumerArgs arguments       `json:"src-consumer-args"`
	SrcPredeclared  bool            `json:"src-predeclared"`
	SrcExchange     string          `json:"src-exchange"`
	SrcExchangeKey  string          `json:"src-exchange-key"`
	Prefetch        *float64        `json:"prefetch-count"`
	SrcPrefetch     *float64        `json:"src-prefetch-count"`
	DeleteAfter     json.RawMessage `json:"delete-after"`
	SrcDeleteAfter  json.RawMessage `json:"src-delete-after"`

	DestURI         uris       `json:"dest-uri"`
	DestProtocol    string     `json:"dest-protocol"`
	DestQueue       string     `json:"dest-queue"`
	DestQueueArgs   arguments  `json:"dest-queue-args"`
	DestPredeclared bool       `json:"dest-predeclared"`
	DestExchange    *string    `json:"dest-exchange"`
	DestExchangeKey *string    `json:"dest-exchange-key"`
	Forward         *bool      `json:"add-forward-headers"`
	DestForward     *bool      `json:"dest-add-forward-headers"`
	Timestamp       *bool      `json:"add-timestamp-header"`
	DestTimestamp   *bool      `json:"dest-add-timestamp-header"`
	Properties      properties `json:"publish-properties"`
	DestProperties  properties `json:"dest-publish-properties"`
}

// Parse reads the value of a parameter of component shovel. Its errors quote nothing of it, as there are passwords in it.
func Parse(vhost, name string, value []byte) (*Shovel, error) {
	var d document
	if err := json.Unmarshal(value, &d); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, fmt.Errorf("the value of %s has the wrong type", wrong.Field)
		}
		return nil, fmt.Errorf("the parameter is not the JSON that is expected: %w", err)
	}
	s := &Shovel{
		VHost: vhost, Name: name, AckMode: d.AckMode, ReconnectDelay: DefaultReconnectDelay,
		Source: Source{
			URIs: d.SrcURI, Protocol: protocol(d.SrcProtocol),
			Queue: d.SrcQueue, QueueArgs: amqp.Table(d.SrcQueueArgs), Predeclared: d.SrcPredeclared,
			Exchange: d.SrcExchange, Key: d.SrcExchangeKey, ConsumerArgs: amqp.Table(d.SrcConsumerArgs),
			Prefetch: DefaultPrefetch,
		},
		Destination: Destination{
			URIs: d.DestURI, Protocol: protocol(d.DestProtocol),
			Queue: d.DestQueue, QueueArgs: amqp.Table(d.DestQueueArgs), Predeclared: d.DestPredeclared,
			Exchange: d.DestExchange, Key: d.DestExchangeKey,
			ForwardHeaders: first(false, d.DestForward, d.Forward),
			TimestampHead:  first(false, d.DestTimestamp, d.Timestamp),
			Properties:     d.Properties.with(d.DestProperties),
		},
	}
	if d.ReconnectDelay != nil {
		s.ReconnectDelay = time.Duration(max(0, min(*d.ReconnectDelay, maxDelay)) * float64(time.Second))
	}
	// 0 means no limit. There is one: what is under way is in memory.
	if n := first(DefaultPrefetch, d.SrcPrefetch, d.Prefetch); n < 1 || n > math.MaxUint16 {
		s.Source.Prefetch = math.MaxUint16
	} else {
		s.Source.Prefetch = int(n)
	}
	var err error
	if s.Source.DeleteAfter, err = deleteAfter(d.SrcDeleteAfter, d.DeleteAfter); err != nil {
		return nil, err
	}
	return s, s.check()
}

// maxDelay is a day, in seconds.
const maxDelay = 24 * 3600

// protocol completes the name of one.
func protocol(name string) string {
	if name == "" {
		return "amqp091"
	}
	return name
}

// first returns the first of some values that was given.
func first[T any](otherwise T, values ...*T) T {
	for _, v := range values {
		if v != nil {
			return *v
		}
	}
	return otherwise
}

func deleteAfter(values ...json.RawMessage) (int64, error) {
	for _, raw := range values {
		var word string
		var n int64
		switch {
		case raw == nil:
			continue
		case json.Unmarshal(raw, &n) == nil && n >= 0:
			return n, nil
		case json.Unmarshal(raw, &word) == nil && word == "never":
			return Never, nil
		case json.Unmarshal(raw, &word) == nil && word == "queue-length":
			return QueueLength, nil
		}
		return 0, errors.New(`delete-after is neither a number, "never" nor "queue-length"`)
	}
	return Never, nil
}

// check looks for what cannot be moved.
func (s *Shovel) check() error {
	src, dest := &s.Source, &s.Destination
	if s.AckMode == "" {
		s.AckMode = OnConfirm
	}
	for _, p := range []string{src.Protocol, dest.Protocol} {
		if p != "amqp091" && p != "local" {
			return fmt.Errorf("protocol %s is not spoken here: use amqp091 or local", p)
		}
	}
	switch {
	case len(src.URIs) == 0 || len(dest.URIs) == 0:
		return errors.New("src-uri or dest-uri is missing")
	case (src.Queue == "") == (src.Exchange == ""):
		return errors.New("one of src-queue and src-exchange is needed")
	case dest.Queue != "" && dest.Exchange != nil:
		return errors.New("dest-queue and dest-exchange exclude each other")
	case s.AckMode != OnConfirm && s.AckMode != OnPublish && s.AckMode != NoAck:
		return fmt.Errorf("ack-mode %s is not known", s.AckMode)
	}
	return nil
}

// uris is one URI or a list of them.
type uris []string

// UnmarshalJSON reads either.
func (u *uris) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*u = uris{one}
		return nil
	}
	var list []string
	if json.Unmarshal(b, &list) != nil {
		return errors.New("a URI is neither a text nor a list of texts")
	}
	*u = list
	return nil
}

// arguments is a field table in JSON.
type arguments amqp.Table

// UnmarshalJSON reads an object, or [], as Erlang writes an empty one.
func (a *arguments) UnmarshalJSON(b []byte) error {
	if string(b) == "[]" {
		return nil
	}
	var v map[string]any
	if json.Unmarshal(b, &v) != nil {
		return errors.New("arguments are no object")
	}
	*a = arguments(table(v))
	return nil
}

func table(o map[string]any) amqp.Table {
	t := make(amqp.Table, len(o))
	for k, v := range o {
		t[k] = field(v)
	}
	return t
}

// field turns a value of JSON into one of a field table.
func field(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return table(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = field(v[i])
		}
		return list
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	}
	return v
}
