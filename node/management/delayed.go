package management

import (
	"net/http"
	"strconv"
	"time"

	"warren/fsm"
	"warren/fsm/command"
)

// Delayed messages have no resource in RabbitMQ: its plugin does not show them.
func (s *server) delayedRoutes() []route {
	return []route{
		handle(http.MethodGet, "delayed", (*call).listDelayed),
		handle(http.MethodGet, "delayed/{vhost}", (*call).listDelayed),
		handle(http.MethodGet, "exchanges/{vhost}/{exchange}/delayed", (*call).listDelayed),
		handle(http.MethodDelete, "delayed/{vhost}/{id}", (*call).cancelDelayed),
	}
}

// How many delayed messages of a vhost are listed: those that are due first.
const (
	delayedShown = 1000
	delayedMost  = 10_000
)

// delayedMore is a header of the answer when not all delayed messages were looked at, as that would
// have kept the node from its work: there may be more within the limit.
const delayedMore = "Warren-More"

func (c *call) listDelayed() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	var exchange *string
	if _, ok := c.params["exchange"]; ok {
		if _, err := c.findExchange(); err != nil {
			return err
		}
		name := c.exchangeName()
		exchange = &name
	}
	limit := delayedShown
	if text := c.r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > delayedMost {
			return errBadRequest("limit must be a number from 1 to %d", delayedMost)
		}
	}
	list := []object{}
	for _, vhost := range vhosts {
		c.view(func(m *fsm.Machine) {
			found, more := m.Delayed(vhost, exchange, limit)
			for i := range found {
				list = append(list, delayedObject(vhost, &found[i]))
			}
			if more {
				c.w.Header().Set(delayedMore, "true")
			}
		})
	}
	return c.list(list)
}

func delayedObject(vhost string, d *fsm.DelayedInfo) object {
	return object{
		"id":          strconv.FormatUint(d.ID, 10), // more than a number of JSON holds exactly
		"vhost":       vhost,
		"exchange":    d.Exchange,
		"routing_key": d.Key,
		"delay":       d.Delay,
		"due":         d.Due,
		"due_at":      time.UnixMilli(d.Due).UTC().Format("2006-01-02T15:04:05.000Z"),
		"bytes":       d.Bytes,
	}
}

func (c *call) cancelDelayed() error {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return err
	}
	id, err := strconv.ParseUint(c.params["id"], 10, 64)
	if err != nil {
		return errNotFound
	}
	if _, err := c.propose(&command.DelayedCancel{VHost: c.params["vhost"], ID: id}); err != nil {
		return err
	}
	return c.none()
}
