package main

import (
	"bufio"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/load"
)

func backlogCommand() *cobra.Command {
	var s settings
	var out output
	var pause bool
	messages := uint64(200_000)
	cmd := &cobra.Command{
		Use:   "backlog",
		Short: "Fill queues with messages, then drain them",
		Long: `Fill queues with messages, then drain them, and measure both. The fill ends with the
last confirm; no consumer is there before it. With --pause the drain waits for a line on
standard input: time to do something to the broker.`,
		Example: `  warrenperf backlog --messages 200000 --producers 2 --consumers 2 --size 1024 --confirm 1000 --qos 2000 --multi-ack-every 100`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.parse(); err != nil {
				return err
			}
			var stands func(context.Context) error
			if pause {
				stands = func(ctx context.Context) error { return awaitLine(ctx, cmd) }
			}
			report, err := load.Backlog(cmd.Context(), s.Options, messages, out.progress(cmd), stands)
			return out.finish(cmd, report, report != nil, err)
		},
	}
	s.common(cmd)
	cmd.Flags().Uint64Var(&messages, "messages", messages, "`N` messages of all producers together")
	cmd.Flags().BoolVar(&pause, "pause", false, "wait for a line on standard input before the drain")
	s.messages(cmd)
	s.topology(cmd)
	// Without confirms nobody knows when the backlog is there.
	cmd.Flags().Lookup("confirm").DefValue = "1000"
	s.Confirm = 1000
	out.flags(cmd)
	return cmd
}

// awaitLine tells that the backlog stands, and waits for a line.
func awaitLine(ctx context.Context, cmd *cobra.Command) error {
	fmt.Fprintln(cmd.ErrOrStderr(), "The backlog stands. A line on standard input begins the drain.")
	line := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		line <- err
	}()
	select {
	case err := <-line:
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err() // the process ends, and the read with it
	}
}
