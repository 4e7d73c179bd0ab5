package management

import (
	"cmp"
	"net/http"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

func (s *server) queueRoutes() []route {
	return []route{
		handle(http.MethodGet, "queues", (*call).listQueues),
		handle(http.MethodGet, "queues/{vhost}", (*call).listQueues),
		handle(http.MethodGet, "queues/{vhost}/{queue}", (*call).queue),
		handle(http.MethodPut, "queues/{vhost}/{queue}", (*call).declareQueue),
		handle(http.MethodDelete, "queues/{vhost}/{queue}", (*call).deleteQueue),
		handle(http.MethodDelete, "queues/{vhost}/{queue}/contents", (*call).purgeQueue),
	}
}

func (c *call) listQueues() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	q, err := parseQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	if q.needsPage() {
		return c.queuePage(&q, vhosts)
	}
	var all []fsm.QueueInfo
	c.view(func(m *fsm.Machine) {
		for _, vhost := range vhosts {
			all = append(all, m.Queues(vhost)...)
		}
	})
	list, err := c.queueObjects(all)
	if err != nil {
		return err
	}
	return c.list(list)
}

// queuePage answers with a page of the queues. Of the others only the names are looked at: with
// very many queues the machine would stand still for too long.
func (c *call) queuePage(q *query, vhosts []string) error {
	type queueName struct{ vhost, name string }
	var names []queueName
	total := 0
	for _, vhost := range vhosts {
		var all []string
		c.view(func(m *fsm.Machine) { all = m.QueueNames(vhost) })
		total += len(all)
		for _, name := range all {
			if q.keep == nil || q.keep(name) {
				names = append(names, queueName{vhost, name})
			}
		}
	}
	return c.page(q, total, len(names), func(from, to int) ([]object, error) {
		var some []fsm.QueueInfo
		c.view(func(m *fsm.Machine) {
			for _, n := range names[from:to] {
				if info, ok := m.Queue(n.vhost, n.name); ok { // else it has gone since
					some = append(some, info)
				}
			}
		})
		return c.queueObjects(some)
	})
}

func (c *call) queueObjects(all []fsm.QueueInfo) ([]object, error) {
	where := c.placement()
	list := make([]object, len(all))
	var owned []ownedQueue
	for i := range all {
		q := &all[i]
		list[i] = where.queueObject(q.VHost, q)
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
// it out: all nodes have to be asked for that.
func (c *call) addOwners(queues []ownedQueue) error {
	const field = "owner_pid_details"
	columns := c.r.URL.Query().Get("columns")
	if len(queues) == 0 || columns != "" && !strings.Contains(columns, field) {
		return nil
	}
	connections, err := c.connections()
	if err != nil {
		return err
	}
	var nodes map[uint64]string
	c.view(func(m *fsm.Machine) { nodes = nodeNames(m) })
	for _, q := range queues {
		q.object[field] = connectionDetails(connections, nodes[q.owner.Epoch], q.owner.Conn)
	}
	return nil
}

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

func (p *placement) queueObject(vhost string, q *fsm.QueueInfo) object {
	kind := "classic"
	if v, ok := q.Args.Get("x-queue-type"); ok {
		if s, ok := v.(string); ok {
			kind = s
		}
	}
	return object{
		"name":                         q.Name,
		"vhost":                        vhost,
		"type":                         kind,
		"state":                        "running",
		"node":                         p.leader,
		"leader":                       p.leader,
		"members":                      p.members,
		"online":                       p.online,
		"durable":                      q.Durable,
		"auto_delete":                  q.AutoDelete,
		"exclusive":                    q.Exclusive,
		"arguments":                    tableToJSON(q.Args),
		"policy":                       orNil(q.Policy),
		"operator_policy":              orNil(q.OperatorPolicy),
		"effective_policy_definition":  tableToJSON(q.Effective),
		"consumers":                    q.Consumers,
		"messages":                     q.Ready + q.Unacked + q.Parked,
		"messages_ready":               q.Ready,
		"messages_unacknowledged":      q.Unacked,
		"messages_parked":              q.Parked,
		"message_bytes":                q.ReadyBytes + q.UnackedBytes + q.ParkedBytes,
		"message_bytes_ready":          q.ReadyBytes,
		"message_bytes_unacknowledged": q.UnackedBytes,
		"message_bytes_parked":         q.ParkedBytes,
		"message_stats":                messageStats(q),
		"single_active_consumer_tag":   tagOrNull(q.SingleActiveTag),
		"exclusive_consumer_tag":       tagOrNull(q.ExclusiveTag),
	}
}

// tagOrNull returns a consumer tag as it stands in the API.
func tagOrNull(tag string) any {
	if tag == "" {
		return nil
	}
	return tag
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
	connections, err := c.connections()
	if err != nil {
		return err
	}
	where := c.placement()
	o := where.queueObject(c.params["vhost"], &q)
	o["consumer_details"] = c.consumersOfQueue(connections, c.params["vhost"], q.Name)
	if q.Exclusive {
		if err := c.addOwners([]ownedQueue{{o, q.Owner}}); err != nil {
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
		Durable    bool           `json:"durable"`
		AutoDelete bool           `json:"auto_delete"`
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
		Durable: body.Durable, AutoDelete: body.AutoDelete, Args: args,
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
