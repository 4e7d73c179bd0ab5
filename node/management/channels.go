package management

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *server) channelRoutes() []route {
	return []route{
		handle(http.MethodGet, "channels", (*call).listChannels),
		handle(http.MethodGet, "channels/{channel}", (*call).channel),
		handle(http.MethodGet, "vhosts/{vhost}/channels", (*call).listChannels),
	}
}

// A channelRef is a channel that may be asked for.
type channelRef struct {
	conn   *ConnectionRef
	number uint16
}

// listChannels lists all channels, or those of a vhost.
func (c *call) listChannels() error {
	refs, err := c.refsAsked()
	if err != nil {
		return err
	}
	return c.listChannelsOf(refs)
}

func (c *call) connectionChannels() error {
	r, err := c.findRef()
	if err != nil {
		return err
	}
	return c.listChannelsOf([]ConnectionRef{r})
}

// listChannelsOf lists the channels of connections. Nodes are asked to describe the connections of those
// on the page only.
func (c *call) listChannelsOf(refs []ConnectionRef) error {
	var all []channelRef
	for i := range refs {
		for _, number := range refs[i].Channels {
			all = append(all, channelRef{&refs[i], number})
		}
	}
	return c.listFrom(source{
		n:    len(all),
		name: func(i int) string { return channelName(all[i].conn.Name, all[i].number) },
		key: keysOf(map[string]func(i int) any{
			"name":   func(i int) any { return channelName(all[i].conn.Name, all[i].number) },
			"number": func(i int) any { return all[i].number },
			"user":   func(i int) any { return all[i].conn.User },
			"vhost":  func(i int) any { return all[i].conn.VHost },
			"node":   func(i int) any { return all[i].conn.Node },
		}),
		build: func(which []int) ([]object, error) {
			some := make([]channelRef, len(which))
			for k, i := range which {
				some[k] = all[i]
			}
			return c.channelList(some)
		},
	})
}

// channelList describes channels, nil for those that have gone.
func (c *call) channelList(some []channelRef) ([]object, error) {
	var keys []ConnectionKey
	for _, r := range some {
		if len(keys) == 0 || keys[len(keys)-1] != r.conn.ConnectionKey {
			keys = append(keys, r.conn.ConnectionKey)
		}
	}
	slices.SortFunc(keys, func(a, b ConnectionKey) int {
		return cmp.Or(cmp.Compare(a.NodeID, b.NodeID), cmp.Compare(a.ID, b.ID))
	}) // a list that is sorted otherwise may name one twice
	byKey, err := c.describe(slices.Compact(keys))
	if err != nil {
		return nil, err
	}
	list := make([]object, len(some))
	for i, r := range some {
		conn := byKey[r.conn.ConnectionKey]
		if conn == nil {
			continue
		}
		if ch := conn.channel(r.number); ch != nil {
			if list[i], err = channelObject(ch); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// channel returns the channel of a number, nil when it is not open.
func (c *Connection) channel(number uint16) *Channel {
	i, ok := slices.BinarySearchFunc(c.ChannelInfos, number, func(ch Channel, n uint16) int { return int(ch.Number) - int(n) })
	if !ok {
		return nil
	}
	return &c.ChannelInfos[i]
}

func channelObject(ch *Channel) (object, error) {
	o, err := toObject(ch)
	if err != nil {
		return nil, err
	}
	delete(o, "counts")
	delete(o, "rates")
	o["user_who_performed_action"] = ch.User
	if len(ch.Counts) > 0 {
		o["message_stats"] = channelStats(ch)
	}
	return o, nil
}

// splitChannelName parts "connection (number)".
func splitChannelName(name string) (connection string, number uint16, ok bool) {
	at := strings.LastIndex(name, " (")
	if at < 0 || !strings.HasSuffix(name, ")") {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[at+2:len(name)-1], 10, 16)
	return name[:at], uint16(n), err == nil
}

func (c *call) channel() error {
	name, number, ok := splitChannelName(c.params["channel"])
	if !ok {
		return errNotFound
	}
	c.params["connection"] = name
	conn, err := c.findConnection()
	if err != nil {
		return err
	}
	ch := conn.channel(number)
	if ch == nil {
		return errNotFound
	}
	o, err := channelObject(ch)
	if err != nil {
		return err
	}
	if o["consumer_details"], err = c.consumersOf(conn, number); err != nil {
		return err
	}
	return c.one(o)
}
