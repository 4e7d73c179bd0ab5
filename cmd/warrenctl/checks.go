package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// A check is a health check of the API, by rabbitmq-diagnostics' name. Every node of --node is checked, and one that does not
// answer fails it.
type check struct {
	use, short string
	args       cobra.PositionalArgs // nil: none
	flags      func(cmd *cobra.Command)
	path       func(args []string) (string, error)
	asks       string // the banner, with %s for the node
	passed     func(args []string, node string) string
	failed     func(args []string, node string, a *checkAnswer) string
}

// checkAnswer is what the API says of a check.
type checkAnswer struct {
	Status    string            `json:"status"`
	Reason    string            `json:"reason"`
	Alarms    []alarm           `json:"alarms"`
	Ports     []int             `json:"ports"`
	Protocols []string          `json:"protocols"`
	Queues    []readableQueue   `json:"queues"`
	Expired   []expiredListener `json:"expired"`
}

type readableQueue struct {
	Readable string `json:"readable_name"`
}

type expiredListener struct {
	Protocol    string   `json:"protocol"`
	Port        int      `json:"port"`
	CertFile    string   `json:"certfile"`
	CertExpires []string `json:"certfile_expires_on"`
	CAFile      string   `json:"cacertfile"`
	CAExpire    []string `json:"cacertfile_expires_on"`
}

// at is the path of a check without parameters.
func at(name ...string) func([]string) (string, error) {
	p := checkPath(name...)
	return func([]string) (string, error) { return p, nil }
}

func checkPath(name ...string) string { return path(append([]string{"health", "checks"}, name...)...) }

// says is a text that names the node.
func says(format string) func([]string, string) string {
	return func(_ []string, node string) string { return fmt.Sprintf(format, node) }
}

func alarmsRaised(_ []string, _ string, a *checkAnswer) string {
	return strings.Join(describeAlarms(a.Alarms), "\n")
}

func (o *options) checkCommands() []*cobra.Command {
	var within = 4
	var unit = "weeks"
	var allVHosts bool
	checks := []check{
		{
			use: "check_running", short: "Check that a node is up and serves clients", path: at("ready-to-serve-clients"),
			asks: "Checking if Warren is running on node %s ...", passed: says("Warren on node %s is fully booted and running"),
			failed: func(_ []string, node string, a *checkAnswer) string {
				return fmt.Sprintf("Warren on node %s is not running or has not fully booted yet: %s", node, a.Reason)
			},
		},
		{
			use: "check_alarms", short: "Check that no node of the cluster is low on memory or disk", path: at("alarms"),
			asks: "Asking node %s to report any resource alarms in the cluster ...", passed: says("Node %s reported no alarms, local or clusterwide"), failed: alarmsRaised,
		},
		{
			use: "check_local_alarms", short: "Check that a node is not low on memory or disk", path: at("local-alarms"),
			asks: "Asking node %s to report any local resource alarms ...", passed: says("Node %s reported no local alarms"), failed: alarmsRaised,
		},
		{
			use: "check_port_listener PORT", short: "Check that a node listens on a port", args: cobra.ExactArgs(1),
			path: func(args []string) (string, error) { return checkPath("port-listener", args[0]), nil },
			asks: "Asking node %s if there is an active listener on the port ...",
			passed: func(args []string, node string) string {
				return fmt.Sprintf("A listener for port %s is running on node %s.", args[0], node)
			},
			failed: func(args []string, node string, a *checkAnswer) string {
				return fmt.Sprintf("No listener for port %s is active on node %s. Found listeners that use the following ports: %s", args[0], node, join(a.Ports))
			},
		},
		{
			use: "check_protocol_listener PROTOCOL", short: "Check that a node listens for a protocol: amqp, amqp/ssl, http, https, clustering …",
			args: cobra.ExactArgs(1),
			path: func(args []string) (string, error) { return checkPath("protocol-listener", args[0]), nil },
			asks: "Asking node %s if there is an active listener for the protocol ...",
			passed: func(args []string, node string) string {
				return fmt.Sprintf("A listener for protocol %s is running on node %s.", args[0], node)
			},
			failed: func(args []string, node string, a *checkAnswer) string {
				return fmt.Sprintf("No listener for protocol %s is active on node %s. Found listeners for the following protocols: %s", args[0], node, join(a.Protocols))
			},
		},
		{
			use: "check_virtual_hosts", short: "Check that all virtual hosts run", path: at("virtual-hosts"),
			asks: "Checking if all vhosts are running on node %s ...", passed: says("Node %s reported all vhosts as running"), failed: reasonOnly,
		},
		{
			use: "check_certificate_expiration", short: "Check that no certificate of a node's listeners ends soon",
			flags: func(cmd *cobra.Command) {
				cmd.Flags().IntVar(&within, "within", within, "`N` units from now")
				cmd.Flags().StringVar(&unit, "unit", unit, "`UNIT`: days, weeks, months or years")
			},
			path: func([]string) (string, error) {
				return checkPath("certificate-expiration", fmt.Sprint(within), unit), nil
			},
			asks: "Checking certificate expiration on node %s ...",
			passed: func([]string, string) string {
				return fmt.Sprintf("No certificates are expiring within %d %s.", within, unit)
			},
			failed: func(_ []string, _ string, a *checkAnswer) string { return describeExpired(a.Expired) },
		},
		{
			use: "check_if_node_is_quorum_critical", short: "Check that the cluster keeps its quorum when a node is stopped",
			path: at("node-is-quorum-critical"), asks: "Checking if node %s is critical for quorum of any quorum queues ...",
			passed: says("Node %s reported no quorum queues with minimum quorum"), failed: reasonOnly,
		},
		{
			use: "check_for_quorum_queues_without_an_elected_leader [PATTERN]", short: "Check that queues have a leader, which is that of the cluster",
			args: cobra.MaximumNArgs(1),
			flags: func(cmd *cobra.Command) {
				cmd.Flags().BoolVar(&allVHosts, "across-all-vhosts", false, "queues of all virtual hosts")
			},
			path: func(args []string) (string, error) {
				p := []string{"quorum-queues-without-elected-leaders", "vhost", o.vhost}
				if allVHosts {
					p = []string{"quorum-queues-without-elected-leaders", "all-vhosts"}
				}
				if len(args) > 0 {
					p = append(p, "pattern", args[0])
				}
				return checkPath(p...), nil
			},
			asks: "Asking node %s for queues without a leader ...", passed: says("Node %s reported all quorum queue leaders as healthy"),
			failed: func(_ []string, _ string, a *checkAnswer) string {
				var lines []string
				for _, q := range a.Queues {
					lines = append(lines, q.Readable+" does not have an elected leader replica or the replica was unresponsive")
				}
				return strings.Join(lines, "\n")
			},
		},
		{
			use: "check_if_metadata_store_is_initialized", short: "Check that a node knows the present state of the cluster",
			path: at("metadata-store", "initialized"), asks: "Checking the metadata store of node %s ...", passed: says("Metadata store on node %s has completed its initialization"), failed: reasonOnly,
		},
		{
			use: "check_if_metadata_store_is_initialized_with_data", short: "Check that a node knows the present state of the cluster and its data",
			path: at("metadata-store", "initialized", "with-data"), asks: "Checking the metadata store of node %s ...",
			passed: says("Metadata store on node %s has completed its initialization"), failed: reasonOnly,
		},
		{
			use: "check_if_any_deprecated_features_are_used", short: "Check that nothing in use will go in a later version",
			path: func([]string) (string, error) { return path("deprecated-features", "used"), nil },
			asks: "Asking node %s if deprecated features are used ...", passed: says("Cluster reported no deprecated features in use, by node %s"), failed: reasonOnly,
		},
		{
			use: "check_node_connection_limit", short: "Check that a node takes more connections", path: at("below-node-connection-limit"),
			asks: "Asking node %s if it takes more connections ...", passed: says("Node %s is below its limit of connections"), failed: reasonOnly,
		},
		{
			use: "check_cluster_size", short: "Check that as many nodes run as --expect says", path: at("reached-target-cluster-size"),
			asks: "Asking node %s how many nodes run ...", passed: says("Node %s sees as many nodes as the cluster is to have"), failed: reasonOnly,
		},
	}
	all := []*cobra.Command{o.checkConnectivityCommand()}
	for _, c := range checks {
		all = append(all, o.checkCommand(c))
	}
	return all
}

func join[T any](list []T) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}

func reasonOnly(_ []string, _ string, a *checkAnswer) string { return a.Reason }

func describeExpired(all []expiredListener) string {
	var lines []string
	for _, l := range all {
		for _, at := range l.CertExpires {
			lines = append(lines, fmt.Sprintf("%s, port %d: certificate %s expires on %s", l.Protocol, l.Port, l.CertFile, at))
		}
		for _, at := range l.CAExpire {
			lines = append(lines, fmt.Sprintf("%s, port %d: authority's certificate %s expires on %s", l.Protocol, l.Port, l.CAFile, at))
		}
	}
	return strings.Join(lines, "\n")
}

func (o *options) checkCommand(c check) *cobra.Command {
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Args: c.args,
		Long: c.short + ".\n\nEvery node of --node is asked. The exit code is 69 when one fails the check or does not answer.",
	}
	if c.args == nil {
		cmd.Args = cobra.NoArgs
	}
	if c.flags != nil {
		c.flags(cmd)
	}
	cmd.RunE = o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
		p, err := c.path(args)
		if err != nil {
			return err
		}
		return o.checkNodes(c.asks, func(node string) (any, string, error) {
			answer, err := o.ask(ctx, node, p)
			switch {
			case err != nil:
				return nil, "", err
			case answer.failed():
				return answer.body, "", checkFailed("%s", c.failed(args, node, &answer.checkAnswer))
			}
			return answer.body, c.passed(args, node), nil
		})
	})
	return cmd
}

// checkFailed is the error of a check that found something.
func checkFailed(format string, args ...any) error {
	return &exitError{code: exitUnavailable, err: fmt.Errorf(format, args...)}
}

// checkNodes runs a check of every node and prints what it said, for people or as JSON.
func (o *options) checkNodes(asks string, run func(node string) (found any, passed string, err error)) error {
	var documents []any
	var failed []error
	for _, node := range o.nodes {
		o.banner(asks, node)
		found, passed, err := run(node)
		var e *exitError
		if errors.As(err, &e) && e.code != exitUnavailable {
			return err // it is not a check that failed
		}
		document := map[string]any{"result": "ok", "node": node}
		if err != nil {
			document["result"], document["message"] = "error", err.Error()
			failed = append(failed, err)
		}
		if found != nil {
			document["answer"] = found
		}
		documents = append(documents, document)
		if err == nil && !o.isJSON() && !o.silent {
			if _, err := fmt.Fprintln(o.out, passed); err != nil {
				return err
			}
		}
	}
	if o.isJSON() {
		var document any = documents
		if len(documents) == 1 {
			document = documents[0]
		}
		if err := o.printObject(document); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return &exitError{code: exitUnavailable, err: errors.Join(failed...)}
	}
	return nil
}

// asked is the answer of one node to a check.
type asked struct {
	checkAnswer
	status int
	body   any
}

func (a *asked) failed() bool {
	if list, ok := a.body.([]any); ok { // of what should not be
		return len(list) > 0
	}
	return a.status != http.StatusOK || a.Status == "failed"
}

// ask gets the answer of one certain node to a check, passed or failed.
func (o *options) ask(ctx context.Context, node, path string) (*asked, error) {
	body, status, err := o.try(ctx, node, http.MethodGet, path, nil, nil)
	switch {
	case ctx.Err() != nil:
		return nil, timeError(ctx, o.timeout, node)
	case err != nil:
		return nil, &exitError{code: exitUnavailable, err: fmt.Errorf("unable to connect to node %s: %w", node, plain(err)), hint: hintRunning}
	case status != http.StatusOK && status != http.StatusServiceUnavailable:
		return nil, answerError(node, o.user, status, body)
	}
	a := &asked{status: status}
	if err := json.Unmarshal(body, &a.body); err != nil {
		return nil, &exitError{code: exitSoftware, err: fmt.Errorf("node %s: %w", node, err), hint: "Is this the HTTP port of a Warren node?"}
	}
	if _, ok := a.body.(map[string]any); ok {
		if err := json.Unmarshal(body, &a.checkAnswer); err != nil {
			return nil, &exitError{code: exitSoftware, err: fmt.Errorf("node %s: %w", node, err)}
		}
	}
	return a, nil
}
