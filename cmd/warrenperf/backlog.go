package main

import (
	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/load"
)

func backlogCommand() *cobra.Command {
	var s settings
	var out output
	messages := uint64(200_000)
	cmd := &cobra.Command{
		Use:   "backlog",
		Short: "Fill queues with messages, then drain them",
		Long: `Fill queues with messages, then drain them, and measure both. The fill ends with the
last confirm; no consumer is there before it.`,
		Example: `  warrenperf backlog --messages 200000 --producers 2 --consumers 2 --size 1024 --confirm 1000 --qos 2000 --multi-ack-every 100`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.parse(); err != nil {
				return err
			}
			report, err := load.Backlog(cmd.Context(), s.Options, messages, out.progress(cmd))
			return out.finish(cmd, report, report != nil, err)
		},
	}
	s.common(cmd)
	cmd.Flags().Uint64Var(&messages, "messages", messages, "`N` messages of all producers together")
	s.messages(cmd)
	s.topology(cmd)
	// Without confirms nobody knows when the backlog is there.
	cmd.Flags().Lookup("confirm").DefValue = "1000"
	s.Confirm = 1000
	out.flags(cmd)
	return cmd
}
