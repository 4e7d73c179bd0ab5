package management

import (
	"cmp"

	"warren/fsm"
)

// placement is where queues live: every voter has a replica, the leader leads all.
type placement struct {
	leader          string
	members, online []string
}

func (c *call) placement() placement {
	info := c.cluster()
	p := placement{leader: cmp.Or(info.Leader, info.Node), members: []string{}, online: []string{}}
	for _, m := range info.Members {
		p.members = append(p.members, m.Name)
		if m.Running {
			p.online = append(p.online, m.Name)
		}
	}
	return p
}

// A queueDescriber makes the objects of queues as a request wants them.
type queueDescriber struct {
	placement
	c              *call
	bare           bool // without what changes all the time (disable_stats)
	totals         bool // but with how many messages there are (enable_queue_totals)
	rates, lengths *sampleRange
}

func (c *call) newQueueDescriber() (d *queueDescriber, err error) {
	d = &queueDescriber{c: c, placement: c.placement(), bare: c.flag("disable_stats"), totals: c.flag("enable_queue_totals")}
	if d.rates, err = c.sampleRange("msg_rates"); err != nil {
		return nil, err
	}
	d.lengths, err = c.sampleRange("lengths")
	return d, err
}

// queueType is the type that a queue was declared with.
func queueType(q *fsm.QueueInfo) string {
	if v, ok := q.Args.Get("x-queue-type"); ok {
		if s, ok := v.(string); ok {
			return s
		}
	}
	return "classic"
}

func (d *queueDescriber) object(q *fsm.QueueInfo) object {
	o := object{
		"name":                        q.Name,
		"vhost":                       q.VHost,
		"type":                        queueType(q),
		"state":                       "running",
		"node":                        d.leader,
		"leader":                      d.leader,
		"members":                     d.members,
		"online":                      d.online,
		"durable":                     q.Durable,
		"auto_delete":                 q.AutoDelete,
		"exclusive":                   q.Exclusive,
		"arguments":                   tableToJSON(q.Args),
		"policy":                      orNil(q.Policy),
		"operator_policy":             orNil(q.OperatorPolicy),
		"effective_policy_definition": tableToJSON(q.Effective),
		"delivery_limit":              deliveryLimit(q.DeliveryLimit),
	}
	switch {
	case !d.bare:
		d.addStats(o, q)
	case d.totals:
		o["messages"] = q.Messages()
		o["messages_ready"] = q.Ready
		o["messages_unacknowledged"] = q.Unacked
	}
	return o
}

// deliveryLimit is a limit as RabbitMQ's API has it.
func deliveryLimit(n int64) any {
	if n < 0 {
		return "unlimited"
	}
	return n
}

// What a queue takes of the memory of a node, apart from bodies, in bytes: an estimate.
const (
	queueMemory    = 4096
	messageMemory  = 96 // see "Messages alias the log entry" in fsm/DESIGN.md
	consumerMemory = 512
)

func memoryOf(s *fsm.QueueStats) int {
	return queueMemory + s.Messages()*messageMemory + s.Consumers*consumerMemory
}

func (d *queueDescriber) addStats(o object, q *fsm.QueueInfo) {
	o["consumers"] = q.Consumers
	o["memory"] = memoryOf(&q.QueueStats)
	// Which bodies are in memory is not counted for each queue.
	o["messages_ram"], o["message_bytes_ram"] = 0, 0
	o["messages_parked"] = q.Parked
	o["messages_delayed"] = q.Delayed
	// All messages are in the log, those too that were not published as persistent.
	o["messages_persistent"], o["message_bytes_persistent"] = q.Messages(), q.Bytes()
	o["message_bytes"] = q.Bytes()
	o["message_bytes_ready"] = q.ReadyBytes
	o["message_bytes_unacknowledged"] = q.UnackedBytes
	o["message_bytes_parked"] = q.ParkedBytes
	o["message_bytes_delayed"] = q.DelayedBytes
	now, name := countsOf(&q.QueueStats), entityName{q.VHost, q.Name}
	stats := d.c.sampler.survey.queue(name, d.rates != nil || d.lengths != nil)
	o["message_stats"] = messageStats(&now, &stats, d.rates)
	o["consumer_capacity"], o["consumer_utilisation"] = stats.use.capacity, stats.use.capacity
	if since, idle := stats.use.idleSince(); idle {
		o["idle_since"] = since.Format("2006-01-02T15:04:05.000-07:00")
	}
	addLengths(o, &now, &stats, d.lengths)
	stats.addSince(o)
	o["single_active_consumer_tag"] = tagOrNull(q.SingleActiveTag)
	o["exclusive_consumer_tag"] = tagOrNull(q.ExclusiveTag)
}
