package management

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"warren/fsm"
	"warren/fsm/access"
	"warren/fsm/command"
)

func (s *server) limitRoutes() []route {
	return []route{
		handle(http.MethodGet, "vhost-limits", (*call).listVHostLimits),
		handle(http.MethodGet, "vhost-limits/{vhost}", (*call).listVHostLimits),
		handle(http.MethodPut, "vhost-limits/{vhost}/{limit}", (*call).setVHostLimit),
		handle(http.MethodDelete, "vhost-limits/{vhost}/{limit}", (*call).clearVHostLimit),
		handle(http.MethodGet, "user-limits", (*call).listUserLimits),
		handle(http.MethodGet, "user-limits/{user}", (*call).listUserLimits),
		handle(http.MethodPut, "user-limits/{user}/{limit}", (*call).setUserLimit),
		handle(http.MethodDelete, "user-limits/{user}/{limit}", (*call).clearUserLimit),
	}
}

var errVHostNotFound = &failure{http.StatusNotFound, "not_found", "vhost_not_found"}

// limitsObject is limits as RabbitMQ shows them.
func limitsObject(all []command.Limit) object {
	o := object{}
	for _, l := range all {
		o[l.Name] = l.Value
	}
	return o
}

// listVHostLimits lists the vhosts that have limits, or the one of the path if it has.
func (c *call) listVHostLimits() error {
	names, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	var list []object
	c.view(func(m *fsm.Machine) {
		for _, name := range names {
			if v, ok := m.VHost(name); ok && len(v.Limits) > 0 {
				list = append(list, object{"vhost": name, "value": limitsObject(v.Limits)})
			}
		}
	})
	return c.list(list)
}

// limit reads the value of a limit from the body, as RabbitMQ checks it.
func (c *call) limit() (command.Limit, error) {
	var body map[string]json.RawMessage
	if err := c.decode(&body); err != nil {
		return command.Limit{}, err
	}
	raw, ok := body["value"]
	if !ok {
		return command.Limit{}, errBadRequest("[{key_missing,value}]")
	}
	return parseLimit(c.params["limit"], raw)
}

func parseLimit(name string, raw json.RawMessage) (command.Limit, error) {
	l := command.Limit{Name: name}
	if err := json.Unmarshal(raw, &l.Value); err != nil || string(raw) == "null" {
		return l, errBadRequest("%s should be a number, actually was %s", name, erlangText(raw))
	}
	return l, nil
}

// erlangText is a JSON value as RabbitMQ quotes it.
func erlangText(raw json.RawMessage) string {
	var v any
	if item(raw, "value", &v) != nil {
		return string(raw)
	}
	return erlangTerm(v)
}

func (c *call) setVHostLimit() error {
	l, err := c.limit()
	if err != nil {
		return validation(err)
	}
	return c.changeVHostLimits(command.Limits{Set: []command.Limit{l}})
}

// validation puts before the reason what RabbitMQ puts there for parameters.
func validation(err error) error {
	if f, ok := err.(*failure); ok && strings.Contains(f.Reason, " should be a number") {
		return errBadRequest("Validation failed\n\n%s\n", f.Reason)
	}
	return err
}

// parseLimits reads all limits of a vhost.
func parseLimits(values map[string]json.RawMessage) (command.Limits, error) {
	change := command.Limits{ClearAll: true}
	for name, raw := range values {
		l, err := parseLimit(name, raw)
		if err != nil {
			return change, validation(err)
		}
		change.Set = append(change.Set, l)
	}
	slices.SortFunc(change.Set, func(a, b command.Limit) int { return strings.Compare(a.Name, b.Name) })
	return change, nil
}

func (c *call) clearVHostLimit() error {
	return c.changeVHostLimits(command.Limits{Clear: []string{c.params["limit"]}})
}

func (c *call) changeVHostLimits(change command.Limits) error {
	if c.needVHost(c.params["vhost"]) != nil {
		return errVHostNotFound
	}
	if _, err := c.propose(&command.VHostLimits{VHost: c.params["vhost"], Limits: change}); err != nil {
		return err
	}
	return c.none()
}

// listUserLimits lists the users that have limits, or the one of the path if it has.
func (c *call) listUserLimits() error {
	user, one := c.params["user"]
	if one && !c.hasUser(user) {
		return errNotFound
	}
	var list []object
	c.view(func(m *fsm.Machine) {
		for _, u := range m.LimitedUsers() {
			if !one || u.User == user {
				list = append(list, object{"user": u.User, "value": limitsObject(u.Limits)})
			}
		}
	})
	return c.list(list)
}

func (c *call) setUserLimit() error {
	l, err := c.limit()
	if err != nil {
		return err
	}
	if !c.hasUser(c.params["user"]) {
		return errBadRequest("no such user: %s", c.params["user"])
	}
	return c.changeUserLimits(command.Limits{Set: []command.Limit{l}})
}

// clearUserLimit forgets a limit, or with the name "all" all of them.
func (c *call) clearUserLimit() error {
	if !c.hasUser(c.params["user"]) {
		return errNotFound
	}
	if name := c.params["limit"]; name != "all" {
		return c.changeUserLimits(command.Limits{Clear: []string{name}})
	}
	return c.changeUserLimits(command.Limits{ClearAll: true})
}

func (c *call) hasUser(name string) (found bool) {
	c.access(func(a *access.State) { _, found = a.User(name) })
	return found
}

func (c *call) changeUserLimits(change command.Limits) error {
	if _, err := c.propose(&command.UserLimits{User: c.params["user"], Limits: change}); err != nil {
		return err
	}
	return c.none()
}
