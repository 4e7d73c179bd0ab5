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
	fields         []queueField // those that are wanted
	want           columns
	bare           bool // without what changes all the time (disable_stats)
	rates, lengths *sampleRange
}

func (c *call) newQueueDescriber() (d *queueDescriber, err error) {
	d = &queueDescriber{c: c, placement: c.placement(), want: c.wanted(), bare: c.flag("disable_stats")}
	totals := c.flag("enable_queue_totals")
	for _, f := range queueFields {
		if d.want.has(f.name) && (!f.live || !d.bare || totals && f.total) {
			d.fields = append(d.fields, f)
		}
	}
	if d.rates, err = c.sampleRange("msg_rates"); err != nil {
		return nil, err
	}
	d.lengths, err = c.sampleRange("lengths")
	return d, err
}

// A queueView is a queue that is being described.
type queueView struct {
	*fsm.QueueInfo
	d        *queueDescriber
	counts   queueCounts
	stats    objectStats // see surveyed
	surveyed bool
}

// survey returns what the last surveys found of the queue.
func (v *queueView) survey() *objectStats {
	if !v.surveyed {
		v.surveyed = true
		v.stats = v.d.c.sampler.survey.queue(entityName{v.VHost, v.Name}, v.d.rates != nil || v.d.lengths != nil)
	}
	return &v.stats
}

// A queueField is a field of a queue's object. Most requests for many queues want few.
type queueField struct {
	name  string
	live  bool // changes all the time
	total bool // is one of RabbitMQ's queue totals
	of    func(v *queueView) any
}

// queueFields are all but those that are not always there: see object.
var queueFields = append(lengthFields(),
	queueField{name: "name", of: func(v *queueView) any { return v.Name }},
	queueField{name: "vhost", of: func(v *queueView) any { return v.VHost }},
	queueField{name: "type", of: func(v *queueView) any { return queueType(v.QueueInfo) }},
	queueField{name: "state", of: func(*queueView) any { return "running" }},
	queueField{name: "node", of: func(v *queueView) any { return v.d.leader }},
	queueField{name: "leader", of: func(v *queueView) any { return v.d.leader }},
	queueField{name: "members", of: func(v *queueView) any { return v.d.members }},
	queueField{name: "online", of: func(v *queueView) any { return v.d.online }},
	queueField{name: "durable", of: func(v *queueView) any { return v.Durable }},
	queueField{name: "auto_delete", of: func(v *queueView) any { return v.AutoDelete }},
	queueField{name: "exclusive", of: func(v *queueView) any { return v.Exclusive }},
	queueField{name: "arguments", of: func(v *queueView) any { return tableToJSON(v.Args) }},
	queueField{name: "policy", of: func(v *queueView) any { return orNil(v.Policy) }},
	queueField{name: "operator_policy", of: func(v *queueView) any { return orNil(v.OperatorPolicy) }},
	queueField{name: "effective_policy_definition", of: func(v *queueView) any { return tableToJSON(v.Effective) }},
	queueField{name: "delivery_limit", of: func(v *queueView) any { return deliveryLimit(v.DeliveryLimit) }},

	queueField{name: "consumers", live: true, of: func(v *queueView) any { return v.Consumers }},
	queueField{name: "memory", live: true, of: func(v *queueView) any { return memoryOf(&v.QueueStats) }},
	// Which bodies are in memory is not counted for each queue.
	queueField{name: "messages_ram", live: true, of: func(*queueView) any { return 0 }},
	queueField{name: "message_bytes_ram", live: true, of: func(*queueView) any { return 0 }},
	queueField{name: "messages_parked", live: true, of: func(v *queueView) any { return v.Parked }},
	queueField{name: "messages_delayed", live: true, of: func(v *queueView) any { return v.Delayed }},
	// All messages are in the log, those too that were not published as persistent.
	queueField{name: "messages_persistent", live: true, of: func(v *queueView) any { return v.Messages() }},
	queueField{name: "message_bytes_persistent", live: true, of: func(v *queueView) any { return v.Bytes() }},
	queueField{name: "message_bytes", live: true, of: func(v *queueView) any { return v.Bytes() }},
	queueField{name: "message_bytes_ready", live: true, of: func(v *queueView) any { return v.ReadyBytes }},
	queueField{name: "message_bytes_unacknowledged", live: true, of: func(v *queueView) any { return v.UnackedBytes }},
	queueField{name: "message_bytes_parked", live: true, of: func(v *queueView) any { return v.ParkedBytes }},
	queueField{name: "message_bytes_delayed", live: true, of: func(v *queueView) any { return v.DelayedBytes }},
	queueField{name: "message_stats", live: true, of: func(v *queueView) any {
		return messageStats(&v.counts, v.survey(), v.d.rates, v.d.want["message_stats"])
	}},
	queueField{name: "consumer_capacity", live: true, of: func(v *queueView) any { return v.survey().use.capacity }},
	queueField{name: "consumer_utilisation", live: true, of: func(v *queueView) any { return v.survey().use.capacity }},
	queueField{name: "single_active_consumer_tag", live: true, of: func(v *queueView) any { return tagOrNull(v.SingleActiveTag) }},
	queueField{name: "exclusive_consumer_tag", live: true, of: func(v *queueView) any { return tagOrNull(v.ExclusiveTag) }},
)

// lengthFields are how many messages a queue has, with their details.
func lengthFields() []queueField {
	var all []queueField
	for i := queueGauges; i < len(queueSeries); i++ {
		all = append(all,
			queueField{name: queueSeries[i], live: true, total: true, of: func(v *queueView) any { return v.counts[i] }},
			queueField{name: queueSeries[i] + "_details", live: true, of: func(v *queueView) any { return v.survey().details(v.d.lengths, i) }},
		)
	}
	return all
}

func (d *queueDescriber) object(q *fsm.QueueInfo) object {
	v := &queueView{QueueInfo: q, d: d, counts: countsOf(&q.QueueStats)}
	o := make(object, len(d.fields))
	for _, f := range d.fields {
		o[f.name] = f.of(v)
	}
	if d.bare {
		return o
	}
	if d.want.has("idle_since") {
		if since, idle := v.survey().use.idleSince(); idle {
			o["idle_since"] = since.Format("2006-01-02T15:04:05.000-07:00")
		}
	}
	if d.want.has(samplesSince) {
		v.survey().addSince(o)
	}
	return o
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
