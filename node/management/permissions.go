package management

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"warren/fsm/access"
	"warren/fsm/command"
)

func (s *server) permissionRoutes() []route {
	return []route{
		handle(http.MethodGet, "permissions", (*call).listPermissions),
		handle(http.MethodGet, "vhosts/{vhost}/permissions", (*call).listPermissions),
		handle(http.MethodGet, "permissions/{vhost}/{user}", (*call).permission),
		handle(http.MethodPut, "permissions/{vhost}/{user}", (*call).putPermission),
		handle(http.MethodDelete, "permissions/{vhost}/{user}", (*call).deletePermission),
	}
}

func permissionObject(p access.Permission) object {
	return object{"user": p.User, "vhost": p.VHost, "configure": p.Configure, "write": p.Write, "read": p.Read}
}

// needUserAndVHost checks what of the two is in the path.
func (c *call) needUserAndVHost() error {
	if vhost, ok := c.params["vhost"]; ok {
		if err := c.needVHost(vhost); err != nil {
			return err
		}
	}
	if _, ok := c.params["user"]; ok {
		if _, err := c.findUser(); err != nil {
			return err
		}
	}
	return nil
}

// asked reports whether an object of a user and a vhost is among those of the path.
func (c *call) asked(user, vhost string) bool {
	u, byUser := c.params["user"]
	v, byVHost := c.params["vhost"]
	return (!byUser || u == user) && (!byVHost || v == vhost)
}

func (c *call) listPermissions() error {
	if err := c.needUserAndVHost(); err != nil {
		return err
	}
	var all []access.Permission
	c.access(func(a *access.State) { _, all, _ = a.Unsorted() })
	return c.list(permissionObjects(slices.DeleteFunc(all, func(p access.Permission) bool { return !c.asked(p.User, p.VHost) })))
}

// permissionObjects describes permissions, by user and vhost.
func permissionObjects(all []access.Permission) []object {
	slices.SortFunc(all, func(a, b access.Permission) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.VHost, b.VHost))
	})
	list := make([]object, len(all))
	for i, p := range all {
		list[i] = permissionObject(p)
	}
	return list
}

// findPermission returns the permissions of the path.
func (c *call) findPermission() (p access.Permission, err error) {
	if err := c.needUserAndVHost(); err != nil {
		return p, err
	}
	found := false
	c.access(func(a *access.State) { p, found = a.Permission(c.params["user"], c.params["vhost"]) })
	if !found {
		return p, errNotFound
	}
	return p, nil
}

func (c *call) permission() error {
	p, err := c.findPermission()
	if err != nil {
		return err
	}
	return c.one(permissionObject(p))
}

func (c *call) putPermission() error {
	if c.needUserAndVHost() != nil {
		return errBadRequest("vhost_or_user_not_found")
	}
	var body struct {
		Configure *string `json:"configure"`
		Write     *string `json:"write"`
		Read      *string `json:"read"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if err := c.needPatterns(named{"configure", body.Configure}, named{"write", body.Write}, named{"read", body.Read}); err != nil {
		return err
	}
	_, missing := c.findPermission()
	_, err := c.propose(&command.PermissionSet{
		User: c.params["user"], VHost: c.params["vhost"], Configure: *body.Configure, Write: *body.Write, Read: *body.Read,
	})
	if err != nil {
		return err
	}
	c.log.Info("permissions set by operator", "name", c.params["user"], "vhost", c.params["vhost"],
		"configure", *body.Configure, "write", *body.Write, "read", *body.Read, "user", c.user)
	return c.declared(missing == nil)
}

// named is a field of a body.
type named struct {
	name string
	text *string
}

// needPatterns checks that all fields are there and are regular expressions.
func (c *call) needPatterns(all ...named) error {
	for _, n := range all {
		if n.text == nil {
			return errBadRequest("key_missing: %s", n.name)
		}
		if err := c.cfg.Access.CheckPattern(*n.text); err != nil {
			return errBadRequest("%s: %v", n.name, err)
		}
	}
	return nil
}

func (c *call) deletePermission() error {
	if _, err := c.findPermission(); err != nil {
		return err
	}
	if _, err := c.propose(&command.PermissionClear{User: c.params["user"], VHost: c.params["vhost"]}); err != nil {
		return err
	}
	c.log.Info("permissions cleared by operator", "name", c.params["user"], "vhost", c.params["vhost"], "user", c.user)
	return c.none()
}
