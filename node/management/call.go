package management

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"warren/fsm/command"
)

// call is one request to the API.
type call struct {
	*server
	w      http.ResponseWriter
	r      *http.Request     // ends after callTimeout
	whole  context.Context   // ends with the client
	params map[string]string // from the path
	user   string
	tags   []string // the user's
}

// object is a JSON object as the API gives it.
type object = map[string]any

// login checks HTTP Basic credentials, and that the user may use the API at all.
func (c *call) login() error {
	if user, password, ok := c.r.BasicAuth(); ok {
		return c.loginAs(user, password)
	}
	return c.refuseLogin()
}

func (c *call) loginAs(user, password string) error {
	err := c.cfg.Access.Login(c.r.Context(), user, password, remoteAddr(c.r))
	if err == nil {
		c.user, c.tags = user, c.cfg.Access.Tags(user)
		return when(c.tagged(tagAdministrator, tagMonitoring, tagPolicymaker, tagManagement), errNotManagement)
	}
	c.log.Warn("http login refused", "user", user, "remote", c.r.RemoteAddr, "err", err)
	if errors.Is(err, ErrBusy) {
		return errUnavailable(ErrBusy.Error())
	}
	return c.refuseLogin()
}

func (c *call) refuseLogin() error {
	c.w.Header().Set("WWW-Authenticate", `Basic realm="Warren Management"`)
	return &failure{http.StatusUnauthorized, "not_authorized", "Not_Authorized"}
}

// longer is a context for what may take longer than other requests.
func (c *call) longer(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.whole, d)
}

func remoteAddr(r *http.Request) net.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(ap)
}

// shortEnough refuses a name or key that AMQP could not carry.
func shortEnough(what, s string) error {
	if len(s) > maxShortString {
		return errBadRequest("%s is longer than %d bytes", what, maxShortString)
	}
	return nil
}

// json answers with a status and a value.
func (c *call) json(status int, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // names of connections have a '>'
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	c.pace(b.Len())
	c.jsonHeader(status)
	if _, err := c.w.Write(b.Bytes()); err != nil {
		c.log.Debug("http answer not sent", "remote", c.r.RemoteAddr, "err", err)
	}
	return nil
}

// pace gives up on a client that does not read the next so many bytes of the answer in their time.
func (c *call) pace(bytes int) {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(allowed(int64(bytes)))) // there is none in tests
}

// jsonHeader begins an answer in JSON.
func (c *call) jsonHeader(status int) {
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(status)
}

func (c *call) ok(v any) error { return c.json(http.StatusOK, v) }

// none answers that it is done and there is nothing to say.
func (c *call) none() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// declared answers a PUT: 201 for something new, 204 for what was there.
func (c *call) declared(existed bool) error {
	if existed {
		return c.none()
	}
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// flag reads a query parameter that is "true" or "false".
func (c *call) flag(name string) bool { return c.r.URL.Query().Get(name) == "true" }

// propose puts a command in the log, if the user may do what it does, and turns a refusal
// into an error.
func (c *call) propose(cmd command.Command) (command.Result, error) {
	if err := c.permit(cmd); err != nil {
		return command.Result{}, err
	}
	return c.carryOut(cmd)
}

// carryOut is propose for what the user has been found to be allowed already.
func (c *call) carryOut(cmd command.Command) (command.Result, error) {
	res, err := c.cfg.Broker.Propose(c.r.Context(), cmd)
	switch {
	case err != nil:
		return res, errUnavailable(err.Error())
	case res.Lost && res.Applied:
		return res, errUnavailable("the command was applied, its answer was lost")
	case res.Lost:
		return res, errUnavailable("the command was not applied: the node lost its place in the cluster meanwhile")
	case res.Err != nil:
		return res, refused(res.Err)
	}
	return res, nil
}

// failure is an answer other than success, in RabbitMQ's form.
type failure struct {
	status int
	Type   string `json:"error"`
	Reason string `json:"reason"`
}

func (f *failure) Error() string { return f.Type + ": " + f.Reason }

var errNotFound = &failure{http.StatusNotFound, "Object Not Found", "Not Found"}

func errBadRequest(format string, args ...any) error {
	return &failure{http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...)}
}

func errUnavailable(reason string) error {
	return &failure{http.StatusServiceUnavailable, "service_unavailable", reason}
}

// AMQP reply codes that become HTTP statuses of their own.
const (
	amqpAccessRefused = 403
	amqpNotFound      = 404
	amqpResourceError = 506
)

// refused turns a refusal of the state machine into an HTTP answer, as RabbitMQ does.
func refused(e *command.Error) error {
	switch e.Code {
	case amqpNotFound:
		return &failure{http.StatusNotFound, "not_found", e.Text}
	case amqpAccessRefused:
		return &failure{http.StatusUnauthorized, "not_authorised", e.Text}
	case amqpResourceError:
		return errUnavailable(e.Text)
	default:
		return errBadRequest("%s", e.Text)
	}
}

// fail answers with an error.
func (c *call) fail(err error) {
	var f *failure
	if !errors.As(err, &f) {
		c.log.Error("http request failed", "method", c.r.Method, "path", c.r.URL.Path, "err", err)
		f = &failure{http.StatusInternalServerError, "internal_error", err.Error()}
	}
	if err := c.json(f.status, f); err != nil {
		c.log.Error("http error not encoded", "err", err)
	}
}
