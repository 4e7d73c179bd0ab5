package management

import (
	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// Limits of one look at the way of a message.
const (
	explainHops       = 1000      // steps shown
	explainKeys       = 100       // further routing keys, each of which is compared with each binding
	explainProperties = 128 << 10 // bytes, as headers are, too
)

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
	if len(list) > explainProperties {
		return errBadRequest("properties of %d bytes are more than the %d that are looked at here", len(list), explainProperties)
	}
	keyed, fault := command.CheckKeys(list)
	switch {
	case fault != "":
		return errBadRequest("invalid message: %s", fault)
	case keyed:
		m.Also = command.FurtherKeys(list)
	}
	if len(m.Also) > explainKeys {
		return errBadRequest("%d keys in CC and BCC are more than the %d that are looked at here", len(m.Also), explainKeys)
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
	maybe := way.Maybe
	for _, name := range way.Queues { // Maybe is in the same order
		byChance := len(maybe) > 0 && maybe[0] == name
		if byChance {
			maybe = maybe[1:]
		}
		queues = append(queues, object{"name": name, "certain": !byChance})
	}
	for i := range way.Hops {
		o := bindingObject(vhost, &way.Hops[i].Binding)
		delete(o, "properties_key")
		o["why"] = string(way.Hops[i].Why)
		hops = append(hops, o)
	}
	return object{"queues": queues, "hops": hops, "truncated": way.More}
}
