package management

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// globalFamilies count since the node started, whatever becomes of queues and connections.
var globalFamilies = []family{globalFamily, deadLetterFamily, sizeFamily}

// Labels of RabbitMQ's global metrics. All queues are replicated, and dead letters are not lost.
var (
	amqp091    = []string{"protocol", "amqp091"}
	ofQueues   = []string{"protocol", "amqp091", "queue_type", "rabbit_quorum_queue"}
	deadLetter = []string{"queue_type", "rabbit_quorum_queue", "dead_letter_strategy", "at_least_once"}
)

func globalFamily(s *scrape) {
	n := s.cfg.Broker.Counted()
	s.counter("global_messages_received_total", "Messages published", n["publish"], amqp091...)
	s.counter("global_messages_received_confirm_total", "Messages published on channels in confirm mode", n["publish_checked"], amqp091...)
	s.counter("global_messages_routed_total", "Messages put in a queue, counted for each; on the leader only", s.sampler.led().Seen.Routed, amqp091...)
	s.counter("global_messages_confirmed_total", "Messages confirmed", n["confirm"], amqp091...)
	s.counter("global_messages_unroutable_dropped_total", "Messages that no queue took, dropped", n["drop_unroutable"], amqp091...)
	s.counter("global_messages_unroutable_returned_total", "Messages that no queue took, returned", n["return_unroutable"], amqp091...)
	s.gauge("global_publishers", "Channels that have published", float64(n["publishers"]), amqp091...)
	s.gauge("global_consumers", "Consumers", float64(n["consumers"]), amqp091...)
	s.counter("global_messages_delivered_total", "Messages delivered, to consumers and by basic.get",
		n["deliver"]+n["deliver_no_ack"]+n["get"]+n["get_no_ack"], ofQueues...)
	s.counter("global_messages_redelivered_total", "Messages delivered not for the first time", n["redeliver"], ofQueues...)
	s.counter("global_messages_acknowledged_total", "Messages acknowledged", n["ack"], ofQueues...)
	s.counter("global_messages_delivered_consume_manual_ack_total", "Messages delivered to consumers that acknowledge", n["deliver"], ofQueues...)
	s.counter("global_messages_delivered_consume_auto_ack_total", "Messages delivered to consumers that do not acknowledge", n["deliver_no_ack"], ofQueues...)
	s.counter("global_messages_delivered_get_manual_ack_total", "Messages delivered by basic.get with acknowledgement", n["get"], ofQueues...)
	s.counter("global_messages_delivered_get_auto_ack_total", "Messages delivered by basic.get without acknowledgement", n["get_no_ack"], ofQueues...)
	s.counter("global_messages_get_empty_total", "basic.get on an empty queue", n["get_empty"], ofQueues...)
}

func deadLetterFamily(s *scrape) {
	seen := s.sampler.led().Seen
	const help = "Messages that went to a dead-letter exchange, by the reason; on the leader only"
	s.counter("global_messages_dead_lettered_maxlen_total", help, seen.MaxLen, deadLetter...)
	s.counter("global_messages_dead_lettered_expired_total", help, seen.Expired, deadLetter...)
	s.counter("global_messages_dead_lettered_rejected_total", help, seen.Rejected, deadLetter...)
	s.counter("global_messages_dead_lettered_delivery_limit_total", help, seen.TooOften, deadLetter...)
	s.counter("global_messages_dead_lettered_confirmed_total", "Messages that reached their dead-letter queues: all, in the same step",
		seen.MaxLen+seen.Expired+seen.Rejected+seen.TooOften, deadLetter...)
}

// sizeBounds are those of RabbitMQ, in bytes. Behind them is a class for what is larger.
var sizeBounds = [...]float64{100, 1e3, 10e3, 100e3, 1e6, 10e6, 50e6, 100e6}

// SizeClass is the name, in Broker.Counted, of the count of messages published whose body is of a class: the i-th is at
// most 100, 1,000, 10,000, 100,000, 1,000,000, 10,000,000, 50,000,000 or 100,000,000 bytes, and the last is larger. Beside
// them publish_bytes is the size of all.
func SizeClass(i int) string { return "publish_size_" + strconv.Itoa(i) }

func sizeFamily(s *scrape) {
	n := s.cfg.Broker.Counted()
	buckets := make(map[float64]uint64)
	count := uint64(0)
	for i, bound := range sizeBounds {
		count += n[SizeClass(i)]
		buckets[bound] = count
	}
	count += n[SizeClass(len(sizeBounds))]
	desc := prometheus.NewDesc(s.prefix+"message_size_bytes", "Sizes of the bodies of messages published", []string{"protocol"}, nil)
	s.out <- prometheus.MustNewConstHistogram(desc, count, float64(n["publish_bytes"]), buckets, "amqp091")
}
