package main

import (
	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/load"
)

func rpcCommand() *cobra.Command {
	var s settings
	var o load.RPCOptions
	var out output
	cmd := &cobra.Command{
		Use:   "rpc",
		Short: "Call and answer, as in RabbitMQ's tutorial on RPC",
		Long: `Call and answer, as in RabbitMQ's tutorial on RPC: a client sends a request with the
name of its reply queue, a server takes it with a prefetch count of 1, replies and
acknowledges, and the client sends the next one. What is measured is the round trip.

The reply queue is exclusive to the client, or with --direct-reply-to the pseudo-queue
amq.rabbitmq.reply-to.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.timeUnlessCounted(cmd, "calls")
			if err := s.parse(); err != nil {
				return err
			}
			o.Options = s.Options
			report, err := load.RPC(cmd.Context(), o, out.progress(cmd))
			return out.finish(cmd, report, report != nil, err)
		},
	}
	s.common(cmd)
	f := cmd.Flags()
	f.IntVar(&o.Clients, "clients", 1, "`N` clients")
	f.IntVar(&o.Servers, "servers", 1, "`N` servers of one request queue")
	f.BoolVar(&o.DirectReplyTo, "direct-reply-to", false, "reply to amq.rabbitmq.reply-to in place of an exclusive queue")
	f.Uint64Var(&o.Calls, "calls", 0, "`N` calls a client, then stop")
	f.StringVarP(&s.Queue, "queue", "u", "warrenperf-rpc", "`NAME` of the request queue")
	f.IntVarP(&s.Size, "size", "s", 16, "`BYTES` of request and reply")
	f.Float64VarP(&s.Rate, "rate", "r", 0, "at most `N` calls a second and client; 0 for one behind the other")
	s.timed(cmd, 10)
	s.warm(cmd)
	s.queueKind(cmd)
	out.flags(cmd)
	return cmd
}
