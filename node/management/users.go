package management

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"warren/fsm"
	"warren/fsm/access"
	"warren/fsm/command"
)

// The users of the cluster. "tags", "password" and "authenticate" below a user are not
// RabbitMQ's: warrenctl uses them, where rabbitmqctl speaks to the broker's insides.
func (s *server) userRoutes() []route {
	return []route{
		handle(http.MethodGet, "users", (*call).listUsers),
		handle(http.MethodPost, "users/bulk-delete", (*call).deleteUsers),
		handle(http.MethodGet, "users/without-permissions", (*call).listUsersWithoutPermissions),
		handle(http.MethodGet, "users/{user}", (*call).getUser),
		handle(http.MethodPut, "users/{user}", (*call).putUser),
		handle(http.MethodDelete, "users/{user}", (*call).deleteUser),
		handle(http.MethodGet, "users/{user}/permissions", (*call).listPermissions),
		handle(http.MethodGet, "users/{user}/topic-permissions", (*call).listTopicPermissions),
		handle(http.MethodPut, "users/{user}/tags", (*call).putTags),
		handle(http.MethodPut, "users/{user}/password", (*call).putPassword),
		handle(http.MethodDelete, "users/{user}/password", (*call).clearPassword),
		handle(http.MethodPost, "users/{user}/authenticate", (*call).authenticate),
		handle(http.MethodGet, "auth/hash_password/{password}", (*call).hashPassword),
	}
}

// defaultHashing is what a password hash is taken for when its algorithm is not named.
const defaultHashing = "rabbit_password_hashing_sha256"

// A limitedUser is a user with its limits.
type limitedUser struct {
	access.User
	limits []command.Limit
}

func (u limitedUser) object() object {
	return object{
		"name": u.Name, "password_hash": u.Hash, "hashing_algorithm": u.Algorithm, "tags": listOf(u.Tags), "limits": limitsObject(u.limits),
	}
}

// limited puts users and their limits together, sorted by name.
func limited(users []access.User, limits []fsm.UserLimitsInfo) []limitedUser {
	byName := make(map[string][]command.Limit, len(limits))
	for _, l := range limits {
		byName[l.User] = l.Limits
	}
	all := make([]limitedUser, len(users))
	for i, u := range users {
		all[i] = limitedUser{u, byName[u.Name]}
	}
	slices.SortFunc(all, func(a, b limitedUser) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// listOf makes a list that JSON does not show as null.
func listOf(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}

func (c *call) access(f func(a *access.State)) {
	c.view(func(m *fsm.Machine) { f(m.Access()) })
}

func (c *call) listUsers() error {
	return c.listUsersThat(func(*access.State, string) bool { return true })
}

func (c *call) listUsersWithoutPermissions() error {
	return c.listUsersThat(func(a *access.State, name string) bool { return len(a.UserPermissions(name)) == 0 })
}

func (c *call) listUsersThat(keep func(a *access.State, name string) bool) error {
	var users []access.User
	var limits []fsm.UserLimitsInfo
	c.view(func(m *fsm.Machine) {
		a := m.Access()
		users, _, _ = a.Unsorted()
		users = slices.DeleteFunc(users, func(u access.User) bool { return !keep(a, u.Name) })
		limits = m.LimitedUsers()
	})
	all := limited(users, limits)
	return c.listFrom(source{
		n:     len(all),
		name:  func(i int) string { return all[i].Name },
		key:   keysOf(map[string]func(i int) any{"name": func(i int) any { return all[i].Name }}),
		build: eachOf(func(i int) object { return all[i].object() }),
	})
}

// findUser returns the user of the path.
func (c *call) findUser() (u access.User, err error) {
	found := false
	c.access(func(a *access.State) { u, found = a.User(c.params["user"]) })
	if !found {
		return u, errNotFound
	}
	return u, nil
}

// getUser answers with the user of the path; c.user is who asks.
func (c *call) getUser() error {
	u, err := c.findUser()
	if err != nil {
		return err
	}
	var o object
	c.view(func(m *fsm.Machine) { o = limitedUser{u, m.UserLimits(u.Name)}.object() })
	return c.one(o)
}

// A tagList is a JSON list, or as before RabbitMQ 3.9 a string with commas.
type tagList []string

func (c *call) tagsOf(v any) (tagList, error) {
	var all []string
	switch v := v.(type) {
	case string:
		all = strings.Split(v, ",")
	case []any:
		for _, t := range v {
			s, ok := t.(string)
			if !ok {
				return nil, errBadRequest("tags must be strings")
			}
			all = append(all, s)
		}
	default:
		return nil, errBadRequest("tags must be a list of strings")
	}
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return slices.DeleteFunc(all, func(t string) bool { return t == "" }), nil
}

type userBody struct {
	Password      *string `json:"password"`
	Hash          *string `json:"password_hash"`
	Algorithm     string  `json:"hashing_algorithm"`
	Tags          any     `json:"tags"`
	Administrator any     `json:"administrator"`

	Limits map[string]json.RawMessage `json:"limits"`
}

// putUser adds or changes a user. Without a password the user has none. "If-None-Match: *"
// makes it add only.
func (c *call) putUser() error {
	var body userBody
	if err := c.decode(&body); err != nil {
		return err
	}
	cmd, err := c.userCommand(c.params["user"], &body)
	if err != nil {
		return err
	}
	cmd.IfNew = c.r.Header.Get("If-None-Match") == "*"
	limits, err := parseLimits(body.Limits)
	if err != nil {
		return err
	}
	_, missing := c.findUser()
	if err := c.proposeUser(cmd); err != nil {
		return err
	}
	if body.Limits != nil {
		if _, err := c.propose(&command.UserLimits{User: cmd.Name, Limits: limits}); err != nil {
			return err
		}
	}
	c.log.Info("user set by operator", "name", cmd.Name, "tags", cmd.Tags, "user", c.user)
	return c.declared(missing == nil)
}

// userCommand makes the command for the body of PUT, with RabbitMQ's rules for it
// (rabbit_auth_backend_internal: put_user).
func (c *call) userCommand(name string, body *userBody) (*command.UserPut, error) {
	cmd := &command.UserPut{Name: name, SetPassword: true, SetTags: true}
	tags := body.Tags
	switch v := body.Administrator.(type) {
	case bool:
		if tags == nil {
			tags = map[bool]any{true: tagAdministrator, false: ""}[v]
		}
	case string:
		if tags == nil {
			tags = map[bool]any{true: tagAdministrator, false: ""}[v == "true"]
		}
	}
	if tags == nil {
		return nil, errBadRequest("tags_not_present")
	}
	list, err := c.tagsOf(tags)
	if err != nil {
		return nil, err
	}
	cmd.Tags = list
	switch {
	case body.Password != nil && body.Hash != nil:
		return nil, errBadRequest("both_password_and_password_hash_are_provided")
	case body.Password != nil:
		if cmd.Hash, cmd.Algorithm, err = c.cfg.Access.Hash(c.r.Context(), *body.Password); err != nil {
			return nil, errUnavailable(err.Error())
		}
	case body.Hash != nil:
		cmd.Hash, cmd.Algorithm = *body.Hash, body.Algorithm
		if cmd.Algorithm == "" {
			cmd.Algorithm = defaultHashing
		}
		if err := c.cfg.Access.CheckHash(cmd.Hash, cmd.Algorithm); err != nil {
			return nil, errBadRequest("%v", err)
		}
	default:
		if _, cmd.Algorithm, err = c.cfg.Access.Hash(c.r.Context(), ""); err != nil {
			return nil, errUnavailable(err.Error())
		}
	}
	return cmd, nil
}

// proposeUser turns the refusal of a name that is taken into 412.
func (c *call) proposeUser(cmd *command.UserPut) error {
	_, err := c.propose(cmd)
	var f *failure
	if errors.As(err, &f) && f.status == http.StatusBadRequest && cmd.IfNew {
		return &failure{http.StatusPreconditionFailed, "precondition_failed", f.Reason}
	}
	return err
}

func (c *call) deleteUser() error {
	if _, err := c.findUser(); err != nil {
		return err
	}
	if _, err := c.propose(&command.UserDelete{Name: c.params["user"]}); err != nil {
		return err
	}
	c.log.Info("user deleted by operator", "name", c.params["user"], "user", c.user)
	return c.none()
}

// deleteUsers deletes those of a list that are there.
func (c *call) deleteUsers() error {
	var body struct {
		Users []string `json:"users"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Users == nil {
		return errBadRequest("key_missing: users")
	}
	for _, name := range body.Users {
		c.params["user"] = name
		if _, err := c.findUser(); err != nil {
			continue
		}
		if err := c.deleteUserNamed(name); err != nil {
			return err
		}
	}
	return c.none()
}

func (c *call) deleteUserNamed(name string) error {
	_, err := c.propose(&command.UserDelete{Name: name})
	var f *failure
	if errors.As(err, &f) && f.status == http.StatusNotFound {
		return nil // somebody else was faster
	}
	return err
}

func (c *call) putTags() error {
	var body struct {
		Tags any `json:"tags"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	tags, err := c.tagsOf(body.Tags)
	if err != nil {
		return err
	}
	return c.changeUser(&command.UserPut{SetTags: true, Tags: tags})
}

func (c *call) putPassword() error {
	var body struct {
		Password *string `json:"password"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Password == nil {
		return errBadRequest("key_missing: password")
	}
	return c.changePassword(*body.Password)
}

func (c *call) clearPassword() error { return c.changePassword("") }

func (c *call) changePassword(password string) (err error) {
	cmd := &command.UserPut{SetPassword: true}
	if cmd.Hash, cmd.Algorithm, err = c.cfg.Access.Hash(c.r.Context(), password); err != nil {
		return errUnavailable(err.Error())
	}
	return c.changeUser(cmd)
}

// changeUser changes the user of the path, who has to be there.
func (c *call) changeUser(cmd *command.UserPut) error {
	cmd.Name, cmd.IfKnown = c.params["user"], true
	if _, err := c.propose(cmd); err != nil {
		return err
	}
	c.log.Info("user changed by operator", "name", cmd.Name, "password", cmd.SetPassword, "tags", cmd.SetTags, "user", c.user)
	return c.none()
}

// authenticate tells whether a password is the user's.
func (c *call) authenticate() error {
	var body struct {
		Password string `json:"password"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	err := c.cfg.Access.Authenticate(c.r.Context(), c.params["user"], body.Password)
	if errors.Is(err, ErrBusy) {
		return errUnavailable(ErrBusy.Error())
	}
	return c.ok(object{"authenticated": err == nil})
}

func (c *call) hashPassword() error {
	return c.ok(object{"ok": c.cfg.Access.RabbitHash(c.params["password"])})
}
