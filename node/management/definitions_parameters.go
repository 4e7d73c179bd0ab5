package management

import (
	"encoding/json"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

// exportParameters lists all that RabbitMQ's files have as parameters: limits of vhosts, operator
// policies, and the parameters of components.
func exportParameters(m *fsm.Machine, vhosts []string) []object {
	var list []object
	for _, vhost := range vhosts {
		if v, ok := m.VHost(vhost); ok && len(v.Limits) > 0 {
			list = append(list, object{"component": limitsComponent, "name": limitsName, "vhost": vhost, "value": limitsObject(v.Limits)})
		}
	}
	list = append(list, policyParameters(m, vhosts, operatorComponent, true)...)
	for _, vhost := range vhosts {
		for _, p := range m.Parameters(vhost) {
			if ownComponent(p.Component) {
				continue // an attribute of the vhost, or a trace, which belongs to this cluster
			}
			list = append(list, object{"component": p.Component, "name": p.Name, "vhost": vhost, "value": json.RawMessage(p.Value)})
		}
	}
	return list
}

// parseParameter takes parameters as they come: what this version does not know of, or would not take from
// somebody who sets it, is kept without effect, so that a file goes through here unchanged.
func parseParameter(c *call, raw json.RawMessage, vhost string) (command.Command, error) {
	var p struct {
		Component, Name, VHost string
		Value                  json.RawMessage
	}
	if err := item(raw, "parameter", &p); err != nil {
		return nil, err
	}
	if err := nameIn("parameter", p.Name, &p.VHost, vhost); err != nil {
		return nil, err
	}
	if p.Value == nil {
		return nil, errBadRequest("parameter '%s' of component '%s' has no value", p.Name, p.Component)
	}
	switch p.Component {
	case operatorComponent, limitsComponent:
		return parameterCommand(p.Component, p.VHost, p.Name, p.Value)
	case policyComponent:
		return policyCommand(p.VHost, p.Name, p.Value, false)
	case tracingComponent, traceComponent:
		return nil, errBadRequest("parameters of component %s are the broker's own", p.Component)
	}
	if faults := parameterFaults(p.Component, p.Name, p.Value); len(faults) > 0 {
		c.log.Warn("an imported parameter has no effect", "component", p.Component, "name", p.Name, "vhost", p.VHost, "why", faults)
	}
	cmd := &command.ParameterPut{VHost: p.VHost, Component: p.Component, Name: p.Name, Value: compact(p.Value)}
	return cmd, c.mayDo(cmd)
}

// internalPrefix begins the names of global parameters that belong to a cluster for its life. RabbitMQ does not
// export them.
const internalPrefix = "internal"

func exportGlobalParameters(m *fsm.Machine, _ []string) []object {
	var list []object
	for _, o := range globalObjects(m) {
		if name, _ := o["name"].(string); !strings.HasPrefix(name, internalPrefix) {
			list = append(list, o)
		}
	}
	return list
}

func parseGlobalParameter(c *call, raw json.RawMessage, _ string) (command.Command, error) {
	var p struct {
		Name  string
		Value json.RawMessage
	}
	if err := item(raw, "global parameter", &p); err != nil {
		return nil, err
	}
	switch {
	case p.Name == "" || p.Value == nil:
		return nil, errBadRequest("a global parameter lacks its name or value")
	case strings.HasPrefix(p.Name, internalPrefix):
		c.log.Warn("a parameter that belongs to another cluster was not imported", "name", p.Name)
		return nil, nil
	}
	if err := shortEnough("parameter name", p.Name); err != nil {
		return nil, err
	}
	return &command.GlobalParameterPut{Name: p.Name, Value: compact(p.Value)}, nil
}
