package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// listener is a port of a node as the API gives it.
type listener struct {
	Node     string `json:"node"`
	Protocol string `json:"protocol"`
	Address  string `json:"ip_address"`
	Port     int    `json:"port"`
}

// purposes say what listeners are for.
var purposes = map[string]string{
	"amqp": "AMQP 0-9-1", "amqp/ssl": "AMQP 0-9-1 over TLS", "http": "HTTP API", "https": "HTTP API over TLS (HTTPS)",
	"http/prometheus": "Prometheus exporter API over HTTP", "clustering": "inter-node communication",
}

func (l *listener) purpose() string {
	if p, ok := purposes[l.Protocol]; ok {
		return p
	}
	return l.Protocol
}

func (l *listener) describe() string {
	address := l.Address
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return fmt.Sprintf("Interface: %s, port: %d, protocol: %s, purpose: %s", address, l.Port, l.Protocol, l.purpose())
}

// nodeListeners asks a node for its name and its listeners.
func (o *options) nodeListeners(ctx context.Context, node string) (name string, all []listener, err error) {
	body, status, err := o.try(ctx, node, http.MethodGet, path("overview")+"?columns=node,listeners&disable_stats=true", nil, nil)
	switch {
	case ctx.Err() != nil:
		return "", nil, timeError(ctx, o.timeout, node)
	case err != nil:
		return "", nil, &exitError{code: exitUnavailable, err: fmt.Errorf("unable to connect to node %s: %w", node, plain(err)), hint: hintRunning}
	case status != http.StatusOK:
		return "", nil, answerError(node, o.user, status, body)
	}
	var view struct {
		Node      string
		Listeners []listener
	}
	if err := json.Unmarshal(body, &view); err != nil {
		return "", nil, &exitError{code: exitSoftware, err: fmt.Errorf("node %s: %w", node, err)}
	}
	if view.Listeners == nil {
		return "", nil, &exitError{code: exitNoPerm, err: fmt.Errorf("node %s tells user '%s' of no listeners", node, o.user),
			hint: "The user needs the tag monitoring or administrator."}
	}
	return view.Node, view.Listeners, nil
}

func (o *options) checkConnectivityCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check_port_connectivity",
		Short: "Check that all ports of a node can be reached from here",
		Long: `Connect to every port on which a node listens, and close the connection again. The address is the one that the node listens on, or
where it listens on all, the host of --node.

Every node of --node is asked. The exit code is 69 when one fails the check or does not answer.`,
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			return o.checkNodes("Testing TCP connections to all active listeners on node %s ...", func(node string) (any, string, error) {
				_, all, err := o.nodeListeners(ctx, node)
				if err != nil {
					return nil, "", err
				}
				var failed []string
				ports := make([]int, len(all))
				for i := range all {
					if err := reach(ctx, node, &all[i]); err != nil {
						failed = append(failed, all[i].describe()+": "+err.Error())
					}
					ports[i] = all[i].Port
				}
				if len(failed) > 0 {
					return failed, "", checkFailed("Connection to ports of the following listeners on node %s failed:\n%s", node, strings.Join(failed, "\n"))
				}
				slices.Sort(ports)
				return all, fmt.Sprintf("Successfully connected to ports %s on node %s.", join(ports), node), nil
			})
		}),
	}
}

// reach connects to a listener of the node behind a URL.
func reach(ctx context.Context, node string, l *listener) error {
	host := l.Address
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		u, err := url.Parse(node)
		if err != nil {
			return err
		}
		host = u.Hostname()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(l.Port)))
	if err != nil {
		return err
	}
	return conn.Close()
}
