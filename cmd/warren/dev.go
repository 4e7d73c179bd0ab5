package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"warren/cmd/warren/internal/dev"
)

func devCommand() *cobra.Command {
	cfg := dev.Config{
		Nodes: 3, DataDir: "warren-dev",
		AMQPPort: 5672, HTTPPort: 15672, ClusterPort: 7900,
		User: "guest", Password: "guest",
	}
	cmd := &cobra.Command{
		Use:   "dev [flags] [-- flags of every node's serve]",
		Short: "Run a cluster of node processes on this machine",
		Long: `Run a cluster of node processes on this machine, for trying things out: node i
listens on each port + i of 127.0.0.1. It tells who leads, and takes commands on its
standard input: status, kill N, stop N, restart N, quit.

All nodes stop with it. Their data stays in --data-dir for the next start.`,
		Example: `  warren dev
  warren dev --nodes 5 --data-dir /tmp/five -- --log-level debug`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return fmt.Errorf("unexpected argument %q: flags for the nodes stand behind --", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			exe, err := os.Executable()
			if err != nil {
				return &exitError{exitFailure, err}
			}
			cfg.Executable, cfg.ServeArgs = exe, args
			cfg.In, cfg.Out = cmd.InOrStdin(), cmd.OutOrStdout()
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			// A second signal ends dev at once, and the nodes with it.
			go func() { <-ctx.Done(); stop() }()
			if err := dev.Run(ctx, cfg); err != nil {
				return &exitError{exitFailure, err}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&cfg.Nodes, "nodes", cfg.Nodes, "how many nodes, `N` from 1 to 9")
	f.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "`DIR` for a data directory and a log file of each node; made when missing")
	f.IntVar(&cfg.AMQPPort, "amqp-port", cfg.AMQPPort, "`PORT` of node 0 for AMQP clients")
	f.IntVar(&cfg.HTTPPort, "http-port", cfg.HTTPPort, "`PORT` of node 0 for HTTP")
	f.IntVar(&cfg.ClusterPort, "cluster-port", cfg.ClusterPort, "`PORT` of node 0 for the other nodes")
	f.StringVar(&cfg.User, "user", cfg.User, "`NAME` to ask the nodes who leads")
	f.StringVar(&cfg.Password, "password", cfg.Password, "`PASSWORD` of that user")
	return cmd
}
