package management

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

func (s *server) vhostRoutes() []route {
	return []route{
		handle(http.MethodGet, "vhosts", (*call).listVHosts),
		handle(http.MethodGet, "vhosts/{vhost}", (*call).vhost),
		handle(http.MethodPut, "vhosts/{vhost}", (*call).putVHost),
		handle(http.MethodDelete, "vhosts/{vhost}", (*call).deleteVHost),
		handle(http.MethodPost, "vhosts/{vhost}/deletion/protection", func(c *call) error { return c.protectVHost(true) }),
		handle(http.MethodDelete, "vhosts/{vhost}/deletion/protection", func(c *call) error { return c.protectVHost(false) }),
		handle(http.MethodPost, "vhosts/{vhost}/start/{node}", (*call).startVHost),
	}
}

// needVHost is an error when there is no such vhost. Before that is said of one that
// another node may just have made, this node catches up with the log.
func (c *call) needVHost(name string) error {
	found := func() (ok bool) {
		c.view(func(m *fsm.Machine) { ok = m.HasVHost(name) })
		return ok
	}
	if found() {
		return nil
	}
	if _, err := c.propose(&command.Tick{}); err != nil {
		return err
	}
	if found() {
		return nil
	}
	return errNotFound
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
	state, want := c.vhostState(), c.wanted()
	return c.listFrom(source{
		n:     len(names),
		name:  func(i int) string { return names[i] },
		key:   keysOf(map[string]func(i int) any{"name": func(i int) any { return names[i] }}),
		build: eachOf(func(i int) object { return c.vhostObject(names[i], state, want) }),
	})
}

func (c *call) vhost() error {
	o := c.vhostObject(c.params["vhost"], c.vhostState(), c.wanted())
	if o == nil {
		return errNotFound
	}
	return c.one(o)
}

// vhostState says where vhosts run: on each node that does.
func (c *call) vhostState() object {
	state := object{}
	for _, m := range c.cluster().Members {
		if m.Running {
			state[m.Name] = "running"
		}
	}
	return state
}

// vhostObject describes a vhost, nil for an unknown one. Sums over its queues are there when any of them is wanted.
func (c *call) vhostObject(name string, state object, want columns) object {
	var v fsm.VHostInfo
	found := false
	traced := false
	c.view(func(m *fsm.Machine) { v, found = m.VHost(name); traced = Traced(m, name) })
	if !found {
		return nil
	}
	tags := v.Tags
	if tags == nil {
		tags = []string{}
	}
	kind := cmp.Or(v.DefaultType, "classic")
	o := object{
		"name": name, "description": v.Description, "tags": tags, "default_queue_type": kind,
		"tracing": traced, "cluster_state": state, "protected_from_deletion": v.Protected,
		"metadata": object{"description": v.Description, "tags": tags, "default_queue_type": kind},
	}
	if !want.hasAny("message") {
		return o
	}
	var sum fsm.Totals
	c.addVHost(&sum, name)
	counts := countsOf(&fsm.QueueStats{Ready: sum.Ready, Unacked: sum.Unacked, Parked: sum.Parked, Delayed: sum.Retrying, Counters: sum.Counters})
	stats := c.sampler.survey.vhost(name, false)
	o["messages_parked"], o["messages_delayed"] = sum.Parked, sum.Retrying
	o["message_stats"] = messageStats(&counts, &stats, nil, nil)
	addLengths(o, &counts, &stats, nil)
	return o
}

// putVHost makes a vhost or changes what the body names.
func (c *call) putVHost() error {
	name := c.params["vhost"]
	if err := shortEnough("virtual host name", name); err != nil {
		return err
	}
	var body struct {
		Description *string         `json:"description"`
		Tags        json.RawMessage `json:"tags"`
		DefaultType *string         `json:"default_queue_type"`
		Protected   *bool           `json:"protected_from_deletion"`
		Tracing     json.RawMessage `json:"tracing"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	cmd := &command.VHostPut{Name: name}
	if cmd.SetDescription = body.Description != nil; cmd.SetDescription {
		cmd.Description = *body.Description
	}
	if body.Tags != nil {
		tags, err := parseTags(body.Tags)
		if err != nil {
			return err
		}
		cmd.SetTags, cmd.Tags = true, tags
	}
	// "undefined" is how RabbitMQ writes that there is none.
	if body.DefaultType != nil && *body.DefaultType != "" && *body.DefaultType != "undefined" {
		cmd.SetType, cmd.DefaultType = true, *body.DefaultType
	}
	if cmd.SetProtected = body.Protected != nil; cmd.SetProtected {
		cmd.Protected = *body.Protected
	}
	existed := false
	c.view(func(m *fsm.Machine) { existed = m.HasVHost(name) })
	if _, err := c.propose(cmd); err != nil {
		return err
	}
	if !existed {
		if err := c.grantAll(name); err != nil {
			return err
		}
	}
	if err := c.trace(name, body.Tracing); err != nil {
		return err
	}
	return c.declared(existed)
}

// grantAll lets the user do everything in a vhost that the user has made.
func (c *call) grantAll(vhost string) error {
	_, err := c.propose(&command.PermissionSet{User: c.user, VHost: vhost, Configure: ".*", Write: ".*", Read: ".*"})
	return err
}

// parseTags reads a list of tags, or a text in which commas part them.
func parseTags(b json.RawMessage) ([]string, error) {
	var list []string
	if err := json.Unmarshal(b, &list); err == nil {
		return list, nil // of null too
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return nil, errBadRequest("tags is neither a list of texts nor a text")
	}
	for tag := range strings.SplitSeq(text, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			list = append(list, tag)
		}
	}
	return list, nil
}

func (c *call) deleteVHost() error {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return err
	}
	_, err := c.propose(&command.VHostDelete{Name: c.params["vhost"]})
	if f := (*failure)(nil); errors.As(err, &f) && f.status == http.StatusBadRequest {
		return &failure{http.StatusPreconditionFailed, "precondition_failed", f.Reason}
	}
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) protectVHost(protected bool) error {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return err
	}
	_, err := c.propose(&command.VHostPut{Name: c.params["vhost"], IfThere: true, SetProtected: true, Protected: protected})
	if err != nil {
		return err
	}
	return c.none()
}

// startVHost has nothing to do: a vhost runs where a node does.
func (c *call) startVHost() error {
	node := c.params["node"]
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return errBadRequest("Request to node %s failed: there is no virtual host '%s'", node, c.params["vhost"])
	}
	if c.vhostState()[node] == nil {
		return errBadRequest("Request to node %s failed: it does not run", node)
	}
	return c.none()
}
