package management

import (
	"warren/fsm"
	"warren/fsm/topology"
)

// sumFamilies are what /metrics has.
var sumFamilies = append([]family{queueSums, exchangeSums, connectionSums, channelSums}, append(globalFamilies, nodeFamilies...)...)

// objectFamilies have a series for each object.
var objectFamilies = []family{
	queueFamily(addQueueCoarse, addQueueConsumers, addQueueMetrics, addQueueDeliveries), exchangeFamily,
	connectionFamily(addConnectionBytes, addConnectionMetrics), channelFamily,
}

// detailedFamilies are what /metrics/detailed has, by RabbitMQ's names.
var detailedFamilies = map[string]family{
	"connection_churn_metrics":      churnFamily,
	"node_coarse_metrics":           nodeCoarseFamily,
	"node_metrics":                  nodeFamily,
	"ra_metrics":                    raftFamily,
	"auth_attempt_metrics":          attemptsFamily,
	"auth_attempt_detailed_metrics": attemptSourceFamily,
	"alarms":                        alarmFamily,
	"queue_coarse_metrics":          queueFamily(addQueueCoarse),
	"queue_consumer_count":          queueFamily(addQueueConsumers),
	"queue_metrics":                 queueFamily(addQueueMetrics),
	"queue_delivery_metrics":        queueFamily(addQueueDeliveries),
	"exchange_metrics":              exchangeFamily,
	"connection_coarse_metrics":     connectionFamily(addConnectionBytes),
	"connection_metrics":            connectionFamily(addConnectionMetrics),
	"channel_metrics":               channelFamily,
	"vhost_status":                  vhostFamily,
	"exchange_names":                exchangeNameFamily,
	"exchange_bindings":             exchangeBindingFamily,
}

// An adder makes some metrics of a queue, or of all with no labels.
type adder func(s *scrape, q *fsm.QueueStats, labels ...string)

func addQueueCoarse(s *scrape, q *fsm.QueueStats, labels ...string) {
	s.gauge("queue_messages_ready", "Messages that wait", float64(q.Ready), labels...)
	s.gauge("queue_messages_unacked", "Messages delivered and not acknowledged", float64(q.Unacked), labels...)
	s.gauge("queue_messages", "Messages, whatever their state", float64(q.Messages()), labels...)
}

func addQueueConsumers(s *scrape, q *fsm.QueueStats, labels ...string) {
	s.gauge("queue_consumers", "Consumers of queues", float64(q.Consumers), labels...)
}

func addQueueMetrics(s *scrape, q *fsm.QueueStats, labels ...string) {
	s.gauge("queue_messages_persistent", "Messages that outlive a restart: all", float64(q.Messages()), labels...)
	s.gauge("queue_messages_persistent_bytes", "Size of the bodies of messages that outlive a restart", float64(q.Bytes()), labels...)
	s.gauge("queue_messages_bytes", "Size of the bodies of all messages", float64(q.Bytes()), labels...)
	s.gauge("queue_messages_ready_bytes", "Size of the bodies of messages that wait", float64(q.ReadyBytes), labels...)
	s.gauge("queue_messages_unacked_bytes", "Size of the bodies of messages delivered and not acknowledged", float64(q.UnackedBytes), labels...)
	s.gauge("queue_messages_parked", "Messages that were delivered too often and have no dead-letter exchange", float64(q.Parked), labels...)
}

func addQueueDeliveries(s *scrape, q *fsm.QueueStats, labels ...string) {
	s.counter("queue_messages_published_total", "Messages that entered queues", q.Published, labels...)
	s.counter("queue_messages_delivered_ack_total", "Messages delivered to consumers that acknowledge", q.Delivered, labels...)
	s.counter("queue_messages_delivered_total", "Messages delivered to consumers that do not acknowledge", q.DeliveredAuto, labels...)
	s.counter("queue_get_ack_total", "Messages taken by basic.get with acknowledgement", q.Got, labels...)
	s.counter("queue_get_total", "Messages taken by basic.get without acknowledgement", q.GotAuto, labels...)
	s.counter("queue_get_empty_total", "basic.get on an empty queue", q.GotEmpty, labels...)
	s.counter("queue_messages_redelivered_total", "Messages delivered not for the first time", q.Redelivered, labels...)
	s.counter("queue_messages_acked_total", "Messages acknowledged", q.Acked, labels...)
}

// queueFamily makes metrics of each queue that is asked for, on the leader.
func queueFamily(add ...adder) family {
	return func(s *scrape) {
		if !s.leads() {
			return
		}
		for _, vhost := range s.vhostsThere() {
			names := s.queueNames([]string{vhost})
			all := make([]*fsm.QueueStats, len(names))
			s.viewEach(len(names), func(m *fsm.Machine, i int) {
				if !s.wants(vhost, names[i].name) {
					return
				}
				if q, ok := m.QueueStats(vhost, names[i].name); ok {
					all[i] = &q
				}
			})
			for i, q := range all {
				for _, f := range add {
					if q != nil {
						f(s, q, "vhost", vhost, "queue", names[i].name)
					}
				}
			}
		}
	}
}

// vhostsThere are the vhosts that are asked for.
func (s *scrape) vhostsThere() (some []string) {
	var all []string
	s.view(func(m *fsm.Machine) { all = m.VHosts() })
	for _, vhost := range all {
		if s.vhosts == nil || s.wants(vhost, "") || s.queues != nil {
			some = append(some, vhost)
		}
	}
	return some
}

// queueSums are the sums over all queues, on the leader. Counts go on when queues are deleted.
func queueSums(s *scrape) {
	t := s.ledTotals()
	q := fsm.QueueStats{
		Ready: t.Ready, Unacked: t.Unacked, Parked: t.Parked, Consumers: t.Consumers,
		ReadyBytes: t.ReadyBytes, UnackedBytes: t.UnackedBytes, ParkedBytes: t.ParkedBytes,
	}
	c := s.sampler.led().queues
	q.Published, q.Delivered, q.DeliveredAuto, q.Got = c[0], c[1], c[2], c[3]
	q.GotAuto, q.GotEmpty, q.Redelivered, q.Acked = c[4], c[5], c[6], c[7]
	for _, add := range []adder{addQueueCoarse, addQueueConsumers, addQueueMetrics, addQueueDeliveries} {
		add(s, &q)
	}
}

func exchangeFamily(s *scrape) {
	if !s.leads() {
		return
	}
	for _, vhost := range s.vhostsThere() {
		s.eachTraffic(vhost, func(x string, t topology.Traffic) {
			s.counter("exchange_messages_published_total", "Messages published to exchanges", t.In, "vhost", vhost, "exchange", x)
			s.counter("exchange_messages_routed_total", "Messages put in queues by exchanges, counted for each queue", t.Out, "vhost", vhost, "exchange", x)
		})
	}
}

// eachTraffic calls f without the machine's lock.
func (s *scrape) eachTraffic(vhost string, f func(x string, t topology.Traffic)) {
	type exchange struct {
		name string
		topology.Traffic
	}
	var all []exchange
	s.view(func(m *fsm.Machine) {
		m.EachTraffic(vhost, func(x string, t topology.Traffic) { all = append(all, exchange{x, t}) })
	})
	for _, x := range all {
		f(x.name, x.Traffic)
	}
}

func exchangeSums(s *scrape) {
	s.counter("exchange_messages_published_total", "Messages published to exchanges", s.cfg.Broker.Counted()["publish"])
}

func vhostFamily(s *scrape) {
	for _, vhost := range s.vhostsThere() {
		s.ofCluster("vhost_status", "1: the virtual host runs", 1, "vhost", vhost)
	}
}

func exchangeNameFamily(s *scrape) {
	s.eachExchange(func(vhost string, x topology.Exchange) {
		s.ofCluster("exchange_name", "1 for each exchange", 1, "vhost", vhost, "exchange", x.Name, "type", x.Type)
	})
}

func exchangeBindingFamily(s *scrape) {
	s.eachExchange(func(vhost string, x topology.Exchange) {
		n := 0
		s.view(func(m *fsm.Machine) { n = len(m.BindingsFrom(vhost, x.Name)) })
		s.ofCluster("exchange_bindings", "Bindings from exchanges", float64(n), "vhost", vhost, "exchange", x.Name, "type", x.Type)
	})
}

func (s *scrape) eachExchange(f func(vhost string, x topology.Exchange)) {
	for _, vhost := range s.vhostsThere() {
		var all []topology.Exchange
		s.view(func(m *fsm.Machine) { all = m.Exchanges(vhost) })
		for _, x := range all {
			if x.Name != "" {
				f(vhost, x)
			}
		}
	}
}
