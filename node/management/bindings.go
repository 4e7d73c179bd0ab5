package management

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

func (s *server) bindingRoutes() []route {
	t := []route{
		handle(http.MethodGet, "bindings", (*call).listBindings),
		handle(http.MethodGet, "bindings/{vhost}", (*call).listBindings),
		handle(http.MethodGet, "queues/{vhost}/{queue}/bindings", (*call).bindingsToQueue),
	}
	for _, kind := range []string{"q", "e"} {
		pair := "bindings/{vhost}/e/{exchange}/" + kind + "/{destination}"
		toExchange := kind == "e"
		t = append(t,
			handle(http.MethodGet, pair, func(c *call) error { return c.pairBindings(toExchange) }),
			handle(http.MethodPost, pair, func(c *call) error { return c.bind(toExchange) }),
			handle(http.MethodGet, pair+"/{props}", func(c *call) error { return c.binding(toExchange) }),
			handle(http.MethodDelete, pair+"/{props}", func(c *call) error { return c.unbind(toExchange) }),
		)
	}
	return t
}

// placed is a binding with its vhost.
type placed struct {
	vhost string
	topology.Binding
}

func (c *call) listBindings() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	var all []placed
	for _, vhost := range vhosts {
		all = append(all, c.bindings(vhost, func(m *fsm.Machine) []topology.Binding { return m.Bindings(vhost) })...)
	}
	return c.listPlaced(all)
}

// listPlaced answers with bindings, which may be very many.
func (c *call) listPlaced(all []placed) error {
	return c.listFrom(source{
		n: len(all),
		key: keysOf(map[string]func(i int) any{
			"vhost":       func(i int) any { return all[i].vhost },
			"source":      func(i int) any { return all[i].Source },
			"destination": func(i int) any { return all[i].Destination },
			"routing_key": func(i int) any { return all[i].Key },
		}),
		build: eachOf(func(i int) object { return bindingObject(all[i].vhost, &all[i].Binding) }),
	})
}

// bindings returns what read gives, sorted. There may be very many, so the machine stands still
// only while they are copied.
func (c *call) bindings(vhost string, read func(*fsm.Machine) []topology.Binding) []placed {
	var some []topology.Binding
	c.view(func(m *fsm.Machine) { some = read(m) })
	topology.SortBindings(some)
	all := make([]placed, len(some))
	for i, b := range some {
		all[i] = placed{vhost, b}
	}
	return all
}

// listSome lists bindings of the vhost of the path.
func (c *call) listSome(read func(*fsm.Machine) []topology.Binding) error {
	return c.listPlaced(c.bindings(c.params["vhost"], read))
}

func bindingObject(vhost string, b *topology.Binding) object {
	kind := "queue"
	if b.ToExchange {
		kind = "exchange"
	}
	return object{
		"source":           b.Source,
		"vhost":            vhost,
		"destination":      b.Destination,
		"destination_type": kind,
		"routing_key":      b.Key,
		"arguments":        tableToJSON(b.Args),
		"properties_key":   propertiesKey(b.Key, b.Args),
	}
}

// propertiesKey names a binding among those of the same two ends: the routing
// key, percent-encoded, and for a binding with arguments a hash of them behind
// "~". RabbitMQ has the same form with another hash.
func propertiesKey(key string, args wire.Table) string {
	quoted := strings.ReplaceAll(url.QueryEscape(key), "~", "%7E")
	switch {
	case len(args) > 0:
		sum := sha256.Sum256(wire.AppendTable(nil, args))
		return quoted + "~" + base64.RawURLEncoding.EncodeToString(sum[:16])
	case key == "":
		return "~"
	}
	return quoted
}

func (c *call) bindingsToQueue() error {
	if _, err := c.findQueue(); err != nil {
		return err
	}
	return c.listSome(func(m *fsm.Machine) []topology.Binding {
		return m.BindingsTo(c.params["vhost"], c.params["queue"], false)
	})
}

// needPair checks that both ends of the path are there.
func (c *call) needPair(toExchange bool) (destination string, err error) {
	if _, err := c.findExchange(); err != nil {
		return "", err
	}
	destination = c.params["destination"]
	found := false
	c.view(func(m *fsm.Machine) {
		if toExchange {
			destination = plainExchange(destination)
			_, found = m.Exchange(c.params["vhost"], destination)
		} else {
			_, found = m.Queue(c.params["vhost"], destination)
		}
	})
	if !found {
		return "", errNotFound
	}
	return destination, nil
}

func (c *call) pairBindings(toExchange bool) error {
	destination, err := c.needPair(toExchange)
	if err != nil {
		return err
	}
	return c.listSome(func(m *fsm.Machine) []topology.Binding { return c.between(m, destination, toExchange) })
}

// between returns the bindings from the exchange of the path to a destination.
func (c *call) between(m *fsm.Machine, destination string, toExchange bool) []topology.Binding {
	all := m.BindingsTo(c.params["vhost"], destination, toExchange)
	return slices.DeleteFunc(all, func(b topology.Binding) bool { return b.Source != c.exchangeName() })
}

func (c *call) bind(toExchange bool) error {
	destination, err := c.needPair(toExchange)
	if err != nil {
		return err
	}
	var body struct {
		Key       string         `json:"routing_key"`
		Arguments map[string]any `json:"arguments"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if err := shortEnough("routing_key", body.Key); err != nil {
		return err
	}
	args, err := tableFromJSON(body.Arguments)
	if err != nil {
		return err
	}
	_, err = c.propose(&command.Bind{Binding: command.Binding{
		VHost: c.params["vhost"], Source: c.exchangeName(), Destination: destination,
		ToExchange: toExchange, Key: body.Key, Args: args,
	}})
	if err != nil {
		return err
	}
	// Relative to the path of the request, as RabbitMQ's.
	c.w.Header().Set("Location", url.PathEscape(c.params["destination"])+"/"+url.QueryEscape(propertiesKey(body.Key, args)))
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// findBinding returns the binding that the path names by its properties key,
// which clients send encoded once more or as it is.
func (c *call) findBinding(toExchange bool) (topology.Binding, error) {
	destination, err := c.needPair(toExchange)
	if err != nil {
		return topology.Binding{}, err
	}
	props := c.params["props"]
	var found *topology.Binding
	c.view(func(m *fsm.Machine) {
		for _, b := range c.between(m, destination, toExchange) {
			// props is decoded once already: a client that did not encode the key
			// for the path sent what is then its plain form.
			key := propertiesKey(b.Key, b.Args)
			plain, err := url.PathUnescape(key)
			if key == props || err == nil && plain == props {
				found = &b
				return
			}
		}
	})
	if found == nil {
		return topology.Binding{}, errNotFound
	}
	return *found, nil
}

func (c *call) binding(toExchange bool) error {
	b, err := c.findBinding(toExchange)
	if err != nil {
		return err
	}
	return c.one(bindingObject(c.params["vhost"], &b))
}

func (c *call) unbind(toExchange bool) error {
	b, err := c.findBinding(toExchange)
	if err != nil {
		return err
	}
	_, err = c.propose(&command.Unbind{Binding: command.Binding{
		VHost: c.params["vhost"], Source: b.Source, Destination: b.Destination,
		ToExchange: toExchange, Key: b.Key, Args: b.Args,
	}})
	if err != nil {
		return err
	}
	return c.none()
}
