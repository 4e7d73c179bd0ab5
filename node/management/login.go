package management

import (
	"errors"
	"net/http"
)

func (s *server) loginRoutes() []route {
	logs := handle(http.MethodPost, "login", (*call).loginForm)
	logs.open = true // it is the login
	return []route{
		open("auth", (*call).authMethods),
		logs,
		handle(http.MethodGet, "auth/attempts/{node}", func(c *call) error { return c.attempts(false) }),
		handle(http.MethodGet, "auth/attempts/{node}/source", func(c *call) error { return c.attempts(true) }),
		handle(http.MethodDelete, "auth/attempts/{node}", (*call).resetAttempts),
		handle(http.MethodDelete, "auth/attempts/{node}/source", (*call).resetAttempts),
	}
}

// authMethods says how to log in: with name and password only.
func (c *call) authMethods() error { return c.ok(object{"oauth_enabled": false}) }

// loginForm checks the name and password of a form. Unlike RabbitMQ it hands out no cookie, which would be the
// password itself: clients send it with each request.
func (c *call) loginForm() error {
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, 64<<10)
	if err := c.r.ParseForm(); err != nil {
		return errBadRequest("form: %v", err)
	}
	if err := c.loginAs(c.r.PostForm.Get("username"), c.r.PostForm.Get("password")); err != nil {
		return err
	}
	return c.ok("ok")
}

// nodeAsked returns the node of the path, by its name or its id.
func (c *call) nodeAsked() (Member, error) {
	for _, m := range c.cluster().Members {
		if m.Name == c.params["node"] || m.ID == c.params["node"] {
			return m, nil
		}
	}
	return Member{}, errNotFound
}

// attempts lists the logins that were tried on a node.
func (c *call) attempts(bySource bool) error {
	node, err := c.nodeAsked()
	if err != nil {
		return err
	}
	all, err := c.cfg.Broker.Attempts(c.r.Context(), node.ID, bySource)
	if err != nil {
		return unavailableNode(err)
	}
	return c.listEach(len(all), func(i int) object {
		a := &all[i]
		o := object{
			"protocol": a.Protocol, "auth_attempts": a.Succeeded + a.Failed,
			"auth_attempts_succeeded": a.Succeeded, "auth_attempts_failed": a.Failed,
		}
		if bySource {
			o["remote_address"], o["username"] = a.Address, a.User
		}
		return o
	})
}

func (c *call) resetAttempts() error {
	node, err := c.nodeAsked()
	if err != nil {
		return err
	}
	if err := c.cfg.Broker.ResetAttempts(c.r.Context(), node.ID); err != nil {
		return unavailableNode(err)
	}
	return c.none()
}

// unavailableNode is the answer about a node that cannot be asked.
func unavailableNode(err error) error {
	if errors.Is(err, ErrUnknownNode) {
		return errUnavailable(err.Error())
	}
	return err
}
