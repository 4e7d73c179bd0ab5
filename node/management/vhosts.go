package management

import (
	"net/http"

	"warren/fsm"
)

func (s *server) vhostRoutes() []route {
	return []route{
		handle(http.MethodGet, "vhosts", (*call).listVHosts),
		handle(http.MethodGet, "vhosts/{vhost}", (*call).vhost),
	}
}

// needVHost is an error when there is no such vhost.
func (c *call) needVHost(name string) error {
	found := false
	c.view(func(m *fsm.Machine) { found = m.HasVHost(name) })
	if !found {
		return errNotFound
	}
	return nil
}

// vhostsAsked are the vhost of the path, or all that the user may see.
func (c *call) vhostsAsked() ([]string, error) {
	if name, ok := c.params["vhost"]; ok {
		return []string{name}, c.needVHost(name)
	}
	return c.visible(), nil
}

func (c *call) listVHosts() error {
	names, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	list := make([]object, len(names))
	for i, name := range names {
		list[i] = c.vhostObject(name)
	}
	return c.list(list)
}

func (c *call) vhost() error {
	name := c.params["vhost"]
	if err := c.needVHost(name); err != nil {
		return err
	}
	return c.one(c.vhostObject(name))
}

func (c *call) vhostObject(name string) object {
	var sum fsm.QueueInfo
	c.view(func(m *fsm.Machine) {
		for _, q := range m.Queues(name) {
			sum.Ready += q.Ready
			sum.Unacked += q.Unacked
			sum.Parked += q.Parked
			sum.Counters.Add(&q.Counters)
		}
	})
	description := ""
	if name == "/" {
		description = "Default virtual host"
	}
	state := object{}
	for _, m := range c.cluster().Members {
		if m.Running {
			state[m.Name] = "running"
		}
	}
	return object{
		"name": name, "description": description, "tags": []string{}, "default_queue_type": "classic",
		"tracing": false, "cluster_state": state, "metadata": object{"description": description, "tags": []string{}},
		"protected_from_deletion": false,
		"messages":                sum.Ready + sum.Unacked + sum.Parked, "messages_ready": sum.Ready,
		"messages_unacknowledged": sum.Unacked, "messages_parked": sum.Parked, "message_stats": messageStats(&sum),
	}
}
