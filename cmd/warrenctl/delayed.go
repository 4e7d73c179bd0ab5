package main

import (
	"net/http"

	"github.com/spf13/cobra"
)

var listDelayed = list{
	name:   "list_delayed",
	short:  "List messages that are delayed, those that are due first (1,000 at most)",
	path:   func(vhost string) string { return path("delayed", vhost) },
	banner: func(o *options) { o.banner("Listing delayed messages for vhost %s ...", o.vhost) },
	columns: []column{
		col("id"), col("due_at"), col("due"), col("delay"), col("exchange"), col("routing_key"), col("bytes"), col("vhost"),
	},
	defaults: []string{"id", "due_at", "exchange", "routing_key", "bytes"},
}

func (o *options) cancelDelayedCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel_delayed ID",
		Short: "Drop a delayed message before it is routed",
		Long:  "Drop a delayed message, given by its id as in 'warrenctl list_delayed', before it is routed.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Cancelling delayed message %s in vhost '%s' ...", args[0], o.vhost)
			_, _, err := o.do(ctx, http.MethodDelete, path("delayed", o.vhost, args[0]), nil)
			return nameMissing(err, "there is no delayed message %s in vhost '%s'", args[0], o.vhost)
		},
	}
}
