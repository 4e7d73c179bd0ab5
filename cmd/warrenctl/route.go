package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func (o *options) routeCommand() *cobra.Command {
	var headers string
	l := list{
		name: "route",
		columns: []column{
			col("why"), col("source_name", "source"), col("destination_name", "destination"), col("destination_kind", "destination_type"),
			col("routing_key"), col("arguments"),
		},
		defaults: []string{"why", "source_name", "destination_name", "destination_kind", "routing_key", "arguments"},
	}
	cmd := &cobra.Command{
		Use:   "route EXCHANGE KEY [COLUMN...]",
		Short: "Tell where a message would go, and why",
		Long: `Tell where a message with routing key KEY would go that is published to EXCHANGE ("" or amq.default is the default one), and why. Nothing is published.

A step is taken by a "binding" that matches, as the "default" exchange knows a queue of that name, to an "alternate" exchange as nothing else
matched, or by "chance" where an exchange gives each message to one of several.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			columns, err := l.choose(args[2:])
			if err != nil {
				return err
			}
			exchange := args[0]
			if exchange == "" {
				exchange = "amq.default"
			}
			properties := map[string]json.RawMessage{}
			if headers != "" {
				if properties["headers"], err = parseValue(headers); err != nil {
					return err
				}
			}
			content, err := json.Marshal(map[string]any{"routing_key": args[1], "properties": properties})
			if err != nil {
				return err
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Routing a message with key '%s' from exchange '%s' in vhost '%s' ...", args[1], args[0], o.vhost)
			answer, _, err := o.send(ctx, http.MethodPost, path("exchanges", o.vhost, exchange, "route"), http.Header{"Content-Type": {"application/json"}}, content)
			if err != nil {
				return nameMissing(err, "Exchange '%s' in vhost '%s' does not exist", args[0], o.vhost)
			}
			var way struct {
				Queues []any            `json:"queues"`
				Hops   []map[string]any `json:"hops"`
			}
			if err := json.Unmarshal(answer, &way); err != nil {
				return &exitError{code: exitSoftware, err: fmt.Errorf("route: %w", err)}
			}
			if err := o.print(fill(columns, way.Hops)); err != nil {
				return err
			}
			if len(way.Queues) == 0 {
				o.banner("No queue gets it.")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&headers, "headers", "", "headers of the message: `JSON`, like '{\"tenant\": 7}'")
	return cmd
}
