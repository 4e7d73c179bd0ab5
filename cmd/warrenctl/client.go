package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

const (
	defaultNode = "http://127.0.0.1:15672"
	defaultPort = "15672"
	maxAnswer   = 1 << 30 // bytes
)

// hintRunning is the next step where no node answers.
const hintRunning = "Is the node running? 'warren serve' starts one; --node URL or WARREN_NODES names another."

// nodeURL completes what the operator wrote: "host", "host:port" or a URL.
func nodeURL(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("scheme %q is neither http nor https", u.Scheme)
	}
	if u.Host == "" {
		return "", errors.New("the host is missing")
	}
	if u.Port() == "" && u.Scheme == "http" {
		u.Host = net.JoinHostPort(u.Hostname(), defaultPort)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// path joins segments to a path of the API, each escaped.
func path(segments ...string) string {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	return "/api/" + strings.Join(escaped, "/")
}

// get asks for a resource and decodes it into v. Numbers become json.Number.
func (o *options) get(ctx context.Context, path string, v any) error {
	b, _, err := o.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return &exitError{code: exitSoftware, err: fmt.Errorf("GET %s: %w", path, err), hint: "Is this the HTTP port of a Warren node?"}
	}
	return nil
}

// do sends a request to the first node that answers and returns the body and
// the node. A read goes on to the next node also when one answers that it
// cannot serve; a write only when it could not be sent.
func (o *options) do(ctx context.Context, method, path string, header http.Header) (body []byte, node string, err error) {
	return o.send(ctx, method, path, header, nil)
}

// put sends a JSON document.
func (o *options) put(ctx context.Context, path string, v any) error {
	return o.tell(ctx, http.MethodPut, path, v)
}

// tell sends a request whose body is the JSON of a value, or empty for nil.
func (o *options) tell(ctx context.Context, method, path string, v any) error {
	if v == nil {
		_, _, err := o.do(ctx, method, path, nil)
		return err
	}
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, _, err = o.send(ctx, method, path, http.Header{"Content-Type": {"application/json"}}, content)
	return err
}

func (o *options) send(ctx context.Context, method, path string, header http.Header, content []byte) (body []byte, node string, err error) {
	var failed []error
	for _, n := range o.nodes {
		body, status, err := o.try(ctx, n, method, path, header, content)
		var dial *net.OpError
		switch {
		case err == nil && status < 300:
			return body, n, nil
		case ctx.Err() != nil:
			return nil, n, timeError(ctx, o.timeout, n)
		case err != nil && method != http.MethodGet && !(errors.As(err, &dial) && dial.Op == "dial"):
			return nil, n, &exitError{code: exitUnavailable, err: fmt.Errorf("%s: %w", n, plain(err)), hint: "It is not known whether the command was carried out."}
		case err != nil:
			failed = append(failed, fmt.Errorf("unable to connect to node %s: %w", n, plain(err)))
		case status == http.StatusServiceUnavailable && method == http.MethodGet:
			failed = append(failed, fmt.Errorf("%s: %s", n, reason(body, status)))
		default:
			return nil, n, answerError(n, o.user, status, body)
		}
	}
	return nil, "", &exitError{code: exitUnavailable, err: errors.Join(failed...), hint: hintRunning}
}

func (o *options) try(ctx context.Context, node, method, path string, header http.Header, content []byte) ([]byte, int, error) {
	r, err := o.request(ctx, node, method, path, header, content)
	if err != nil {
		return nil, 0, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return b, resp.StatusCode, err
}

func (o *options) request(ctx context.Context, node, method, path string, header http.Header, content []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, node+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.SetBasicAuth(o.user, o.password)
	return r, nil
}

// client keeps no connection: a process makes a request or two.
var client = &http.Client{Transport: &http.Transport{
	Proxy:             http.ProxyFromEnvironment,
	DisableKeepAlives: true,
}}

// plain drops the method and URL that net/http puts before an error.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func timeError(ctx context.Context, seconds float64, node string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return &exitError{code: exitSoftware, err: errors.New("interrupted")}
	}
	return &exitError{code: exitTempFail, err: fmt.Errorf("operation on node %s timed out after %v seconds", node, seconds), hint: "--timeout SECONDS waits longer."}
}

// reason is what the server says of a failure.
func reason(body []byte, status int) string {
	var e struct{ Error, Reason string }
	if json.Unmarshal(body, &e) == nil && e.Reason != "" {
		return e.Reason
	}
	return fmt.Sprintf("%d %s", status, http.StatusText(status))
}

func answerError(node, user string, status int, body []byte) error {
	e := &exitError{status: status, code: exitSoftware, err: fmt.Errorf("node %s: %s", node, reason(body, status))}
	switch status {
	case http.StatusUnauthorized:
		e.code = exitNoPerm
		if strings.Contains(string(body), `"not_authorized"`) { // as opposed to not_authorised, a refusal
			e.err = fmt.Errorf("node %s refuses the login of user '%s'", node, user)
			e.hint = "--user and --password, or WARRENCTL_USER and WARRENCTL_PASSWORD, name whom to log in as."
		}
	case http.StatusServiceUnavailable:
		e.code = exitUnavailable
	case http.StatusNotFound:
		e.code, e.err = exitData, &notFound{node, reason(body, status)}
	case http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed:
		e.code = exitData
	}
	return e
}

// notFound is the answer 404.
type notFound struct{ node, reason string }

func (n *notFound) Error() string { return "node " + n.node + ": " + n.reason }

// isMissing reports whether an error is a 404.
func isMissing(err error) bool { return errors.As(err, new(*notFound)) }

// nameMissing gives an error that is a 404 the name of what is missing.
func nameMissing(err error, format string, args ...any) error {
	var missing *notFound
	if !errors.As(err, &missing) {
		return err
	}
	return &exitError{code: exitData, err: fmt.Errorf(format, args...)}
}
