package management

import "warren/fsm"

// view calls f with the state machine under its lock.
func (c *call) view(f func(m *fsm.Machine)) { c.cfg.Broker.View(f) }

// nodeNames maps the live epochs to the names of their nodes.
func nodeNames(m *fsm.Machine) map[uint64]string {
	names := make(map[uint64]string)
	for _, e := range m.Epochs() {
		names[e.Epoch] = e.Name
	}
	return names
}

// messageStats gives the counters of a queue RabbitMQ's names.
func messageStats(q *fsm.QueueInfo) object {
	return object{
		"publish":        q.Published,
		"deliver":        q.Delivered,
		"deliver_no_ack": q.DeliveredAuto,
		"get":            q.Got,
		"get_no_ack":     q.GotAuto,
		"get_empty":      q.GotEmpty,
		"deliver_get":    q.Delivered + q.DeliveredAuto + q.Got + q.GotAuto,
		"redeliver":      q.Redelivered,
		"ack":            q.Acked,
	}
}
