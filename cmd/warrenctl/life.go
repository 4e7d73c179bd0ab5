package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

func (o *options) lifeCommands() []*cobra.Command {
	return []*cobra.Command{
		o.stopCommand("stop"), o.stopCommand("shutdown"), o.rebalanceCommand(), o.restartVHostCommand(),
		o.reportCommand(), o.observerCommand(),
	}
}

// stopCommand is rabbitmqctl's stop and shutdown, which are one here: both wait for the end.
func (o *options) stopCommand(name string) *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use: name, Short: "Stop the node of --node in order, and wait until it has ended", Args: cobra.NoArgs,
		Long: `Stop the node of --node in order, as SIGTERM does: it hands leadership over, closes its clients with 320 and ends. One node is
stopped, so --node has to name one. Whatever starts it again when it ends (a container that restarts always) does so: stop it there.`,
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it has ended")
	cmd.RunE = o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
		if len(o.nodes) != 1 {
			return usageError("%d nodes are named by --node or WARREN_NODES: name the one to stop", len(o.nodes))
		}
		node, err := o.nodeName(ctx)
		if err != nil {
			return err
		}
		o.banner("Shutting down Warren node %s ...", node)
		if err := o.tell(ctx, http.MethodPost, path("nodes", node, "stop"), nil); err != nil {
			return err
		}
		if noWait {
			return nil
		}
		return o.untilGone(ctx, o.nodes[0])
	})
	return cmd
}

// untilGone waits until nobody answers at a node's address.
func (o *options) untilGone(ctx context.Context, node string) error {
	for {
		if _, _, err := o.try(ctx, node, http.MethodGet, "/health", nil, nil); err != nil && ctx.Err() == nil {
			o.banner("%s has ended", node)
			return nil
		}
		select {
		case <-time.After(awaitPoll):
		case <-ctx.Done():
			return &exitError{code: exitTempFail, err: fmt.Errorf("%s still answers after %v seconds", node, o.timeout),
				hint: "It is stopping, or it was started again: see its log."}
		}
	}
}

func (o *options) rebalanceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rebalance [TYPE]", Short: "Spread the leaders of queues: there is nothing to do, the cluster's leader leads all", Args: cobra.MaximumNArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			if err := o.tell(ctx, http.MethodPost, path("rebalance", "queues"), object{}); err != nil {
				return err
			}
			o.banner("Nothing to do: the leader of the cluster leads all queues. 'warrenctl transfer_leadership' has another node lead.")
			return nil
		}),
	}
}

func (o *options) restartVHostCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restart_vhost", Short: "Start a virtual host again: they run wherever a node runs, so there is nothing to do", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			node, err := o.nodeName(ctx)
			if err != nil {
				return err
			}
			o.banner("Trying to restart vhost '%s' on node '%s' ...", o.vhost, node)
			return noVHost(o.tell(ctx, http.MethodPost, path("vhosts", o.vhost, "start", node), object{}), o.vhost)
		}),
	}
}

// reportCommand prints what helps to understand a cluster from afar.
func (o *options) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "report", Short: "Print the status of the cluster and all that can be listed, for a bug report; it has no passwords", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			if err := o.status(ctx); err != nil {
				return err
			}
			if err := o.clusterStatus(ctx); err != nil {
				return err
			}
			vhosts, err := o.names(ctx, path("vhosts"), "name")
			if err != nil {
				return err
			}
			for _, l := range append(lists(), listQueues) {
				if err := o.reportList(ctx, l, vhosts); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// reportList prints a list, of each vhost where it is one of a vhost.
func (o *options) reportList(ctx context.Context, l list, vhosts []string) error {
	columns, err := l.choose(nil)
	if err != nil {
		return err
	}
	// Those of parameters: there are passwords in the URIs of shovels.
	columns = slices.DeleteFunc(columns, func(c column) bool { return c.name == "value" })
	if l.path("a") == l.path("b") && !l.ofVHost {
		vhosts = []string{o.vhost}
	}
	asked := *o
	for _, vhost := range vhosts {
		asked.vhost = vhost
		fmt.Fprintln(o.out)
		l.banner(&asked)
		if err := asked.list(ctx, &l, l.path(vhost), columns); err != nil {
			return err
		}
	}
	return nil
}
