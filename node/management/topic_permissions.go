package management

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"warren/fsm/access"
	"warren/fsm/command"
)

func (s *server) topicPermissionRoutes() []route {
	return []route{
		handle(http.MethodGet, "topic-permissions", (*call).listTopicPermissions),
		handle(http.MethodGet, "vhosts/{vhost}/topic-permissions", (*call).listTopicPermissions),
		handle(http.MethodGet, "topic-permissions/{vhost}/{user}", (*call).topicPermissions),
		handle(http.MethodPut, "topic-permissions/{vhost}/{user}", (*call).putTopicPermission),
		handle(http.MethodDelete, "topic-permissions/{vhost}/{user}", (*call).deleteTopicPermissions),
		handle(http.MethodDelete, "topic-permissions/{vhost}/{user}/{exchange}", (*call).deleteTopicPermissions),
	}
}

// topicPermissionsAsked are those of the path.
func (c *call) topicPermissionsAsked() []object {
	exchange, byExchange := c.params["exchange"]
	var all []access.TopicPermission
	c.access(func(a *access.State) { _, _, all = a.Unsorted() })
	return topicPermissionObjects(slices.DeleteFunc(all, func(p access.TopicPermission) bool {
		return !c.asked(p.User, p.VHost) || byExchange && plainExchange(exchange) != p.Exchange
	}))
}

// topicPermissionObjects describes topic permissions, by user, vhost and exchange.
func topicPermissionObjects(all []access.TopicPermission) []object {
	slices.SortFunc(all, func(a, b access.TopicPermission) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.VHost, b.VHost), strings.Compare(a.Exchange, b.Exchange))
	})
	list := make([]object, len(all))
	for i, p := range all {
		list[i] = object{"user": p.User, "vhost": p.VHost, "exchange": p.Exchange, "write": p.Write, "read": p.Read}
	}
	return list
}

func (c *call) listTopicPermissions() error {
	if err := c.needUserAndVHost(); err != nil {
		return err
	}
	return c.list(c.topicPermissionsAsked())
}

func (c *call) topicPermissions() error {
	if err := c.needUserAndVHost(); err != nil {
		return err
	}
	list := c.topicPermissionsAsked()
	if len(list) == 0 {
		return errNotFound
	}
	return c.list(list)
}

func (c *call) putTopicPermission() error {
	if c.needUserAndVHost() != nil {
		return errBadRequest("vhost_or_user_not_found")
	}
	var body struct {
		Exchange *string `json:"exchange"`
		Write    *string `json:"write"`
		Read     *string `json:"read"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Exchange == nil {
		return errBadRequest("key_missing: exchange")
	}
	if err := c.needPatterns(named{"write", body.Write}, named{"read", body.Read}); err != nil {
		return err
	}
	existed := len(c.topicPermissionsAsked()) > 0
	_, err := c.propose(&command.TopicPermissionSet{
		User: c.params["user"], VHost: c.params["vhost"], Exchange: *body.Exchange, Write: *body.Write, Read: *body.Read,
	})
	if err != nil {
		return err
	}
	c.log.Info("topic permissions set by operator", "name", c.params["user"], "vhost", c.params["vhost"],
		"exchange", *body.Exchange, "write", *body.Write, "read", *body.Read, "user", c.user)
	return c.declared(existed)
}

func (c *call) deleteTopicPermissions() error {
	if err := c.needUserAndVHost(); err != nil {
		return err
	}
	if len(c.topicPermissionsAsked()) == 0 {
		return errNotFound
	}
	exchange, one := c.params["exchange"]
	_, err := c.propose(&command.TopicPermissionClear{
		User: c.params["user"], VHost: c.params["vhost"], Exchange: plainExchange(exchange), All: !one,
	})
	if err != nil {
		return err
	}
	c.log.Info("topic permissions cleared by operator", "name", c.params["user"], "vhost", c.params["vhost"], "user", c.user)
	return c.none()
}
