package main

import (
	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/load"
)

func declareCommand() *cobra.Command {
	var s settings
	var out output
	cmd := &cobra.Command{
		Use:   "declare",
		Short: "Declare queues, and delete them again",
		Long: `Declare queues one behind the other on each connection, and measure how many a second;
then delete them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.timeUnlessCounted(cmd, "count")
			if err := s.parse(); err != nil {
				return err
			}
			report, err := load.Declarations(cmd.Context(), s.Options)
			return out.finish(cmd, report, report != nil, err)
		},
	}
	s.common(cmd)
	f := cmd.Flags()
	f.IntVarP(&s.Producers, "connections", "x", 1, "`N` connections")
	f.Uint64Var(&s.PMessages, "count", 0, "declare `N` queues a connection, then stop")
	f.StringVar(&s.QueuePattern, "queue-pattern", "warrenperf-declare-%d", "`PATTERN` of the queues' names; %d is their number")
	s.timed(cmd, 10)
	s.queueKind(cmd)
	out.flags(cmd)
	return cmd
}
