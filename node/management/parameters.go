package management

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

func (s *server) parameterRoutes() []route {
	return []route{
		handle(http.MethodGet, "parameters", (*call).listParameters),
		handle(http.MethodGet, "parameters/{component}", (*call).listParameters),
		handle(http.MethodGet, "parameters/{component}/{vhost}", (*call).listParameters),
		handle(http.MethodGet, "parameters/{component}/{vhost}/{name}", (*call).parameter),
		handle(http.MethodPut, "parameters/{component}/{vhost}/{name}", (*call).putParameter),
		handle(http.MethodDelete, "parameters/{component}/{vhost}/{name}", (*call).clearParameter),
		handle(http.MethodGet, "global-parameters", (*call).listGlobalParameters),
		handle(http.MethodGet, "global-parameters/{name}", (*call).globalParameter),
		handle(http.MethodPut, "global-parameters/{name}", (*call).putGlobalParameter),
		handle(http.MethodDelete, "global-parameters/{name}", (*call).clearGlobalParameter),
	}
}

// Components whose parameters have a state and resources of their own here.
const (
	policyComponent = "policy"
	limitsComponent = "vhost-limits" // with the one name limitsName
	limitsName      = "limits"
	// operatorComponent is that of operator policies.
	operatorComponent = "operator_policy"
)

// parameterObjects lists the parameters of some vhosts, those included that are limits and
// operator policies here. Like RabbitMQ it leaves out policies, unless they are asked for.
func parameterObjects(m *fsm.Machine, vhosts []string, component string) []object {
	list := exportParameters(m, vhosts)
	if component == policyComponent {
		list = policyParameters(m, vhosts, policyComponent, false)
	}
	return slices.DeleteFunc(list, func(o object) bool { return component != "" && o["component"] != component })
}

func (c *call) listParameters() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	var list []object
	c.view(func(m *fsm.Machine) { list = parameterObjects(m, vhosts, c.params["component"]) })
	return c.list(list)
}

// findParameter returns the parameter of the path.
func (c *call) findParameter() (object, error) {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return nil, err
	}
	var list []object
	c.view(func(m *fsm.Machine) {
		list = parameterObjects(m, []string{c.params["vhost"]}, c.params["component"])
	})
	for _, o := range list {
		if o["name"] == c.params["name"] {
			return o, nil
		}
	}
	return nil, errNotFound
}

func (c *call) parameter() error {
	found, err := c.findParameter()
	if err != nil {
		return err
	}
	return c.one(found)
}

// valueInBody reads the one field that a body has to have.
func (c *call) valueInBody() (json.RawMessage, error) {
	var body struct {
		Value json.RawMessage `json:"value"`
	}
	if err := c.decode(&body); err != nil {
		return nil, err
	}
	if body.Value == nil {
		return nil, errBadRequest("[{key_missing,value}]")
	}
	return body.Value, nil
}

func (c *call) putParameter() error {
	if c.needVHost(c.params["vhost"]) != nil {
		return errVHostNotFound
	}
	if err := c.mayChange(c.params["component"]); err != nil {
		return err
	}
	value, err := c.valueInBody()
	if err != nil {
		return err
	}
	if c.params["component"] == policyComponent {
		return errBadRequest("policies may not be set using this method")
	}
	cmd, err := parameterCommand(c.params["component"], c.params["vhost"], c.params["name"], value)
	if err != nil {
		return err
	}
	if err := c.mayDo(cmd); err != nil {
		return err
	}
	_, missing := c.findParameter()
	if _, err := c.propose(cmd); err != nil {
		return err
	}
	return c.declared(missing == nil)
}

// mayChange refuses policymakers what other resources keep for administrators.
func (c *call) mayChange(component string) error {
	if component == limitsComponent || component == operatorComponent {
		return admins(c)
	}
	return nil
}

// parameterCommand makes the command that sets a parameter of a component that is known.
func parameterCommand(component, vhost, name string, value json.RawMessage) (command.Command, error) {
	if err := shortEnough("parameter name", name); err != nil {
		return nil, err
	}
	switch component {
	case operatorComponent:
		return policyCommand(vhost, name, value, true)
	case limitsComponent:
		if name != limitsName {
			return nil, invalidParameter("name not recognised: " + name)
		}
		return limitsCommand(vhost, value)
	}
	if faults := parameterFaults(component, name, value); len(faults) > 0 {
		return nil, invalidParameter(faults...)
	}
	return &command.ParameterPut{VHost: vhost, Component: component, Name: name, Value: compact(value)}, nil
}

func invalidParameter(faults ...string) error {
	return errBadRequest("Validation failed\n\n%s\n", strings.Join(faults, "\n"))
}

// limitsCommand makes the command that gives a vhost the limits of a value and no others.
func limitsCommand(vhost string, value json.RawMessage) (command.Command, error) {
	values := map[string]json.RawMessage{}
	if err := json.Unmarshal(value, &values); err != nil && string(value) != "[]" { // how Erlang writes {}
		return nil, errBadRequest("limits of vhost '%s' are no object", vhost)
	}
	change, err := parseLimits(values)
	if err != nil {
		return nil, err
	}
	return &command.VHostLimits{VHost: vhost, Limits: change}, nil
}

// compact returns JSON without spaces between its parts.
func compact(value json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return string(value) // it cannot be: the value was decoded
	}
	return b.String()
}

func (c *call) clearParameter() error {
	if err := c.mayChange(c.params["component"]); err != nil {
		return err
	}
	if _, err := c.findParameter(); err != nil {
		return err
	}
	vhost, component, name := c.params["vhost"], c.params["component"], c.params["name"]
	var cmd command.Command
	switch component {
	case policyComponent:
		return errBadRequest("policies may not be cleared using this method")
	case operatorComponent:
		cmd = &command.PolicyClear{VHost: vhost, Name: name, Operator: true}
	case limitsComponent:
		cmd = &command.VHostLimits{VHost: vhost, Limits: command.Limits{ClearAll: true}}
	default:
		cmd = &command.ParameterClear{VHost: vhost, Component: component, Name: name}
	}
	if _, err := c.propose(cmd); err != nil {
		return err
	}
	return c.none()
}

func globalObjects(m *fsm.Machine) []object {
	var list []object
	for _, p := range m.GlobalParameters() {
		list = append(list, object{"name": p.Name, "value": json.RawMessage(p.Value)})
	}
	return list
}

func (c *call) listGlobalParameters() error {
	var list []object
	c.view(func(m *fsm.Machine) { list = globalObjects(m) })
	return c.list(list)
}

// findGlobal returns the global parameter of the path.
func (c *call) findGlobal() (object, error) {
	var value string
	found := false
	c.view(func(m *fsm.Machine) { value, found = m.GlobalParameter(c.params["name"]) })
	if !found {
		return nil, errNotFound
	}
	return object{"name": c.params["name"], "value": json.RawMessage(value)}, nil
}

func (c *call) globalParameter() error {
	found, err := c.findGlobal()
	if err != nil {
		return err
	}
	return c.one(found)
}

func (c *call) putGlobalParameter() error {
	value, err := c.valueInBody()
	if err != nil {
		return err
	}
	if err := shortEnough("parameter name", c.params["name"]); err != nil {
		return err
	}
	_, missing := c.findGlobal()
	if _, err := c.propose(&command.GlobalParameterPut{Name: c.params["name"], Value: compact(value)}); err != nil {
		return err
	}
	return c.declared(missing == nil)
}

func (c *call) clearGlobalParameter() error {
	if _, err := c.findGlobal(); err != nil {
		return err
	}
	if _, err := c.propose(&command.GlobalParameterClear{Name: c.params["name"]}); err != nil {
		return err
	}
	return c.none()
}

func (c *call) putClusterName() error {
	var body struct {
		Name *string `json:"name"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Name == nil {
		return errBadRequest("[{key_missing,name}]")
	}
	value, err := json.Marshal(*body.Name)
	if err != nil {
		return err
	}
	if _, err := c.propose(&command.GlobalParameterPut{Name: command.GlobalClusterName, Value: string(value)}); err != nil {
		return err
	}
	return c.none()
}
