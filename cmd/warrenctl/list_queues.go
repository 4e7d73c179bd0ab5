package main

import (
	"context"

	"github.com/spf13/cobra"
)

var listQueues = list{
	name:  "list_queues",
	short: "List queues and how many messages they hold",
	path:  func(vhost string) string { return path("queues", vhost) },
	banner: func(o *options) {
		o.banner("Timeout: %.1f seconds ...", o.timeout)
		o.banner("Listing queues for vhost %s ...", o.vhost)
	},
	columns: []column{
		col("name"), col("durable"), col("auto_delete"), col("arguments"), col("policy"), col("operator_policy"),
		col("effective_policy_definition"), col("pid", "leader"), col("owner_pid", "owner_pid_details.name"), col("exclusive"),
		col("exclusive_consumer_tag"), col("single_active_consumer_tag"),
		col("messages_ready"), col("messages_unacknowledged"), col("messages_parked"), col("messages_delayed"), col("messages"),
		col("messages_persistent"), col("message_bytes_ready"), col("message_bytes_unacknowledged"), col("message_bytes_parked"),
		col("message_bytes_delayed"), col("message_bytes"), col("message_bytes_persistent"),
		col("consumers"), col("consumer_utilisation"), col("consumer_capacity"), col("head_message_timestamp"), col("idle_since"), col("memory"),
		col("state"), col("type"), col("leader"), col("members"), col("online"), col("vhost"),
	},
	defaults: []string{"name", "messages"},
}

// listQueuesCommand adds to the list what rabbitmqctl can ask for. All queues are led by the leader of the cluster, so
// what holds for one holds for all.
func (o *options) listQueuesCommand() *cobra.Command {
	var online, offline, local bool
	cmd := o.listCommand(listQueues)
	f := cmd.Flags()
	f.BoolVar(&online, "online", false, "only if they have a leader")
	f.BoolVar(&offline, "offline", false, "only if they have none")
	f.BoolVar(&local, "local", false, "only if the node that is asked leads them")
	all := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !online && !offline && !local {
			return all(cmd, args)
		}
		columns, err := listQueues.choose(args)
		if err != nil {
			return err
		}
		ctx, cancel := o.deadline(cmd.Context())
		defer cancel()
		leader, node, err := o.leader(ctx)
		switch {
		case err != nil:
			return err
		case local && leader == node, !local && online && leader != "", !local && offline && leader == "":
			return all(cmd, args)
		}
		listQueues.banner(o)
		return o.print(&table{columns: columnNames(columns)})
	}
	return cmd
}

// leader asks who leads the cluster, "" for nobody, and which node answers.
func (o *options) leader(ctx context.Context) (leader, node string, err error) {
	var c cluster
	err = o.get(ctx, path("cluster"), &c)
	return c.Leader, c.Node, err
}

// unresponsiveCommand lists the queues that nobody leads: all of them, while the cluster has no quorum.
func (o *options) unresponsiveCommand() *cobra.Command {
	l := list{
		name: "list_unresponsive_queues", columns: []column{col("name"), col("durable"), col("auto_delete"), col("arguments"), col("pid", "leader")},
		defaults: []string{"name"},
	}
	cmd := &cobra.Command{
		Use: l.name + " [COLUMN...]", Short: "List the queues that do not answer: all of them while the cluster has no leader", ValidArgs: l.names(),
	}
	cmd.Flags().Bool("local", false, "has no meaning here: every queue is on every node")
	cmd.Flags().Int("queue-timeout", 15, "has no meaning here: `N` seconds to wait for each")
	cmd.RunE = o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
		columns, err := l.choose(args)
		if err != nil {
			return err
		}
		o.banner("Listing unresponsive queues for vhost %s ...", o.vhost)
		leader, _, err := o.leader(ctx)
		if err != nil {
			return err
		}
		if leader != "" {
			return o.print(&table{columns: columnNames(columns)})
		}
		return o.list(ctx, &l, path("queues", o.vhost), columns)
	})
	return cmd
}
