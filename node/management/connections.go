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
		handle(http.MethodGet, "connections/username/{user}", (*call).listConnections),
		handle(http.MethodDelete, "connections/username/{user}", (*call).closeUserConnections),
		handle(http.MethodGet, "vhosts/{vhost}/connections", (*call).listConnections),
	}
}

// connections returns those of the whole cluster, sorted by name.
func (c *call) connections() ([]Connection, error) {
	all, err := c.cfg.Broker.Connections(c.r.Context())
	if err != nil {
		return nil, errUnavailable(fmt.Sprintf("list connections: %v", err))
	}
	slices.SortFunc(all, func(a, b Connection) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// listConnections lists all connections, or those of a user or a vhost.
func (c *call) listConnections() error {
	vhost, byVHost := c.params["vhost"]
	if byVHost {
		if err := c.needVHost(vhost); err != nil {
			return err
		}
	}
	user, byUser := c.params["user"]
	connections, err := c.connections()
	if err != nil {
		return err
	}
	var list []object
	for _, conn := range connections {
		if !c.owns(conn.User, false) || byUser && conn.User != user || byVHost && conn.VHost != vhost {
			continue
		}
		o, err := connectionObject(conn)
		if err != nil {
			return err
		}
		list = append(list, o)
	}
	return c.list(list)
}

func connectionObject(conn Connection) (object, error) {
	o, err := toObject(conn)
	if err != nil {
		return nil, err
	}
	delete(o, "id")
	delete(o, "channel_infos")
	o["user_who_performed_action"] = conn.User
	return o, nil
}

func (c *call) findConnection() (Connection, error) {
	connections, err := c.connections()
	if err != nil {
		return Connection{}, err
	}
	for _, conn := range connections {
		if conn.Name == c.params["connection"] {
			return conn, when(c.owns(conn.User, c.r.Method == http.MethodDelete), errNotObject)
		}
	}
	return Connection{}, errNotFound
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

func (c *call) closeConnection() error {
	if _, err := c.findConnection(); err != nil {
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
