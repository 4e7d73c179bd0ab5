package management

import (
	"encoding/json"
	"net/http"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/policy"
)

func (s *server) policyRoutes() []route {
	var all []route
	for kind, operator := range map[string]bool{"policies": false, "operator-policies": true} {
		p := policyCalls{operator}
		all = append(all,
			handle(http.MethodGet, kind, p.list),
			handle(http.MethodGet, kind+"/{vhost}", p.list),
			handle(http.MethodGet, kind+"/{vhost}/{policy}", p.one),
			handle(http.MethodPut, kind+"/{vhost}/{policy}", p.put),
			handle(http.MethodDelete, kind+"/{vhost}/{policy}", p.clear),
		)
	}
	return all
}

// policyCalls serve policies, or operator policies.
type policyCalls struct{ operator bool }

func (p policyCalls) list(c *call) error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	var list []object
	c.view(func(m *fsm.Machine) {
		for _, vhost := range vhosts {
			for _, one := range m.Policies(vhost, p.operator) {
				list = append(list, policyObject(vhost, one))
			}
		}
	})
	return c.list(list)
}

func policyObject(vhost string, p *policy.Policy) object {
	return object{
		"vhost":      vhost,
		"name":       p.Name,
		"pattern":    p.Pattern,
		"apply-to":   p.ApplyTo,
		"definition": tableToJSON(p.Definition),
		"priority":   p.Priority,
	}
}

// find returns the policy of the path.
func (p policyCalls) find(c *call) (object, error) {
	var found object
	c.view(func(m *fsm.Machine) {
		for _, one := range m.Policies(c.params["vhost"], p.operator) {
			if one.Name == c.params["policy"] {
				found = policyObject(c.params["vhost"], one)
			}
		}
	})
	if found == nil {
		return nil, errNotFound
	}
	return found, nil
}

func (p policyCalls) one(c *call) error {
	found, err := p.find(c)
	if err != nil {
		return err
	}
	return c.one(found)
}

func (p policyCalls) put(c *call) error {
	if err := c.needVHost(c.params["vhost"]); err != nil {
		return err
	}
	var body struct {
		Pattern    *string         `json:"pattern"`
		Definition map[string]any  `json:"definition"`
		Priority   any             `json:"priority"`
		ApplyTo    *string         `json:"apply-to"`
		VHost      json.RawMessage `json:"vhost"` // as in what GET gives; the path counts
		Name       json.RawMessage `json:"name"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Pattern == nil {
		return errBadRequest("Validation failed\n\nKey \"pattern\" not found in %s\n", c.params["policy"])
	}
	priority, err := policyPriority(body.Priority)
	if err != nil {
		return err
	}
	definition, err := tableFromJSON(body.Definition)
	if err != nil {
		return err
	}
	cmd := &command.PolicyPut{
		VHost: c.params["vhost"], Name: c.params["policy"], Operator: p.operator,
		Pattern: *body.Pattern, Priority: priority, Definition: definition,
	}
	if body.ApplyTo != nil {
		cmd.ApplyTo = *body.ApplyTo
	}
	_, missing := p.find(c)
	if _, err := c.propose(cmd); err != nil {
		return err
	}
	return c.declared(missing == nil)
}

// policyPriority reads a priority, which is 0 when it is left out.
func policyPriority(v any) (int64, error) {
	switch n := v.(type) {
	case nil:
		return 0, nil
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i, nil
		}
	}
	b, _ := json.Marshal(v) // it came from JSON
	return 0, errBadRequest("Validation failed\n\npriority should be a number, actually was %s\n", b)
}

func (p policyCalls) clear(c *call) error {
	if _, err := p.find(c); err != nil {
		return err
	}
	_, err := c.propose(&command.PolicyClear{
		VHost: c.params["vhost"], Name: c.params["policy"], Operator: p.operator,
	})
	if err != nil {
		return err
	}
	return c.none()
}

// orNil is a name for JSON: null where there is none.
func orNil(name string) any {
	if name == "" {
		return nil
	}
	return name
}
