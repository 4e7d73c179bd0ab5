package node

import (
	"warren/fsm"
	"warren/fsm/command"
	exchanges "warren/fsm/topology"
	"warren/node/management"
	"warren/node/session"
	"warren/protocol/wire"
)

// traceExchange is where copies of messages go (https://www.rabbitmq.com/docs/firehose).
const traceExchange = "amq.rabbitmq.trace"

const (
	// routesTold is how many hops are looked at for the queues that a message goes to.
	routesTold = 1000
	// bytesTold bounds the properties, the keys and the queues that a copy tells, each in bytes: with all three its header has to
	// fit in a frame, as a client would not take it otherwise.
	bytesTold = 40 << 10
)

// tapVHosts makes sessions copy the messages of the vhosts that are traced, and of no others.
func (n *Node) tapVHosts(m *fsm.Machine) {
	traced := make(map[string]bool)
	for _, vhost := range m.VHosts() {
		if management.Traced(m, vhost) {
			traced[vhost] = true
		}
	}
	if len(traced) == 0 {
		n.emitter.taps.Store(nil)
		return
	}
	n.emitter.taps.Store(&session.Taps{VHosts: traced, Take: n.emitter.tap})
}

// copyOf makes the copy of a message, as RabbitMQ's firehose does; nil: nobody listens.
func (m *emitter) copyOf(t *session.Tapped) []command.Command {
	listened := false
	var queues []string
	m.n.replica.View(func(machine *fsm.Machine) {
		if listened = machine.Listened(t.VHost, traceExchange); listened && !t.Delivered {
			way, refused := machine.Explain(t.VHost, &exchanges.Message{
				Exchange: []byte(t.Exchange), Key: []byte(t.Key), Also: command.FurtherKeys(t.Properties), Properties: t.Properties,
			}, routesTold)
			if refused == nil {
				queues = way.Queues
			}
		}
	})
	if !listened {
		return nil
	}
	keys := told(append([][]byte{[]byte(t.Key)}, command.FurtherKeys(t.Properties)...))
	properties, err := wire.ParseProperties(t.Properties)
	if err != nil {
		return nil // a session has checked them
	}
	original := wire.Table{}
	if len(t.Properties) <= bytesTold {
		original = propertyTable(&properties)
	}
	headers := wire.Table{
		{Name: "exchange_name", Value: t.Exchange}, {Name: "routing_keys", Value: keys}, {Name: "properties", Value: original},
		{Name: "node", Value: m.n.cfg.NodeName}, {Name: "vhost", Value: t.VHost}, {Name: "connection", Value: t.Connection},
		{Name: "channel", Value: int32(t.Channel)}, {Name: "user", Value: t.User},
	}
	key := "publish." + t.Exchange
	if t.Delivered {
		key = "deliver." + t.Queue
		redelivered := int32(0)
		if t.Redelivered {
			redelivered = 1
		}
		headers = append(headers, wire.Field{Name: "redelivered", Value: redelivered})
	} else {
		headers = append(headers, wire.Field{Name: "routed_queues", Value: told(queues)})
	}
	return []command.Command{&command.Emit{
		VHost: t.VHost, Exchange: traceExchange, Key: []byte(key), Body: t.Body,
		Properties: wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagHeaders, Headers: headers}),
	}}
}

// told is as many texts as a copy tells, those that come first.
func told[T string | []byte](texts []T) wire.Array {
	list, left := wire.Array{}, bytesTold
	for _, text := range texts {
		if left -= len(text) + textCost; left < 0 {
			break
		}
		list = append(list, string(text))
	}
	return list
}

// textCost is what a text takes in an array besides its bytes.
const textCost = 5

// propertyTable is the properties of a message as a table, by their names in RabbitMQ; those that are there.
func propertyTable(p *wire.Properties) wire.Table {
	var t wire.Table
	for _, f := range []struct {
		flag  uint16
		name  string
		value any
	}{
		{wire.FlagContentType, "content_type", p.ContentType}, {wire.FlagContentEncoding, "content_encoding", p.ContentEncoding},
		{wire.FlagHeaders, "headers", p.Headers}, {wire.FlagDeliveryMode, "delivery_mode", int32(p.DeliveryMode)},
		{wire.FlagPriority, "priority", int32(p.Priority)}, {wire.FlagCorrelationID, "correlation_id", p.CorrelationID},
		{wire.FlagReplyTo, "reply_to", p.ReplyTo}, {wire.FlagExpiration, "expiration", p.Expiration},
		{wire.FlagMessageID, "message_id", p.MessageID}, {wire.FlagTimestamp, "timestamp", int64(p.Timestamp)},
		{wire.FlagType, "type", p.Type}, {wire.FlagUserID, "user_id", p.UserID}, {wire.FlagAppID, "app_id", p.AppID},
		{wire.FlagClusterID, "cluster_id", p.ClusterID},
	} {
		if p.Present&f.flag != 0 {
			t = append(t, wire.Field{Name: f.name, Value: f.value})
		}
	}
	return t
}
