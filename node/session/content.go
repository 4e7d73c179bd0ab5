package session

import (
	"bytes"

	"warren/fsm/command"
	"warren/protocol"
)

type contentState uint8

const (
	contentNone contentState = iota
	contentHeader
	contentBody
)

// keepBody is the largest buffer of a body that a channel keeps for the next one.
const keepBody = 64 << 10

// A content is the basic.publish that a channel is receiving: method, header and
// bodies. Its slices alias the reader's buffer until the burst ends.
type content struct {
	state         contentState
	exchange, key []byte
	mandatory     bool
	keyed         bool // it has further routing keys: see command.Publish
	properties    []byte
	size          int    // of the whole body
	body          []byte // what has come; only of bodies in more than one frame
	owned         bool   // exchange, key and properties are copies
}

func (t *content) unfinished() bool { return t.state != contentNone }

// expectsMethod checks that a method frame may come. The words are those of
// rabbit_command_assembler.
func (t *content) expectsMethod() error {
	switch t.state {
	case contentHeader:
		return protocol.Errorf(protocol.UnexpectedFrame, protocol.IDBasicPublish,
			"expected content header for class %d, got non content header frame instead", protocol.ClassBasic)
	case contentBody:
		return protocol.Errorf(protocol.UnexpectedFrame, protocol.IDBasicPublish,
			"expected content body, got non content body frame instead")
	}
	return nil
}

func expectedMethod() error {
	return protocol.Errorf(protocol.UnexpectedFrame, 0, "expected method frame, got non method frame instead")
}

// own copies what aliases the reader's buffer, which is about to change.
func (t *content) own() {
	if t.state == contentNone || t.owned {
		return
	}
	b := make([]byte, 0, len(t.exchange)+len(t.key)+len(t.properties))
	cut := func(s []byte) []byte {
		at := len(b)
		b = append(b, s...)
		return b[at:len(b):len(b)]
	}
	t.exchange, t.key, t.properties = cut(t.exchange), cut(t.key), cut(t.properties)
	t.owned = t.state == contentBody // the properties are still to come otherwise
}

// drop forgets an unfinished content.
func (t *content) drop(c *connection) {
	c.charge(-len(t.body))
	*t = content{}
}

// basicPublish begins a content.
func (ch *channel) basicPublish(payload []byte) error {
	v := &ch.c.publishing
	if err := v.Parse(payload); err != nil {
		return err
	}
	if v.Immediate {
		return protocol.Errorf(protocol.NotImplemented, protocol.IDBasicPublish, "immediate=true")
	}
	if err := ch.mayPublish(v.Exchange, v.RoutingKey); err != nil {
		return err
	}
	ch.c.publisher = true
	body := ch.content.body
	ch.content = content{state: contentHeader, exchange: v.Exchange, key: v.RoutingKey, mandatory: v.Mandatory, body: body}
	ch.touch()
	return nil
}

func (ch *channel) headerFrame(payload []byte) error {
	t := &ch.content
	switch t.state {
	case contentNone:
		return expectedMethod()
	case contentBody:
		return t.expectsMethod()
	}
	h, err := protocol.ParseContentHeader(payload)
	if err != nil {
		return err
	}
	if h.ClassID != protocol.ClassBasic {
		return protocol.Errorf(protocol.UnexpectedFrame, protocol.IDBasicPublish,
			"expected content header for class %d, got one for class %d instead", protocol.ClassBasic, h.ClassID)
	}
	if h.BodySize > uint64(ch.c.cfg.MaxMessageSize) {
		return preconditionFailed(protocol.IDBasicPublish,
			"message size %d is larger than configured max size %d", h.BodySize, ch.c.cfg.MaxMessageSize)
	}
	if h.Properties[1]&3 != 0 {
		// No property, and ignored like RabbitMQ does; the state machine keeps a note there.
		h.Properties = bytes.Clone(h.Properties)
		h.Properties[1] &^= 3
	}
	if h.Properties, err = ch.setReplyTo(h.Properties); err != nil {
		return err
	}
	if err := ch.checkProperties(h.Properties); err != nil {
		return err
	}
	if err := t.checkKeys(h.Properties); err != nil {
		return err
	}
	if t.keyed {
		if err := ch.mayPublishKeyed(h.Properties); err != nil {
			return err
		}
	}
	t.properties, t.size, t.owned = h.Properties, int(h.BodySize), false
	t.state = contentBody
	if t.size == 0 {
		ch.publish(nil)
	}
	return nil
}

func (ch *channel) bodyFrame(payload []byte) error {
	t := &ch.content
	switch t.state {
	case contentNone:
		return expectedMethod()
	case contentHeader:
		return t.expectsMethod()
	}
	switch have := len(t.body) + len(payload); {
	case have > t.size:
		return protocol.Errorf(protocol.FrameError, protocol.IDBasicPublish, "content body frame exceeds remaining content size")
	case len(payload) == t.size:
		ch.publish(payload)
	default:
		if !ch.c.charge(len(payload)) {
			return nil
		}
		if have > cap(t.body) {
			// Never more than twice of what has come, whatever the header promised.
			t.body = append(make([]byte, 0, min(t.size, 2*have)), t.body...)
		}
		t.body = append(t.body, payload...)
		if have == t.size {
			ch.publish(t.body)
		}
	}
	return nil
}

// checkProperties checks what RabbitMQ checks of the properties of a publish:
// user-id and expiration.
func (ch *channel) checkProperties(properties []byte) error {
	if fault := command.PropertiesFault(properties, ch.c.user, ch.c.permits.impersonates); fault != "" {
		return preconditionFailed(protocol.IDBasicPublish, "%s", fault)
	}
	return nil
}
