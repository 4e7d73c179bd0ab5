package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

func (o *options) attemptsCommand() *cobra.Command {
	var bySource bool
	cmd := &cobra.Command{
		Use: "list_node_auth_attempt_stats", Short: "List how many logins were tried on a node, by protocol", Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&bySource, "by-source", false, "by address and user name")
	cmd.RunE = o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
		name, err := o.nodeName(ctx)
		if err != nil {
			return err
		}
		o.banner("Listing authentication attempts for node \"%s\" ...", name)
		columns := []column{col("protocol"), col("auth_attempts"), col("auth_attempts_failed"), col("auth_attempts_succeeded")}
		segments := []string{"auth", "attempts", name}
		if bySource {
			columns = append([]column{col("remote_address"), col("username")}, columns...)
			segments = append(segments, "source")
		}
		var all []map[string]any
		if err := o.get(ctx, path(segments...), &all); err != nil {
			return err
		}
		if o.isJSON() {
			return o.printObject(map[string]any{"result": "ok", "node": name, "attempts": all})
		}
		return o.print(fill(columns, all))
	})
	return cmd
}

func (o *options) resetAttemptsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reset_node_auth_attempt_metrics", Short: "Count the logins that are tried on a node anew", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			name, err := o.nodeName(ctx)
			if err != nil {
				return err
			}
			o.banner("Resetting auth attempt metrics on node %s ...", name)
			_, _, err = o.do(ctx, http.MethodDelete, path("auth", "attempts", name), nil)
			return err
		}),
	}
}
