package management

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func (s *server) connectionRoutes() []route {
	return []route{
		handle(http.MethodGet, "connections", (*call).listConnections),
		handle(http.MethodGet, "connections/{connection}", (*call).connection),
		handle(http.MethodDelete, "connections/{connection}", (*call).closeConnection),
		handle(http.MethodGet, "connections/{connection}/channels", (*call).connectionChannels),
		handle(http.MethodGet, "connections/{connection}/sessions", (*call).connectionSessions),
		handle(http.MethodGet, "connections/username/{user}", (*call).listConnections),
		handle(http.MethodDelete, "connections/username/{user}", (*call).closeUserConnections),
		handle(http.MethodGet, "vhosts/{vhost}/connections", (*call).listConnections),
	}
}

// connectionRefs returns the connections of the whole cluster, or those of one name, as far as the
// user may see them, sorted by name.
func (c *call) connectionRefs(name string) ([]ConnectionRef, error) {
	all, err := c.cfg.Broker.ConnectionRefs(c.r.Context(), name)
	if err != nil {
		return nil, errUnavailable(fmt.Sprintf("list connections: %v", err))
	}
	all = slices.DeleteFunc(all, func(r ConnectionRef) bool { return !c.owns(r.User, false) })
	slices.SortFunc(all, func(a, b ConnectionRef) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// refsAsked returns the connections of the user or the vhost of the path, or all.
func (c *call) refsAsked() ([]ConnectionRef, error) {
	vhost, byVHost := c.params["vhost"]
	if byVHost {
		if err := c.needVHost(vhost); err != nil {
			return nil, err
		}
	}
	user, byUser := c.params["user"]
	refs, err := c.connectionRefs("")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(refs, func(r ConnectionRef) bool {
		return byUser && r.User != user || byVHost && r.VHost != vhost
	}), nil
}

// describe describes connections; those that have gone since are missing.
func (c *call) describe(keys []ConnectionKey) (map[ConnectionKey]*Connection, error) {
	some, err := c.cfg.Broker.Connections(c.r.Context(), keys)
	if err != nil {
		return nil, errUnavailable(fmt.Sprintf("describe connections: %v", err))
	}
	byKey := make(map[ConnectionKey]*Connection, len(some))
	for i := range some {
		byKey[some[i].ConnectionKey] = &some[i]
	}
	return byKey, nil
}

// listConnections lists all connections, or those of a user or a vhost. Nodes are asked to describe
// only those of the page.
func (c *call) listConnections() error {
	refs, err := c.refsAsked()
	if err != nil {
		return err
	}
	return c.listFrom(source{
		n:    len(refs),
		name: func(i int) string { return refs[i].Name },
		key: keysOf(map[string]func(i int) any{
			"name":         func(i int) any { return refs[i].Name },
			"user":         func(i int) any { return refs[i].User },
			"vhost":        func(i int) any { return refs[i].VHost },
			"node":         func(i int) any { return refs[i].Node },
			"channels":     func(i int) any { return len(refs[i].Channels) },
			"connected_at": func(i int) any { return refs[i].ConnectedAt },
		}),
		build: func(which []int) ([]object, error) {
			keys := make([]ConnectionKey, len(which))
			for k, i := range which {
				keys[k] = refs[i].ConnectionKey
			}
			return c.connectionList(keys)
		},
	})
}

// connectionList describes connections in the order of the keys, nil for those that have gone.
func (c *call) connectionList(keys []ConnectionKey) ([]object, error) {
	byKey, err := c.describe(keys)
	if err != nil {
		return nil, err
	}
	list := make([]object, len(keys))
	for i, key := range keys {
		if conn := byKey[key]; conn != nil {
			if list[i], err = connectionObject(conn); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

func connectionObject(conn *Connection) (object, error) {
	bare := *conn
	bare.ChannelInfos = nil // they are much, and not wanted here
	o, err := toObject(&bare)
	if err != nil {
		return nil, err
	}
	for _, ours := range []string{"id", "node_id", "channel_infos", "rates"} {
		delete(o, ours)
	}
	for name, rate := range map[string]float64{
		"recv_oct": conn.Rates.ReceivedBytes, "recv_cnt": conn.Rates.ReceivedPackets,
		"send_oct": conn.Rates.SentBytes, "send_cnt": conn.Rates.SentPackets,
	} {
		o[name+"_details"] = object{"rate": rate}
	}
	if conn.ClientProperties == nil {
		o["client_properties"] = object{}
	}
	o["user_who_performed_action"] = conn.User
	return o, nil
}

// findRef returns the connection of the path.
func (c *call) findRef() (ConnectionRef, error) {
	all, err := c.cfg.Broker.ConnectionRefs(c.r.Context(), c.params["connection"])
	switch {
	case err != nil:
		return ConnectionRef{}, errUnavailable(fmt.Sprintf("list connections: %v", err))
	case len(all) == 0:
		return ConnectionRef{}, errNotFound
	}
	return all[0], when(c.owns(all[0].User, c.r.Method == http.MethodDelete), errNotObject)
}

// findConnection describes the connection of the path.
func (c *call) findConnection() (*Connection, error) {
	r, err := c.findRef()
	if err != nil {
		return nil, err
	}
	byKey, err := c.describe([]ConnectionKey{r.ConnectionKey})
	if err != nil {
		return nil, err
	}
	if conn := byKey[r.ConnectionKey]; conn != nil {
		return conn, nil
	}
	return nil, errNotFound
}

func (c *call) connection() error {
	conn, err := c.findConnection()
	if err != nil {
		return err
	}
	o, err := connectionObject(conn)
	if err != nil {
		return err
	}
	return c.one(o)
}

// connectionSessions lists the sessions of AMQP 1.0, which no connection has here.
func (c *call) connectionSessions() error {
	if _, err := c.findRef(); err != nil {
		return err
	}
	return errBadRequest("connection %s does not use AMQP 1.0: it has channels, not sessions", c.params["connection"])
}

func (c *call) closeConnection() error {
	if _, err := c.findRef(); err != nil {
		return err
	}
	reason := c.closeReason()
	found, err := c.cfg.Broker.CloseConnection(c.r.Context(), c.params["connection"], reason)
	switch {
	case err != nil:
		return errUnavailable(err.Error())
	case !found:
		return errNotFound
	}
	c.log.Info("connection closed by operator", "connection", c.params["connection"], "user", c.user, "reason", reason)
	return c.none()
}

// closeReason is what clients are told.
func (c *call) closeReason() string {
	return cmp.Or(c.r.Header.Get("X-Reason"), "Closed via management API")
}

func (c *call) closeUserConnections() error {
	reason := c.closeReason()
	if err := c.cfg.Broker.CloseUserConnections(c.r.Context(), c.params["user"], reason); err != nil {
		return errUnavailable(err.Error())
	}
	c.log.Info("connections of a user closed by operator", "of", c.params["user"], "user", c.user, "reason", reason)
	return c.none()
}
