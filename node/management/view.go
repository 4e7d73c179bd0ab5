package management

import (
	"slices"

	"warren/fsm"
)

// view calls f with the state machine under its lock.
func (c *call) view(f func(m *fsm.Machine)) { c.cfg.Broker.View(f) }

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
		if isDelivering(name) {
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

// isDelivering reports whether a count is part of deliver_get.
func isDelivering(name string) bool { return slices.Contains(delivering, name) }

// messageStats gives the counts of a queue, or of all of a vhost, RabbitMQ's form, as far as they are wanted.
func messageStats(now *queueCounts, stats *objectStats, r *sampleRange, want columns) object {
	o := object{}
	sum := uint64(0)
	var parts []int
	for i, name := range queueSeries[:queueGauges] {
		if want.has(name) || want.has(name+detailsEnd) {
			o[name], o[name+detailsEnd] = now[i], stats.details(r, i)
		}
		if isDelivering(name) {
			sum += now[i]
			parts = append(parts, i)
		}
	}
	if want.has("deliver_get") || want.has("deliver_get"+detailsEnd) {
		o["deliver_get"], o["deliver_get"+detailsEnd] = sum, stats.sumDetails(r, parts)
	}
	return o
}

// detailsEnd ends the names of fields that say more of a count.
const detailsEnd = "_details"

// addLengths adds how many messages a vhost has, with their details.
func addLengths(o object, now *queueCounts, stats *objectStats, r *sampleRange) {
	for i := queueGauges; i < len(queueSeries); i++ {
		o[queueSeries[i]], o[queueSeries[i]+"_details"] = now[i], stats.details(r, i)
	}
}
