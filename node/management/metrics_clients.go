package management

import "github.com/prometheus/client_golang/prometheus"

// ofCluster makes a metric that is the same on all nodes.
func (s *scrape) ofCluster(name, help string, v float64, labels ...string) {
	s.put("rabbitmq_cluster_"+name, help, prometheus.GaugeValue, v, labels)
}

func connectionSums(s *scrape) {
	n := s.cfg.Broker.Counted()
	s.counter("connection_incoming_bytes_total", "Bytes received", n["recv_oct"])
	s.counter("connection_outgoing_bytes_total", "Bytes sent", n["send_oct"])
	s.counter("connection_incoming_packets_total", "Reads", n["recv_cnt"])
	s.counter("connection_outgoing_packets_total", "Writes", n["send_cnt"])
	s.gauge("connection_channels", "Open channels", float64(s.cfg.Broker.LocalStats().Channels))
}

func addConnectionBytes(s *scrape, c *Connection, labels ...string) {
	s.counter("connection_incoming_bytes_total", "Bytes received", c.ReceivedBytes, labels...)
	s.counter("connection_outgoing_bytes_total", "Bytes sent", c.SentBytes, labels...)
}

func addConnectionMetrics(s *scrape, c *Connection, labels ...string) {
	s.counter("connection_incoming_packets_total", "Reads", c.ReceivedPackets, labels...)
	s.counter("connection_outgoing_packets_total", "Writes", c.SentPackets, labels...)
	s.gauge("connection_channels", "Open channels", float64(c.Channels), labels...)
}

// connectionFamily makes metrics of each connection of this node.
func connectionFamily(add ...func(*scrape, *Connection, ...string)) family {
	return func(s *scrape) {
		for _, c := range s.localConnections() {
			for _, f := range add {
				f(s, &c, "connection", c.Name)
			}
		}
	}
}

// localConnections are asked for once in a scrape.
func (s *scrape) localConnections() []Connection {
	if s.connections == nil {
		s.connections = s.cfg.Broker.LocalConnections()
	}
	return s.connections
}

// channelCounts are the counts of a channel as RabbitMQ names them, by their names in message_stats.
var channelCounts = []struct{ count, name, help string }{
	{"publish", "channel_messages_published_total", "Messages published"},
	{"confirm", "channel_messages_confirmed_total", "Messages confirmed"},
	{"return_unroutable", "channel_messages_unroutable_returned_total", "Messages that no queue took, returned"},
	{"drop_unroutable", "channel_messages_unroutable_dropped_total", "Messages that no queue took, dropped"},
	{"deliver", "channel_messages_delivered_ack_total", "Messages delivered to consumers that acknowledge"},
	{"deliver_no_ack", "channel_messages_delivered_total", "Messages delivered to consumers that do not acknowledge"},
	{"get", "channel_get_ack_total", "Messages taken by basic.get with acknowledgement"},
	{"get_no_ack", "channel_get_total", "Messages taken by basic.get without acknowledgement"},
	{"get_empty", "channel_get_empty_total", "basic.get on an empty queue"},
	{"redeliver", "channel_messages_redelivered_total", "Messages delivered not for the first time"},
	{"ack", "channel_messages_acked_total", "Messages acknowledged"},
}

func channelSums(s *scrape) {
	n := s.cfg.Broker.Counted()
	for _, c := range channelCounts {
		s.counter(c.name, c.help, n[c.count])
	}
	s.gauge("channel_consumers", "Consumers", float64(n["consumers"]))
}

// channelFamily makes metrics of each channel of this node.
func channelFamily(s *scrape) {
	for _, c := range s.localConnections() {
		for _, ch := range c.ChannelInfos {
			labels := []string{"channel", ch.Name, "connection", c.Name}
			for _, count := range channelCounts {
				s.counter(count.name, count.help, ch.Counts[count.count], labels...)
			}
			s.gauge("channel_consumers", "Consumers", float64(ch.Consumers), labels...)
			s.gauge("channel_messages_unacked", "Messages delivered and not acknowledged", float64(ch.Unacked), labels...)
			s.gauge("channel_messages_unconfirmed", "Messages published and not confirmed", float64(ch.Unconfirmed), labels...)
			s.gauge("channel_messages_uncommitted", "Messages published in the open transaction", float64(ch.Uncommitted), labels...)
			s.gauge("channel_acks_uncommitted", "Messages acknowledged in the open transaction", float64(ch.AcksPending), labels...)
			s.gauge("channel_prefetch", "Limit of unacknowledged messages of the channel", float64(ch.GlobalQos), labels...)
		}
	}
}
