package shovel

import (
	"encoding/json"
	"errors"
	"maps"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Headers that a shovel adds, by RabbitMQ's names.
const (
	shovelledHeader = "x-shovelled"           // a list of tables, the last shovel first
	timestampHeader = "x-shovelled-timestamp" // seconds since the Unix epoch
)

// properties are those that a shovel sets, by RabbitMQ's names.
type properties map[string]json.RawMessage

// UnmarshalJSON reads an object, or [], as Erlang writes an empty one.
func (p *properties) UnmarshalJSON(b []byte) error {
	if string(b) == "[]" {
		return nil
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(b, &values) != nil {
		return errors.New("publish-properties are no object")
	}
	*p = values
	return nil
}

// with returns the properties and others that go before them.
func (p properties) with(others properties) properties {
	all := maps.Clone(p)
	if all == nil {
		return others
	}
	maps.Copy(all, others)
	return all
}

// apply sets the properties of a message. Values of the wrong type were refused when the parameter was set.
func (p properties) apply(m *amqp.Publishing) {
	for name, to := range map[string]*string{
		"content_type": &m.ContentType, "content_encoding": &m.ContentEncoding, "correlation_id": &m.CorrelationId,
		"reply_to": &m.ReplyTo, "expiration": &m.Expiration, "message_id": &m.MessageId, "type": &m.Type,
		"user_id": &m.UserId, "app_id": &m.AppId,
	} {
		if raw, ok := p[name]; ok {
			_ = json.Unmarshal(raw, to)
		}
	}
	for name, to := range map[string]*uint8{"delivery_mode": &m.DeliveryMode, "priority": &m.Priority} {
		if raw, ok := p[name]; ok {
			_ = json.Unmarshal(raw, to)
		}
	}
	var seconds int64
	if raw, ok := p["timestamp"]; ok && json.Unmarshal(raw, &seconds) == nil {
		m.Timestamp = time.Unix(seconds, 0)
	}
}

// message is a delivery as it is published at the destination.
func (l *link) message(d *amqp.Delivery) amqp.Publishing {
	m := amqp.Publishing{
		Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
		DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo,
		Expiration: d.Expiration, MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, UserId: d.UserId,
		AppId: d.AppId, Body: d.Body,
	}
	to := &l.shovel.Destination
	if len(to.Properties) > 0 {
		to.Properties.apply(&m)
	}
	if (to.ForwardHeaders || to.TimestampHead) && m.Headers == nil {
		m.Headers = amqp.Table{}
	}
	if to.ForwardHeaders {
		before, _ := m.Headers[shovelledHeader].([]any)
		m.Headers[shovelledHeader] = append([]any{l.trail}, before...)
	}
	if to.TimestampHead {
		m.Headers[timestampHeader] = time.Now().Unix()
	}
	return m
}

// trailOf is what x-shovelled tells of a shovel.
func (w *Worker) trailOf(src, dest string) amqp.Table {
	s := w.shovel
	t := amqp.Table{
		"shovelled-by": w.cfg.Cluster, "shovel-type": w.cfg.Type, "shovel-name": s.Name, "shovel-vhost": s.VHost,
		"src-uri": src, "dest-uri": dest,
	}
	for k, v := range s.Ends() {
		t[k] = v
	}
	return t
}

// Ends are the queues and exchanges of both sides, by the keys of the parameter.
func (s *Shovel) Ends() map[string]string {
	all := make(map[string]string)
	if s.Source.Queue != "" {
		all["src-queue"] = s.Source.Queue
	} else {
		all["src-exchange"], all["src-exchange-key"] = s.Source.Exchange, s.Source.Key
	}
	if s.Destination.Queue != "" {
		all["dest-queue"] = s.Destination.Queue
		return all
	}
	if x := s.Destination.Exchange; x != nil {
		all["dest-exchange"] = *x
	}
	if k := s.Destination.Key; k != nil {
		all["dest-exchange-key"] = *k
	}
	return all
}
