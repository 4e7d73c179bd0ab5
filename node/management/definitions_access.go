package management

import (
	"encoding/json"

	"warren/fsm/command"
)

// exportUsers has the hashes of their passwords: a file of definitions is a secret.
func exportUsers(e *exporting) func() []object {
	limits := e.LimitedUsers()
	return func() []object {
		all := limited(e.users, limits)
		list := make([]object, len(all))
		for i := range all {
			list[i] = all[i].object()
		}
		return list
	}
}

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

func exportPermissions(e *exporting) func() []object {
	return func() []object { return permissionObjects(e.permissions) }
}

func parsePermission(c *call, raw json.RawMessage, _ string) (command.Command, error) {
	var p command.PermissionSet
	if err := item(raw, "permission", &p); err != nil {
		return nil, err
	}
	err := c.needPatterns(named{"configure", &p.Configure}, named{"write", &p.Write}, named{"read", &p.Read})
	return &p, err
}

func exportTopicPermissions(e *exporting) func() []object {
	return func() []object { return topicPermissionObjects(e.topics) }
}

func parseTopicPermission(c *call, raw json.RawMessage, _ string) (command.Command, error) {
	var p command.TopicPermissionSet
	if err := item(raw, "topic permission", &p); err != nil {
		return nil, err
	}
	err := c.needPatterns(named{"write", &p.Write}, named{"read", &p.Read})
	return &p, err
}
