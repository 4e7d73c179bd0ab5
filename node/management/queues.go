package management

import (
	"net/http"
	"slices"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol/wire"
)

func (s *server) queueRoutes() []route {
	return []route{
		handle(http.MethodGet, "queues", (*call).listQueues),
		handle(http.MethodGet, "queues/detailed", (*call).listQueues),
		handle(http.MethodGet, "queues/{vhost}", (*call).listQueues),
		handle(http.MethodGet, "queues/{vhost}/{queue}", (*call).queue),
		handle(http.MethodPut, "queues/{vhost}/{queue}", (*call).declareQueue),
		handle(http.MethodDelete, "queues/{vhost}/{queue}", (*call).deleteQueue),
		handle(http.MethodDelete, "queues/{vhost}/{queue}/contents", (*call).purgeQueue),
	}
}

// A queueName is a queue's place in the cluster.
type queueName struct{ vhost, name string }

func (c *call) listQueues() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	names := c.queueNames(vhosts)
	return c.listFrom(source{
		n:     len(names),
		name:  func(i int) string { return names[i].name },
		key:   func(path []string) func(i int) any { return c.queueKey(names, path) },
		build: func(which []int) ([]object, error) { return c.queueList(names, which) },
	})
}

// queueNames returns the queues of vhosts, those of each sorted by name.
func (c *call) queueNames(vhosts []string) []queueName {
	var all []queueName
	for _, vhost := range vhosts {
		var names []string
		c.view(func(m *fsm.Machine) { names = m.QueueNames(vhost) })
		slices.Sort(names)
		for _, name := range names {
			all = append(all, queueName{vhost, name})
		}
	}
	return all
}

// queueKey returns a number of queues by its path in their objects, and nil for what is no number: then
// the queues have to be described to be sorted.
func (c *call) queueKey(names []queueName, path []string) func(i int) any {
	field := strings.Join(path, ".")
	switch {
	case field == "name":
		return func(i int) any { return names[i].name }
	case strings.HasSuffix(field, "_details.rate"):
		return c.queueRateKey(names, strings.TrimSuffix(field, "_details.rate"))
	}
	of := queueNumber(field)
	if of == nil {
		return nil
	}
	keys := make([]any, len(names))
	c.viewEach(len(names), func(m *fsm.Machine, i int) {
		if s, ok := m.QueueStats(names[i].vhost, names[i].name); ok {
			keys[i] = of(&s)
		}
	})
	return func(i int) any { return keys[i] }
}

// queueRateKey returns the rate of a number of queues, by its path without the end; nil for what has none.
func (c *call) queueRateKey(names []queueName, field string) func(i int) any {
	var parts []int
	name := strings.TrimPrefix(field, "message_stats.")
	for i, s := range queueSeries {
		if (i < queueGauges) == (name != field) && (s == name || name == "deliver_get" && isDelivering(s)) {
			parts = append(parts, i)
		}
	}
	if parts == nil {
		return nil
	}
	return func(i int) any {
		stats := c.sampler.survey.queue(entityName(names[i]), false)
		rate := 0.0
		for _, k := range parts {
			rate += stats.rate(k)
		}
		return rate
	}
}

// queueNumber returns what gives a number of a queue, by its name in the API; nil for what is none.
func queueNumber(field string) func(*fsm.QueueStats) any {
	switch field {
	case "messages":
		return func(s *fsm.QueueStats) any { return s.Messages() }
	case "messages_ready":
		return func(s *fsm.QueueStats) any { return s.Ready }
	case "messages_unacknowledged":
		return func(s *fsm.QueueStats) any { return s.Unacked }
	case "messages_parked":
		return func(s *fsm.QueueStats) any { return s.Parked }
	case "messages_delayed":
		return func(s *fsm.QueueStats) any { return s.Delayed }
	case "message_bytes":
		return func(s *fsm.QueueStats) any { return s.Bytes() }
	case "message_bytes_ready":
		return func(s *fsm.QueueStats) any { return s.ReadyBytes }
	case "message_bytes_unacknowledged":
		return func(s *fsm.QueueStats) any { return s.UnackedBytes }
	case "consumers":
		return func(s *fsm.QueueStats) any { return s.Consumers }
	}
	return nil
}

// queueList describes queues; those that have gone since they were listed are nil.
func (c *call) queueList(names []queueName, which []int) ([]object, error) {
	infos := make([]fsm.QueueInfo, len(which))
	c.viewEach(len(which), func(m *fsm.Machine, k int) {
		n := names[which[k]]
		infos[k], _ = m.Queue(n.vhost, n.name)
	})
	return c.queueObjects(infos)
}

// queueObjects describes queues. What has no name is nil.
func (c *call) queueObjects(infos []fsm.QueueInfo) ([]object, error) {
	d, err := c.newQueueDescriber()
	if err != nil {
		return nil, err
	}
	_, heads := d.want[headTimestamp]
	list := make([]object, len(infos))
	var owned []ownedQueue
	for i := range infos {
		q := &infos[i]
		if q.Name == "" {
			continue
		}
		list[i] = d.object(q)
		if heads {
			list[i][headTimestamp] = c.headTimestamp(q)
		}
		if q.Exclusive {
			owned = append(owned, ownedQueue{list[i], q.Owner})
		}
	}
	return list, c.addOwners(owned)
}

// ownedQueue is an exclusive queue.
type ownedQueue struct {
	object object
	owner  command.Owner
}

// addOwners says whose exclusive queues are, unless the columns asked for leave
// it out: other nodes have to be asked for that.
func (c *call) addOwners(queues []ownedQueue) error {
	const field = "owner_pid_details"
	if len(queues) == 0 || !c.wanted().has(field) {
		return nil
	}
	owners := make([]command.Owner, len(queues))
	for i := range queues {
		owners[i] = queues[i].owner
	}
	who, err := c.whose(owners)
	if err != nil {
		return err
	}
	for _, q := range queues {
		q.object[field] = nil
		if r := who.ref(q.owner); r != nil {
			q.object[field] = object{"name": r.Name, "peer_host": r.PeerHost, "peer_port": r.PeerPort}
		}
	}
	return nil
}

// tagOrNull returns a consumer tag as it stands in the API.
func tagOrNull(tag string) any {
	if tag == "" {
		return nil
	}
	return tag
}

// headTimestamp is the field of the property timestamp of the oldest message that waits. In lists it is there only when its column is
// asked for, as the message may have to be read from disk.
const headTimestamp = "head_message_timestamp"

// headTimestamp returns it, nil when there is no message, or none with a timestamp.
func (c *call) headTimestamp(q *fsm.QueueInfo) any {
	if q.Ready == 0 {
		return nil
	}
	var some []fsm.BrowsedMessage
	c.view(func(m *fsm.Machine) {
		some, _, _, _ = m.Browse(q.VHost, q.Name, &fsm.BrowseQuery{States: fsm.BrowseReady, Most: 1}) // what cannot be read has no timestamp
	})
	if len(some) == 0 {
		return nil
	}
	p, err := wire.ParseProperties(some[0].Message.Properties)
	if err != nil || p.Present&wire.FlagTimestamp == 0 {
		return nil
	}
	return uint64(p.Timestamp)
}

// findQueue returns the queue of the path.
func (c *call) findQueue() (q fsm.QueueInfo, err error) {
	found := false
	c.view(func(m *fsm.Machine) { q, found = m.Queue(c.params["vhost"], c.params["queue"]) })
	if !found {
		return q, errNotFound
	}
	return q, nil
}

func (c *call) queue() error {
	q, err := c.findQueue()
	if err != nil {
		return err
	}
	list, err := c.queueObjects([]fsm.QueueInfo{q})
	if err != nil {
		return err
	}
	o := list[0]
	want := c.wanted()
	if want.has(headTimestamp) {
		o[headTimestamp] = c.headTimestamp(&q)
	}
	if want.has("consumer_details") {
		if o["consumer_details"], err = c.consumersOfQueue(q.VHost, q.Name); err != nil {
			return err
		}
	}
	return c.one(o)
}

func (c *call) declareQueue() error {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return err
	}
	if err := shortEnough("queue name", c.params["queue"]); err != nil {
		return err
	}
	var body struct {
		Durable    looseBool      `json:"durable"`
		AutoDelete looseBool      `json:"auto_delete"`
		Arguments  map[string]any `json:"arguments"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	args, err := tableFromJSON(body.Arguments)
	if err != nil {
		return err
	}
	_, missing := c.findQueue()
	_, err = c.propose(&command.QueueDeclare{
		VHost: c.params["vhost"], Name: c.params["queue"],
		Durable: bool(body.Durable), AutoDelete: bool(body.AutoDelete), Args: args,
	})
	if err != nil {
		return err
	}
	return c.declared(missing == nil)
}

func (c *call) deleteQueue() error {
	if _, err := c.findQueue(); err != nil {
		return err
	}
	_, err := c.propose(&command.QueueDelete{
		VHost: c.params["vhost"], Name: c.params["queue"],
		IfUnused: c.flag("if-unused"), IfEmpty: c.flag("if-empty"),
	})
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) purgeQueue() error {
	if _, err := c.findQueue(); err != nil {
		return err
	}
	if _, err := c.propose(&command.QueuePurge{VHost: c.params["vhost"], Name: c.params["queue"]}); err != nil {
		return err
	}
	return c.none()
}
