package management

import (
	"encoding/json"
	"strconv"

	"warren/protocol/wire"
)

// maxShortString is the most bytes of a short string in AMQP.
const maxShortString = 255

// shortProperties are the properties that are short strings, by RabbitMQ's JSON
// names.
var shortProperties = []struct {
	name  string
	flag  uint16
	field func(*wire.Properties) *string
}{
	{"content_type", wire.FlagContentType, func(p *wire.Properties) *string { return &p.ContentType }},
	{"content_encoding", wire.FlagContentEncoding, func(p *wire.Properties) *string { return &p.ContentEncoding }},
	{"correlation_id", wire.FlagCorrelationID, func(p *wire.Properties) *string { return &p.CorrelationID }},
	{"reply_to", wire.FlagReplyTo, func(p *wire.Properties) *string { return &p.ReplyTo }},
	{"expiration", wire.FlagExpiration, func(p *wire.Properties) *string { return &p.Expiration }},
	{"message_id", wire.FlagMessageID, func(p *wire.Properties) *string { return &p.MessageID }},
	{"type", wire.FlagType, func(p *wire.Properties) *string { return &p.Type }},
	{"user_id", wire.FlagUserID, func(p *wire.Properties) *string { return &p.UserID }},
	{"app_id", wire.FlagAppID, func(p *wire.Properties) *string { return &p.AppID }},
	{"cluster_id", wire.FlagClusterID, func(p *wire.Properties) *string { return &p.ClusterID }},
}

func propertiesToJSON(p *wire.Properties) object {
	o := object{}
	for _, s := range shortProperties {
		if p.Present&s.flag != 0 {
			o[s.name] = textOrBase64(*s.field(p))
		}
	}
	if p.Present&wire.FlagHeaders != 0 {
		o["headers"] = tableToJSON(p.Headers)
	}
	if p.Present&wire.FlagDeliveryMode != 0 {
		o["delivery_mode"] = p.DeliveryMode
	}
	if p.Present&wire.FlagPriority != 0 {
		o["priority"] = p.Priority
	}
	if p.Present&wire.FlagTimestamp != 0 {
		o["timestamp"] = uint64(p.Timestamp)
	}
	return o
}

// propertiesFromJSON reads the properties of a message to publish. Names that are
// no property are passed over, as RabbitMQ does.
func propertiesFromJSON(o map[string]any) (wire.Properties, error) {
	var p wire.Properties
	for _, s := range shortProperties {
		v, ok := o[s.name]
		if !ok {
			continue
		}
		text, ok := v.(string)
		if !ok || len(text) > maxShortString {
			return p, errBadRequest("property %s must be a string of at most %d bytes", s.name, maxShortString)
		}
		*s.field(&p) = text
		p.Present |= s.flag
	}
	if v, ok := o["headers"]; ok {
		headers, ok := v.(map[string]any)
		if !ok {
			return p, errBadRequest("property headers must be an object")
		}
		var err error
		if p.Headers, err = tableFromJSON(headers); err != nil {
			return p, err
		}
		p.Present |= wire.FlagHeaders
	}
	for _, n := range []struct {
		name string
		flag uint16
		bits int
		set  func(uint64)
	}{
		{"delivery_mode", wire.FlagDeliveryMode, 8, func(v uint64) { p.DeliveryMode = uint8(v) }},
		{"priority", wire.FlagPriority, 8, func(v uint64) { p.Priority = uint8(v) }},
		{"timestamp", wire.FlagTimestamp, 64, func(v uint64) { p.Timestamp = wire.Timestamp(v) }},
	} {
		v, ok := o[n.name]
		if !ok {
			continue
		}
		u, ok := uintOf(v, n.bits)
		if !ok {
			return p, errBadRequest("property %s must be a number of %d bits", n.name, n.bits)
		}
		n.set(u)
		p.Present |= n.flag
	}
	return p, nil
}

func uintOf(v any, bits int) (uint64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(n.String(), 10, bits)
	return u, err == nil
}
