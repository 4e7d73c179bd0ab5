package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (o *options) traceCommands() []*cobra.Command {
	return []*cobra.Command{
		o.traceCommand("trace_on", "Copy all messages of a virtual host to its exchange amq.rabbitmq.trace (the firehose)", "Starting tracing", "enabled", true),
		o.traceCommand("trace_off", "Stop copying the messages of a virtual host", "Stopping tracing", "disabled", false),
	}
}

func (o *options) traceCommand(name, short, doing, done string, on bool) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(`%s for vhost "%s" ...`, doing, o.vhost)
			if err := o.hasVHost(ctx, o.vhost); err != nil {
				return noVHost(err, o.vhost)
			}
			if err := o.put(ctx, path("vhosts", o.vhost), map[string]any{"tracing": on}); err != nil {
				return err
			}
			_, err := fmt.Fprintf(o.out, "Trace %s for vhost %s\n", done, o.vhost)
			return err
		},
	}
}
