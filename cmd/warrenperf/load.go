package main

import (
	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/load"
)

func rootCommand() *cobra.Command {
	var s settings
	var out output
	cmd := &cobra.Command{
		Use:   "warrenperf",
		Short: "Make load on an AMQP 0-9-1 broker and measure it",
		Long: `Make load on an AMQP 0-9-1 broker and measure rates and latencies.

Producers publish into queues and consumers take from them, each on a connection of its
own. A line a second tells how it goes; the summary holds rates, percentiles of the time
from publish to confirm and from publish to delivery, and what the generator and the
brokers used of the machine. Options are named as those of RabbitMQ's PerfTest where it
has them.`,
		Example: `  warrenperf --producers 2 --consumers 2 --size 1024 --confirm 1000 --qos 2000 --multi-ack-every 100 --quorum-queue --flag persistent
  warrenperf --uris amqp://n1,amqp://n2,amqp://n3 --rate 50 --producers 2 --confirm 100 --time 60 --verify
  warrenperf --consumers 0 --confirm 1000 --time 10           publish only
  warrenperf --fan-out 5 --consumers 5 --size 256 --confirm 1000`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.timeUnlessCounted(cmd, "pmessages", "cmessages")
			if err := s.parse(); err != nil {
				return err
			}
			report, err := load.Run(cmd.Context(), s.Options, out.progress(cmd))
			return out.finish(cmd, report, report != nil, err)
		},
	}
	s.common(cmd)
	s.messages(cmd)
	s.timed(cmd, 10)
	s.warm(cmd)
	s.counts(cmd)
	s.topology(cmd)
	out.flags(cmd)
	cmd.AddCommand(backlogCommand(), rpcCommand(), declareCommand(), suiteCommand(), growthCommand())
	return cmd
}
