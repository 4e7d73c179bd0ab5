package management

import "net/http"

func (s *server) channelRoutes() []route {
	return []route{
		handle(http.MethodGet, "channels", (*call).listChannels),
		handle(http.MethodGet, "channels/{channel}", (*call).channel),
		handle(http.MethodGet, "vhosts/{vhost}/channels", (*call).listChannels),
	}
}

// listChannels lists all channels, or those of a vhost.
func (c *call) listChannels() error {
	vhost, byVHost := c.params["vhost"]
	if byVHost {
		if err := c.needVHost(vhost); err != nil {
			return err
		}
	}
	connections, err := c.connections()
	if err != nil {
		return err
	}
	var list []object
	for i := range connections {
		if !c.owns(connections[i].User, false) || byVHost && connections[i].VHost != vhost {
			continue
		}
		if list, err = appendChannels(list, &connections[i]); err != nil {
			return err
		}
	}
	return c.list(list)
}

func appendChannels(list []object, conn *Connection) ([]object, error) {
	for _, ch := range conn.ChannelInfos {
		o, err := toObject(ch)
		if err != nil {
			return nil, err
		}
		o["user_who_performed_action"] = ch.User
		list = append(list, o)
	}
	return list, nil
}

func (c *call) connectionChannels() error {
	conn, err := c.findConnection()
	if err != nil {
		return err
	}
	list, err := appendChannels(nil, &conn)
	if err != nil {
		return err
	}
	return c.list(list)
}

func (c *call) channel() error {
	connections, err := c.connections()
	if err != nil {
		return err
	}
	for i := range connections {
		for _, ch := range connections[i].ChannelInfos {
			if ch.Name != c.params["channel"] {
				continue
			}
			if !c.owns(ch.User, false) {
				return errNotObject
			}
			o, err := toObject(ch)
			if err != nil {
				return err
			}
			o["consumer_details"] = c.consumersOf(&connections[i], ch.Number)
			return c.one(o)
		}
	}
	return errNotFound
}
