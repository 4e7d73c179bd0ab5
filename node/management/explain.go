package management

import (
	"slices"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// explainHops is how many steps of a message are shown.
const explainHops = 1000

// explain tells where a message would go from an exchange on, and why. Nothing is published.
func (c *call) explain() error {
	if _, err := c.findExchange(); err != nil {
		return err
	}
	var body struct {
		Properties map[string]any `json:"properties"`
		Key        string         `json:"routing_key"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	properties, err := propertiesFromJSON(body.Properties)
	if err != nil {
		return err
	}
	if err := shortEnough("routing_key", body.Key); err != nil {
		return err
	}
	list := wire.AppendProperties(nil, &properties)
	m := topology.Message{Exchange: []byte(c.exchangeName()), Key: []byte(body.Key), Properties: list}
	keyed, fault := command.CheckKeys(list)
	switch {
	case fault != "":
		return errBadRequest("invalid message: %s", fault)
	case keyed:
		m.Also = command.FurtherKeys(list)
	}
	var way topology.Way
	var refusal *command.Error
	c.view(func(machine *fsm.Machine) { way, refusal = machine.Explain(c.params["vhost"], &m, explainHops) })
	if refusal != nil {
		return refused(refusal)
	}
	return c.ok(wayObject(c.params["vhost"], &way))
}

func wayObject(vhost string, way *topology.Way) object {
	queues, hops := []object{}, []object{}
	for _, name := range way.Queues {
		queues = append(queues, object{"name": name, "certain": !slices.Contains(way.Maybe, name)})
	}
	for i := range way.Hops {
		o := bindingObject(vhost, &way.Hops[i].Binding)
		delete(o, "properties_key")
		o["why"] = string(way.Hops[i].Why)
		hops = append(hops, o)
	}
	return object{"queues": queues, "hops": hops, "truncated": way.More}
}
