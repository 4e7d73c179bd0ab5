package management

import (
	"slices"

	"warren/fsm"
)

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

// channelStats gives the counts of a channel RabbitMQ's form.
func channelStats(ch *Channel) object {
	o := object{}
	var got uint64
	var rate float64
	for name, n := range ch.Counts {
		if name == checkedCount {
			continue
		}
		o[name], o[name+"_details"] = n, object{"rate": ch.Rates[name]}
		if slices.Contains(delivering, name) {
			got += n
			rate += ch.Rates[name]
		}
	}
	if got > 0 {
		o["deliver_get"], o["deliver_get_details"] = got, object{"rate": rate}
	}
	return o
}

// checkedCount is the count of what was published on channels in confirm mode. RabbitMQ shows it as a metric only.
const checkedCount = "publish_checked"

// delivering are the counts that make up deliver_get.
var delivering = []string{"deliver", "deliver_no_ack", "get", "get_no_ack"}

// messageStats gives the counters of a queue RabbitMQ's names.
func messageStats(q *fsm.QueueStats) object {
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
