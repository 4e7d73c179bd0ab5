package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// maintenanceCommands are those of rabbitmq-upgrade, and what a cluster that grows or shrinks needs.
func (o *options) maintenanceCommands() []*cobra.Command {
	return []*cobra.Command{o.drainCommand(), o.reviveCommand(), o.awaitQuorumCommand(), o.addMemberCommand(), o.forgetCommand(), o.reloadCommand()}
}

// target is the node that a command is for: the one named, or else the one that answers, which all that follows is
// then asked.
func (o *options) target(ctx context.Context, args []string) (node, name string, err error) {
	if len(args) > 0 {
		return args[0], args[0], nil
	}
	b, from, err := o.do(ctx, http.MethodGet, path("cluster"), nil)
	if err != nil {
		return "", "", err
	}
	o.nodes = []string{from}
	var c struct{ ID, Node string }
	if err := decodeBoth(b, &c); err != nil {
		return "", "", err
	}
	return c.ID, c.Node, nil
}

// withTarget does something to the target of a command, within its time; banner has a place for the node's name.
func (o *options) withTarget(cmd *cobra.Command, args []string, banner string, do func(ctx context.Context, node string) error) error {
	ctx, cancel := o.deadline(cmd.Context())
	defer cancel()
	node, name, err := o.target(ctx, args)
	if err != nil {
		return err
	}
	o.banner(banner, name)
	return nameMissing(do(ctx, node), "the cluster has no node %s", name)
}

func (o *options) drainCommand() *cobra.Command {
	var force, await bool
	cmd := &cobra.Command{
		Use:   "drain [NODE]",
		Short: "Put a node into maintenance mode: it serves no clients and does not lead",
		Long: `Put a node, given by name or id, or the one that answers, into maintenance mode, before it is stopped or upgraded: it refuses
new clients, closes its connections with 320, and hands leadership over. It stays a member that votes and
answers over HTTP; its readiness checks answer 503. 'revive' or a restart ends it.

A node that the cluster cannot do without is refused, as by the check node-is-quorum-critical: --await-quorum waits until it can be done without, for
--timeout seconds at most, as await_online_quorum_plus_one does; --force drains it all the same. A node that is drained already stays so.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			const banner = "Will put node %s into maintenance mode. The node will no longer serve any client traffic!"
			err := o.withTarget(cmd, args, banner, func(ctx context.Context, node string) error {
				for {
					if await {
						if err := o.awaitQuorum(ctx, node); err != nil {
							return err
						}
					}
					err := o.tell(ctx, http.MethodPost, path("cluster", "nodes", node, "drain"), map[string]bool{"force": force})
					var e *exitError
					if !await || !errors.As(err, &e) || e.status != http.StatusConflict {
						return err
					}
					time.Sleep(awaitPoll) // another node is drained meanwhile: it is waited for again, until the time is up
				}
			})
			return withHint(err, http.StatusConflict, "--force drains the node all the same.")
		},
	}
	cmd.Flags().BoolVar(&await, "await-quorum", false, "first wait until the cluster can do without the node")
	cmd.Flags().BoolVar(&force, "force", false, "also when the others would be no quorum that serves clients")
	return cmd
}

// withHint adds what to do next to an error of an HTTP status.
func withHint(err error, status int, hint string) error {
	var e *exitError
	if errors.As(err, &e) && e.status == status {
		e.hint = hint
	}
	return err
}

func (o *options) reviveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revive [NODE]",
		Short: "Put a node out of maintenance mode: it serves clients again",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			const banner = "Will put node %s back into regular operating mode. The node will again serve client traffic."
			return o.withTarget(cmd, args, banner, func(ctx context.Context, node string) error {
				return o.tell(ctx, http.MethodPost, path("cluster", "nodes", node, "revive"), nil)
			})
		},
	}
}

// awaitQuorumTime is RabbitMQ's default of --timeout for await_online_quorum_plus_one, in seconds.
const awaitQuorumTime = 120

func (o *options) awaitQuorumCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "await_online_quorum_plus_one [NODE]",
		Short: "Wait until the cluster can do without a node",
		Long: `Wait until the cluster would keep its quorum without a node, given by name or id, or the one that answers: before
it is drained and stopped. Nodes that still catch up or are drained do not count. It waits for --timeout
seconds (120 by default) and fails with exit code 75 when the time is up. A cluster of one node has nothing to wait for.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("timeout") {
				o.timeout = awaitQuorumTime
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			node, _, err := o.target(ctx, args)
			if err != nil {
				return err
			}
			o.banner("Will wait for a quorum + 1 of nodes to be online for all quorum queues for %v seconds...", o.timeout)
			return o.awaitQuorum(ctx, node)
		},
	}
}

func (o *options) awaitQuorum(ctx context.Context, node string) error {
	last := "no answer"
	for {
		b, _, err := o.do(ctx, http.MethodGet, path("cluster", "nodes", node, "quorum-critical"), nil)
		var e *exitError
		switch {
		case err == nil:
			if strings.Contains(string(b), "single node cluster") {
				o.banner("Target node seems to be the only one in a single node cluster, the command does not apply")
			}
			return nil
		case errors.As(err, &e) && e.code == exitUnavailable:
			last = err.Error()
		case ctx.Err() == nil:
			return nameMissing(err, "the cluster has no node %s", node)
		}
		select {
		case <-time.After(awaitPoll):
		case <-ctx.Done():
			return &exitError{code: exitTempFail,
				err:  fmt.Errorf("time is up, no quorum + 1 online replicas came online: %s", last),
				hint: "'warrenctl cluster_status' shows who is missing; --timeout SECONDS waits longer."}
		}
	}
}

func (o *options) addMemberCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "add_member NODE",
		Short: "Wait until a new node has its vote, and say what it waits for",
		Long: `Wait until a new node, given by name or id, votes, for --timeout seconds at most.

A node is added by starting it with an empty data directory, --join and the cluster's secret; it follows, catches up, and gets its vote
by itself. This command says how far that is, and what is in the way when it is not done in time.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Waiting for node %s to become a voter ...", args[0])
			return o.awaitVoter(ctx, args[0])
		},
	}
}

func (o *options) awaitVoter(ctx context.Context, name string) error {
	said, hint := "", ""
	for {
		var c cluster
		err := o.get(ctx, path("cluster"), &c)
		waiting, next := "no node answers", "--node URL or WARREN_NODES names others to ask."
		switch {
		case err == nil:
			if waiting, next = c.notVoting(name); waiting == "" {
				o.banner("Node %s votes", name)
				return nil
			}
		case ctx.Err() != nil && said != "": // the one before says more
			waiting, next = said, hint
		case ctx.Err() == nil && !unavailable(err):
			return err
		}
		if waiting != said {
			o.banner("... %s", waiting)
		}
		said, hint = waiting, next
		select {
		case <-time.After(awaitPoll):
		case <-ctx.Done():
			return &exitError{code: exitTempFail, err: fmt.Errorf("%s does not vote after %v seconds: %s", name, o.timeout, said), hint: hint}
		}
	}
}

func unavailable(err error) bool {
	var e *exitError
	return errors.As(err, &e) && e.code == exitUnavailable
}

// notVoting tells why a node has no vote, and what to do about it; nothing when it has one.
func (c *cluster) notVoting(name string) (why, hint string) {
	voters, addrs := 0, []string{}
	var found *member
	for i, m := range c.Members {
		if m.Voter {
			voters++
			addrs = append(addrs, m.ClusterAddr)
		}
		if m.ID == name || m.Name == name && (found == nil || !found.Running) {
			found = &c.Members[i]
		}
	}
	switch {
	case found == nil:
		return "the cluster has not heard of it", "Start it with an empty data directory, the cluster's secret, and --join " + strings.Join(addrs, ",") + "; look into its log when it runs already."
	case found.Voter:
		return "", ""
	case !found.Running:
		return "it does not run", "Start it, or remove it: warrenctl forget_cluster_node " + found.ID
	case c.Leader == "":
		return "the cluster has no leader", "Start nodes until more than half of the voters run."
	case voters >= mostVoters:
		return fmt.Sprintf("%d nodes vote already, and more would make every write slower; it follows, and serves clients as the others do", voters),
			"For it to vote, stop one that votes and remove it: warrenctl forget_cluster_node NODE"
	default:
		return "it is catching up", "Its log and 'warrenctl status' on it show how far it is."
	}
}

// mostVoters is how many nodes of a cluster vote at most.
const mostVoters = 5

func (o *options) forgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget_cluster_node NODE",
		Short: "Remove a stopped node from the cluster for good",
		Long: `Remove a node, given by name or id, from the cluster for good. It must not be running.

It may come back only as a new node, with an empty data directory.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Removing node %s from the cluster", args[0])
			_, _, err := o.do(ctx, http.MethodDelete, path("cluster", "nodes", args[0]), nil)
			return forgetHint(nameMissing(err, "the cluster has no node %s", args[0]), args[0])
		},
	}
}

// forgetHint says what to do about a node that cannot be forgotten.
func forgetHint(err error, node string) error {
	var e *exitError
	if !errors.As(err, &e) {
		return err
	}
	text := e.Error()
	switch {
	case strings.Contains(text, "is running"):
		e.hint = "Drain it (warrenctl drain " + node + "), stop it (SIGTERM), and ask again, of another node."
	case strings.Contains(text, "more than one node has that name"):
		e.hint = "Give the id: 'warrenctl cluster_status' shows them."
	case strings.Contains(text, "without a quorum"):
		e.hint = "Start other nodes first, until more than half of those that stay and vote run: 'warrenctl cluster_status' shows them."
	case strings.Contains(text, "the last voter"):
		e.hint = "It is the whole cluster. To end it, stop it and remove its data directory."
	case strings.Contains(text, "has no leader"):
		e.hint = "Start nodes until more than half of the voters run, and ask again; it may have been removed all the same."
	case strings.Contains(text, "has no node"):
		e.hint = "'warrenctl cluster_status' shows names and ids."
	}
	return err
}

func (o *options) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload [NODE]",
		Short: "Have a node read its settings and certificates again",
		Long: `Have a node, given by name or id, or the one that answers, read its file of settings and its certificates again, as SIGHUP does.
It says which settings have changed, and which of them wait for a restart. A file with an error changes nothing.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withTarget(cmd, args, "Node %s reads its settings again ...", func(ctx context.Context, node string) error {
				b, _, err := o.do(ctx, http.MethodPost, path("cluster", "nodes", node, "reload"), nil)
				if err != nil {
					return err
				}
				var r struct {
					Applied     []string `json:"applied"`
					NeedRestart []string `json:"need_restart"`
				}
				if err := decodeBoth(b, &r); err != nil {
					return err
				}
				if o.format == "json" {
					return o.printObject(map[string]any{"applied": r.Applied, "need_restart": r.NeedRestart})
				}
				fmt.Fprintf(o.out, "changed: %s\nwait for a restart: %s\n", namesOrNone(r.Applied), namesOrNone(r.NeedRestart))
				return nil
			})
		},
	}
}

func namesOrNone(names []string) string {
	if len(names) == 0 {
		return "(none)"
	}
	return strings.Join(names, ", ")
}
