package management

import (
	"net/http"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/topology"
)

func (s *server) exchangeRoutes() []route {
	return []route{
		handle(http.MethodGet, "exchanges", (*call).listExchanges),
		handle(http.MethodGet, "exchanges/{vhost}", (*call).listExchanges),
		handle(http.MethodGet, "exchanges/{vhost}/{exchange}", (*call).exchange),
		handle(http.MethodPut, "exchanges/{vhost}/{exchange}", (*call).declareExchange),
		handle(http.MethodDelete, "exchanges/{vhost}/{exchange}", (*call).deleteExchange),
		handle(http.MethodGet, "exchanges/{vhost}/{exchange}/bindings/source", (*call).bindingsFrom),
		handle(http.MethodGet, "exchanges/{vhost}/{exchange}/bindings/destination", (*call).bindingsTo),
	}
}

// exchangeName is the exchange of the path; the default exchange has a name there.
func (c *call) exchangeName() string { return plainExchange(c.params["exchange"]) }

func plainExchange(name string) string {
	if name == "amq.default" {
		return ""
	}
	return name
}

func (c *call) listExchanges() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	rates, err := c.sampleRange("msg_rates")
	if err != nil {
		return err
	}
	type placedExchange struct {
		vhost string
		topology.Exchange
	}
	var all []placedExchange
	for _, vhost := range vhosts {
		var some []topology.Exchange
		c.view(func(m *fsm.Machine) { some = m.Exchanges(vhost) })
		for _, x := range some {
			all = append(all, placedExchange{vhost, x})
		}
	}
	want := c.wanted()
	return c.listFrom(source{
		n:    len(all),
		name: func(i int) string { return all[i].Name },
		key: keysOf(map[string]func(i int) any{
			"name":  func(i int) any { return all[i].Name },
			"vhost": func(i int) any { return all[i].vhost },
			"type":  func(i int) any { return all[i].Type },
		}),
		build: func(which []int) ([]object, error) {
			list := make([]object, len(which))
			c.viewEach(len(which), func(m *fsm.Machine, k int) {
				x := &all[which[k]]
				list[k] = c.exchangeObject(m, x.vhost, x.Exchange, rates, want)
			})
			return list, nil
		},
	})
}

// exchangeObject describes an exchange with the fields that are wanted, and some that cost nothing.
func (c *call) exchangeObject(m *fsm.Machine, vhost string, x topology.Exchange, rates *sampleRange, want columns) object {
	o := object{
		"name":        x.Name,
		"vhost":       vhost,
		"type":        x.Type,
		"durable":     x.Durable,
		"auto_delete": x.AutoDelete,
		"internal":    x.Internal,
	}
	if want.has("arguments") {
		o["arguments"] = tableToJSON(x.Args)
	}
	if want.has("policy") || want.has("operator_policy") || want.has("effective_policy_definition") {
		p := m.ExchangePolicy(vhost, x.Name)
		o["policy"], o["operator_policy"] = orNil(p.Policy), orNil(p.OperatorPolicy)
		o["effective_policy_definition"] = tableToJSON(p.Effective)
	}
	if !c.flag("disable_stats") && (want.has("message_stats") || want.has(samplesSince)) {
		t := m.Traffic(vhost, x.Name)
		stats := c.sampler.survey.exchange(entityName{vhost, x.Name}, rates != nil)
		o["message_stats"] = object{
			"publish_in": t.In, "publish_in_details": stats.details(rates, 0),
			"publish_out": t.Out, "publish_out_details": stats.details(rates, 1),
		}
		stats.addSince(o)
	}
	if n := m.DelayedCount(vhost, &x.Name); n > 0 || x.Type == topology.Delayed {
		o["messages_delayed"] = n
	}
	if x.Type == topology.RecentHistory {
		o["messages_recent"] = m.History(vhost, x.Name)
	}
	if cache, ok := m.Cache(vhost, x.Name); ok {
		o["cache_info"] = object{"entries": cache.Entries, "size": cache.Size}
	}
	return o
}

// findExchange returns the exchange of the path.
func (c *call) findExchange() (x topology.Exchange, err error) {
	found := false
	c.view(func(m *fsm.Machine) { x, found = m.Exchange(c.params["vhost"], c.exchangeName()) })
	if !found {
		return x, errNotFound
	}
	return x, nil
}

func (c *call) exchange() error {
	x, err := c.findExchange()
	if err != nil {
		return err
	}
	rates, err := c.sampleRange("msg_rates")
	if err != nil {
		return err
	}
	var o object
	c.view(func(m *fsm.Machine) { o = c.exchangeObject(m, c.params["vhost"], x, rates, nil) })
	return c.one(o)
}

func (c *call) declareExchange() error {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return err
	}
	if err := shortEnough("exchange name", c.exchangeName()); err != nil {
		return err
	}
	body := struct {
		Type       string         `json:"type"`
		Durable    looseBool      `json:"durable"`
		AutoDelete looseBool      `json:"auto_delete"`
		Internal   looseBool      `json:"internal"`
		Arguments  map[string]any `json:"arguments"`
	}{Type: topology.Direct}
	if err := c.decode(&body); err != nil {
		return err
	}
	args, err := tableFromJSON(body.Arguments)
	if err != nil {
		return err
	}
	_, missing := c.findExchange()
	_, err = c.propose(&command.ExchangeDeclare{
		VHost: c.params["vhost"], Name: c.exchangeName(), Type: body.Type,
		Durable: bool(body.Durable), AutoDelete: bool(body.AutoDelete), Internal: bool(body.Internal), Args: args,
	})
	if err != nil {
		return err
	}
	return c.declared(missing == nil)
}

func (c *call) deleteExchange() error {
	if _, err := c.findExchange(); err != nil {
		return err
	}
	_, err := c.propose(&command.ExchangeDelete{
		VHost: c.params["vhost"], Name: c.exchangeName(), IfUnused: c.flag("if-unused"),
	})
	if err != nil {
		return err
	}
	return c.none()
}

func (c *call) bindingsFrom() error {
	if _, err := c.findExchange(); err != nil {
		return err
	}
	return c.listSome(func(m *fsm.Machine) []topology.Binding {
		return m.BindingsFrom(c.params["vhost"], c.exchangeName())
	})
}

func (c *call) bindingsTo() error {
	if _, err := c.findExchange(); err != nil {
		return err
	}
	return c.listSome(func(m *fsm.Machine) []topology.Binding {
		return m.BindingsTo(c.params["vhost"], c.exchangeName(), true)
	})
}
