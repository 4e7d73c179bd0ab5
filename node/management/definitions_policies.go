package management

import (
	"encoding/json"

	"warren/fsm"
	"warren/fsm/command"
)

func exportPolicies(m *fsm.Machine, vhosts []string) []object {
	var list []object
	for _, vhost := range vhosts {
		for _, p := range m.Policies(vhost, false) {
			list = append(list, policyObject(vhost, p))
		}
	}
	return list
}

// policyParameters lists policies as the parameters of a component.
func policyParameters(m *fsm.Machine, vhosts []string, component string, operator bool) []object {
	var list []object
	for _, vhost := range vhosts {
		for _, p := range m.Policies(vhost, operator) {
			value := policyObject(vhost, p)
			delete(value, "vhost")
			delete(value, "name")
			list = append(list, object{"component": component, "name": p.Name, "vhost": vhost, "value": value})
		}
	}
	return list
}

func parsePolicy(_ *call, raw json.RawMessage, vhost string) (command.Command, error) {
	var p struct{ Name, VHost string }
	if err := item(raw, "policy", &p); err != nil {
		return nil, err
	}
	if err := nameIn("policy", p.Name, &p.VHost, vhost); err != nil {
		return nil, err
	}
	return policyCommand(p.VHost, p.Name, raw, false)
}

// policyCommand makes the command for the body of a policy in a file.
func policyCommand(vhost, name string, raw json.RawMessage, operator bool) (command.Command, error) {
	var p struct {
		Pattern    string
		Definition map[string]any
		Priority   any
		ApplyTo    string `json:"apply-to"`
	}
	if err := item(raw, "policy", &p); err != nil {
		return nil, err
	}
	priority, err := policyPriority(p.Priority)
	if err != nil {
		return nil, err
	}
	definition, err := tableFromJSON(p.Definition)
	return &command.PolicyPut{
		VHost: vhost, Name: name, Operator: operator,
		Pattern: p.Pattern, ApplyTo: p.ApplyTo, Priority: priority, Definition: definition,
	}, err
}
