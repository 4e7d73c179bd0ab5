package management

import (
	"encoding/json"

	"warren/fsm"
	"warren/fsm/access"
	"warren/fsm/command"
)

func parseUser(c *call, raw json.RawMessage, _ string) (command.Command, error) {
	var u struct {
		Name string `json:"name"`
		userBody
	}
	if err := item(raw, "user", &u); err != nil {
		return nil, err
	}
	if u.Hash != nil && *u.Hash == "" { // how RabbitMQ writes that there is no password
		u.Hash = nil
	}
	return c.userCommand(u.Name, &u.userBody)
}

// parseUserLimits makes the limits of a user that the file names some for.
func parseUserLimits(_ *call, raw json.RawMessage, _ string) (command.Command, error) {
	var u struct {
		Name   string          `json:"name"`
		Limits json.RawMessage `json:"limits"`
	}
	if err := item(raw, "user", &u); err != nil {
		return nil, err
	}
	values := map[string]json.RawMessage{}
	if u.Limits == nil || string(u.Limits) == "[]" {
		return nil, nil
	}
	if err := json.Unmarshal(u.Limits, &values); err != nil {
		return nil, errBadRequest("limits of user '%s' are no object", u.Name)
	}
	change, err := parseLimits(values)
	if err != nil || len(change.Set) == 0 {
		return nil, err
	}
	return &command.UserLimits{User: u.Name, Limits: change}, nil
}

func readPermissions(m *fsm.Machine) []access.Permission { return m.Access().Permissions() }

func parsePermission(c *call, raw json.RawMessage, _ string) (command.Command, error) {
	var p command.PermissionSet
	if err := item(raw, "permission", &p); err != nil {
		return nil, err
	}
	err := c.needPatterns(named{"configure", &p.Configure}, named{"write", &p.Write}, named{"read", &p.Read})
	return &p, err
}

func readTopicPermissions(m *fsm.Machine) []access.TopicPermission {
	return m.Access().TopicPermissions()
}

func parseTopicPermission(c *call, raw json.RawMessage, _ string) (command.Command, error) {
	var p command.TopicPermissionSet
	if err := item(raw, "topic permission", &p); err != nil {
		return nil, err
	}
	err := c.needPatterns(named{"write", &p.Write}, named{"read", &p.Read})
	return &p, err
}
