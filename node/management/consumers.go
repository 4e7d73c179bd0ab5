package management

import (
	"net/http"

	"warren/fsm"
	"warren/fsm/command"
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
	var all []fsm.ConsumerInfo
	for _, vhost := range vhosts {
		c.view(func(m *fsm.Machine) { all = append(all, m.Consumers(vhost)...) })
	}
	return c.listFrom(source{n: len(all), build: func(which []int) ([]object, error) {
		some := make([]fsm.ConsumerInfo, len(which))
		for k, i := range which {
			some[k] = all[i]
		}
		return c.consumerObjects(some)
	}})
}

// consumersOfQueue describes the consumers of a queue.
func (c *call) consumersOfQueue(vhost, queue string) ([]object, error) {
	var all []fsm.ConsumerInfo
	c.view(func(m *fsm.Machine) { all = m.QueueConsumers(vhost, queue) })
	return c.consumerObjects(all)
}

// consumersOf describes the consumers of a channel.
func (c *call) consumersOf(conn *Connection, number uint16) ([]object, error) {
	var some []fsm.ConsumerInfo
	c.view(func(m *fsm.Machine) {
		for _, e := range m.Epochs() {
			if e.Node == conn.NodeID {
				some = append(some, m.ChannelConsumers(command.Owner{Epoch: e.Epoch, Channel: command.Channel{Conn: conn.ID, Number: number}})...)
			}
		}
	})
	return c.consumerObjects(some)
}

func (c *call) consumerObjects(all []fsm.ConsumerInfo) ([]object, error) {
	channels := make([]command.Owner, len(all))
	for i := range all {
		channels[i] = all[i].Owner
	}
	who, err := c.whose(channels)
	if err != nil {
		return nil, err
	}
	list := make([]object, len(all))
	for i := range all {
		list[i] = consumerObject(&all[i], who)
	}
	return list, nil
}

func consumerObject(i *fsm.ConsumerInfo, who *owners) object {
	return object{
		"consumer_tag":    i.Tag,
		"queue":           object{"name": i.Queue, "vhost": i.VHost},
		"channel_details": who.channelDetails(i.Owner),
		"ack_required":    i.AckRequired,
		"exclusive":       i.Exclusive,
		"prefetch_count":  i.Prefetch,
		"active":          i.Active,
		"activity_status": activityStatus(i),
		"arguments":       tableToJSON(i.Args),
		// In RabbitMQ too a number always; clients refuse a list with another value.
		"consumer_timeout": i.Timeout,
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
