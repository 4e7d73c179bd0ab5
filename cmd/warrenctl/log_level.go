package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

// setLogLevelCommand is rabbitmqctl's, but that a node may be named.
func (o *options) setLogLevelCommand() *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "set_log_level LEVEL [NODE]",
		Short: "Set the least important log line that a node writes: debug, info, warning or error",
		Long: `Set the least important log line that a node, given by name or id, or the one that answers, writes: debug, info, warning or error.
It holds until the node's settings are read again or it is restarted: log_level in the file of settings stays as it is.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			if all && len(args) > 1 {
				return usageError("name a node or say --all-nodes")
			}
			o.banner("Setting log level \"%s\" ...", args[0])
			nodes, err := o.logNodes(ctx, args[1:], all)
			if err != nil {
				return err
			}
			for _, node := range nodes {
				if err := o.put(ctx, path("cluster", "nodes", node, "log-level"), map[string]any{"level": args[0]}); err != nil {
					return nameMissing(err, "the cluster has no node %s", node)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all-nodes", false, "on all nodes that run")
	return cmd
}

// logNodes returns the nodes that are meant.
func (o *options) logNodes(ctx context.Context, args []string, all bool) ([]string, error) {
	if !all {
		node, _, err := o.target(ctx, args)
		return []string{node}, err
	}
	var list []struct {
		Name    string `json:"name"`
		Running bool   `json:"running"`
	}
	if err := o.get(ctx, path("nodes")+"?columns=name,running", &list); err != nil {
		return nil, err
	}
	var names []string
	for _, n := range list {
		if n.Running {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return nil, &exitError{code: exitUnavailable, err: errors.New("no node of the cluster runs")}
	}
	return names, nil
}
