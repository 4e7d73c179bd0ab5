package management

import (
	"net/http"

	"warren/fsm"
)

func (s *server) consumerRoutes() []route {
	return []route{
		handle(http.MethodGet, "consumers", (*call).listConsumers),
		handle(http.MethodGet, "consumers/{vhost}", (*call).listConsumers),
	}
}

func (c *call) listConsumers() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	connections, err := c.connections()
	if err != nil {
		return err
	}
	var list []object
	for _, vhost := range vhosts {
		list = append(list, c.consumersThat(connections, vhost, func(*fsm.ConsumerInfo, string) bool { return true })...)
	}
	return c.list(list)
}

func (c *call) consumersOfQueue(connections []Connection, vhost, queue string) []object {
	return c.consumersThat(connections, vhost, func(i *fsm.ConsumerInfo, _ string) bool { return i.Queue == queue })
}

func (c *call) consumersOf(conn *Connection, channel uint16) []object {
	return c.consumersThat([]Connection{*conn}, conn.VHost, func(i *fsm.ConsumerInfo, node string) bool {
		return node == conn.Node && i.Owner.Conn == conn.ID && i.Owner.Number == channel
	})
}

// consumersThat describes the consumers of a vhost that keep holds for; keep gets
// the name of the consumer's node too.
func (c *call) consumersThat(connections []Connection, vhost string, keep func(*fsm.ConsumerInfo, string) bool) []object {
	list := []object{}
	c.view(func(m *fsm.Machine) {
		names := nodeNames(m)
		consumers := m.Consumers(vhost)
		for i := range consumers {
			consumer := &consumers[i]
			if node := names[consumer.Owner.Epoch]; keep(consumer, node) {
				list = append(list, consumerObject(vhost, consumer, node, connections))
			}
		}
	})
	return list
}

func consumerObject(vhost string, i *fsm.ConsumerInfo, node string, connections []Connection) object {
	return object{
		"consumer_tag":     i.Tag,
		"queue":            object{"name": i.Queue, "vhost": vhost},
		"channel_details":  channelDetails(connections, node, i.Owner.Conn, i.Owner.Number),
		"ack_required":     i.AckRequired,
		"exclusive":        i.Exclusive,
		"prefetch_count":   i.Prefetch,
		"active":           i.Active,
		"activity_status":  activityStatus(i),
		"arguments":        tableToJSON(i.Args),
		"consumer_timeout": nil,
	}
}

// activityStatus says in RabbitMQ's words whether a consumer is given messages.
func activityStatus(i *fsm.ConsumerInfo) string {
	switch {
	case !i.Single:
		return "up"
	case i.Active:
		return "single_active"
	default:
		return "waiting"
	}
}

// channelDetails names a channel; of a connection that is not in the list (it has
// just gone, or its node does not answer) only node and number are known.
func channelDetails(connections []Connection, node string, conn uint64, number uint16) object {
	for i := range connections {
		if connections[i].Node != node || connections[i].ID != conn {
			continue
		}
		o := object{
			"node": node, "number": number, "user": connections[i].User,
			"connection_name": connections[i].Name,
			"peer_host":       connections[i].PeerHost, "peer_port": connections[i].PeerPort,
		}
		for _, ch := range connections[i].ChannelInfos {
			if ch.Number == number {
				o["name"] = ch.Name
			}
		}
		return o
	}
	return object{"node": node, "number": number}
}

// connectionDetails names a connection, nil where it is not in the list.
func connectionDetails(connections []Connection, node string, conn uint64) object {
	for _, c := range connections {
		if c.Node == node && c.ID == conn {
			return object{"name": c.Name, "peer_host": c.PeerHost, "peer_port": c.PeerPort}
		}
	}
	return nil
}
