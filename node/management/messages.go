package management

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"unicode/utf8"

	"warren/fsm/command"
	"warren/protocol/wire"
)

func (s *server) messageRoutes() []route {
	return []route{
		handle(http.MethodPost, "exchanges/{vhost}/{exchange}/publish", (*call).publish),
		handle(http.MethodPost, "queues/{vhost}/{queue}/get", (*call).get),
	}
}

// maxProperties is how large properties with headers may be, in bytes: they are sent in one frame, and no client
// takes larger ones than of 128 KiB (frame-max) unless it was told to. The consumers of a queue with such a message would lose their connections, one after the other.
const maxProperties = 128<<10 - 22

func (c *call) publish() error {
	if _, err := c.findExchange(); err != nil {
		return err
	}
	var body struct {
		Properties map[string]any `json:"properties"`
		Key        *string        `json:"routing_key"`
		Payload    *string        `json:"payload"`
		Encoding   string         `json:"payload_encoding"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Key == nil || body.Payload == nil {
		return errBadRequest("routing_key and payload are needed")
	}
	payload := []byte(*body.Payload)
	switch body.Encoding {
	case "", "string":
	case "base64":
		var err error
		if payload, err = base64.StdEncoding.DecodeString(*body.Payload); err != nil {
			return errBadRequest("payload: %v", err)
		}
	default:
		return errBadRequest("payload_encoding must be string or base64, not %q", body.Encoding)
	}
	if most := c.cfg.MaxMessageSize; most > 0 && len(payload) > most {
		return errBadRequest("message size %d is larger than configured max size %d", len(payload), most)
	}
	properties, err := propertiesFromJSON(body.Properties)
	if err != nil {
		return err
	}
	// A publisher over AMQP would be blocked; a request is better told than held.
	if alarms := c.cluster().Alarms; len(alarms) > 0 {
		return errUnavailable(fmt.Sprintf("publishers are blocked: %s is low on %s", alarms[0].Node, alarms[0].Resource))
	}
	if err := shortEnough("routing_key", *body.Key); err != nil {
		return err
	}
	list := wire.AppendProperties(nil, &properties)
	if len(list) > maxProperties {
		return errBadRequest("properties and headers of %d bytes are larger than the %d that a client can be sent", len(list), maxProperties)
	}
	impersonates := func() bool { return c.cfg.Access.Rules(c.user, c.params["vhost"]).Impersonates() }
	if fault := command.PropertiesFault(list, c.user, impersonates); fault != "" {
		return errBadRequest("%s", fault)
	}
	keyed, fault := command.CheckKeys(list)
	if fault != "" {
		return errBadRequest("invalid message: %s", fault)
	}
	res, err := c.propose(&command.Publish{
		VHost: []byte(c.params["vhost"]), Exchange: []byte(c.exchangeName()), Key: []byte(*body.Key),
		Keyed: keyed, Properties: list, Body: payload,
	})
	if err != nil {
		return err
	}
	return c.ok(object{"routed": !res.Unroutable})
}

// The ack modes of get: whether the message goes back, and whether it counts as
// rejected. Here requeueing is the same either way.
var ackModes = map[string]command.Outcome{
	"ack_requeue_true":     command.Requeue,
	"ack_requeue_false":    command.Ack,
	"reject_requeue_true":  command.Requeue,
	"reject_requeue_false": command.Reject,
}

type getRequest struct {
	Count    looseInt  `json:"count"`
	AckMode  string    `json:"ackmode"`
	Encoding string    `json:"encoding"`
	Truncate *looseInt `json:"truncate"` // bytes
}

// get takes messages off a queue, or looks at them and puts them back. They are
// settled only after their content is read, and what is not settled goes back.
func (c *call) get() error {
	if _, err := c.findQueue(); err != nil {
		return err
	}
	var body getRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	outcome, ok := ackModes[body.AckMode]
	switch {
	case !ok:
		return errBadRequest("ackmode must be ack_requeue_true, ack_requeue_false, reject_requeue_true or reject_requeue_false, not %q", body.AckMode)
	case body.Count < 1:
		return errBadRequest("count must be a positive number")
	case body.Encoding != "auto" && body.Encoding != "base64":
		return errBadRequest("encoding must be auto or base64, not %q", body.Encoding)
	case body.Truncate != nil && *body.Truncate < 0:
		return errBadRequest("truncate must not be negative")
	}
	number, err := c.takeChannel()
	if err != nil {
		return err
	}
	defer c.returnChannel(number)
	list, err := c.getMany(command.Channel{Number: number}, &body, outcome)
	if err != nil {
		return err
	}
	return c.ok(list)
}

func (c *call) getMany(ch command.Channel, body *getRequest, outcome command.Outcome) ([]object, error) {
	list := []object{}
	var last uint64
	bytes := 0
	for len(list) < int(body.Count) && bytes < maxGetBytes {
		res, err := c.propose(&command.Get{VHost: c.params["vhost"], Channel: ch, Queue: c.params["queue"]})
		if err != nil {
			return nil, c.giveBack(ch, err)
		}
		if res.Message == nil {
			break
		}
		content := res.Message.Body
		last = res.Ordinal
		bytes += len(content)
		o, err := messageObject(&res, content, body)
		if err != nil {
			return nil, c.giveBack(ch, err)
		}
		list = append(list, o)
	}
	if last > 0 {
		if _, err := c.propose(&command.Settle{Channel: ch, From: 1, To: last, Outcome: outcome}); err != nil {
			return nil, c.giveBack(ch, err)
		}
	}
	return list, c.giveBack(ch, nil)
}

// giveBack closes the channel, by which what it still holds goes back, and
// returns the first error.
func (c *call) giveBack(ch command.Channel, first error) error {
	_, err := c.propose(&command.ChannelClose{Channel: ch})
	if first != nil {
		return first
	}
	return err
}

func messageObject(res *command.Result, content []byte, body *getRequest) (object, error) {
	m := res.Message
	properties, err := wire.ParseProperties(m.Properties)
	if err != nil {
		return nil, err
	}
	o := object{
		"payload_bytes": len(content),
		"redelivered":   res.Redelivered,
		"exchange":      m.Exchange,
		"routing_key":   textOrBase64(string(m.Key)),
		"message_count": res.Messages,
		"properties":    propertiesToJSON(&properties),
	}
	if body.Truncate != nil && len(content) > int(*body.Truncate) {
		content = content[:*body.Truncate]
	}
	if body.Encoding == "auto" && utf8.Valid(content) {
		o["payload"], o["payload_encoding"] = string(content), "string"
	} else {
		o["payload"], o["payload_encoding"] = base64.StdEncoding.EncodeToString(content), "base64"
	}
	return o, nil
}

// takeChannel returns a channel number of connection 0 that no other request uses.
func (s *server) takeChannel() (uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 1 << 16 {
		s.last++
		if s.last != 0 && !s.scratch[s.last] {
			s.scratch[s.last] = true
			return s.last, nil
		}
	}
	return 0, errUnavailable("too many requests at once")
}

func (s *server) returnChannel(n uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.scratch, n)
}
