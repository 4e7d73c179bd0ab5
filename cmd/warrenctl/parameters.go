package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

func (o *options) parameterCommands() []*cobra.Command {
	return []*cobra.Command{
		o.setParameterCommand(), o.clearParameterCommand(), o.setGlobalCommand(), o.clearGlobalCommand(), o.setClusterNameCommand(),
	}
}

// parseValue reads the value of a parameter as operators give it.
func parseValue(text string) (json.RawMessage, error) {
	var value json.RawMessage
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return nil, dataError("Could not parse JSON document: %w", err)
	}
	return value, nil
}

func (o *options) setParameterCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_parameter COMPONENT NAME VALUE",
		Short: "Set a runtime parameter of a virtual host",
		Long: `Set a runtime parameter of the virtual host of -p. VALUE is JSON; - reads it from the standard input: other users of the machine can see
the arguments of a process, and in the URIs of shovels there are passwords.

Components are shovel, federation-upstream, federation-upstream-set, operator_policy and vhost-limits.`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			text, shown := args[2], args[2]
			if text == "-" {
				b, err := io.ReadAll(cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("read the value: %w", err)
				}
				text, shown = string(b), "what the standard input holds"
			}
			o.banner(`Setting runtime parameter "%s" for component "%s" to "%s" in vhost "%s" ...`, args[1], args[0], shown, o.vhost)
			value, err := parseValue(text)
			if err != nil {
				return err
			}
			return noVHost(o.put(ctx, path("parameters", args[0], o.vhost, args[1]), map[string]any{"value": value}), o.vhost)
		},
	}
}

func (o *options) clearParameterCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear_parameter COMPONENT NAME",
		Short: "Remove a runtime parameter of a virtual host",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(`Clearing runtime parameter "%s" for component "%s" on vhost "%s" ...`, args[1], args[0], o.vhost)
			return nameMissing(o.tell(ctx, http.MethodDelete, path("parameters", args[0], o.vhost, args[1]), nil), "Parameter does not exist")
		},
	}
}

func (o *options) setGlobalCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_global_parameter NAME VALUE",
		Short: "Set a parameter of the whole cluster",
		Long:  "Set a parameter of the whole cluster. VALUE is JSON.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(`Setting global runtime parameter "%s" to "%s" ...`, args[0], args[1])
			value, err := parseValue(args[1])
			if err != nil {
				return err
			}
			return o.put(ctx, path("global-parameters", args[0]), map[string]any{"value": value})
		},
	}
}

func (o *options) clearGlobalCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear_global_parameter NAME",
		Short: "Remove a parameter of the whole cluster",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(`Clearing global runtime parameter "%s" ...`, args[0])
			return nameMissing(o.tell(ctx, http.MethodDelete, path("global-parameters", args[0]), nil), "Parameter does not exist")
		},
	}
}

func (o *options) setClusterNameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_cluster_name NAME",
		Short: "Name the cluster; clients that connect from now on see it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Setting cluster name to %s ...", args[0])
			return o.put(ctx, path("cluster-name"), map[string]any{"name": args[0]})
		},
	}
}

var listParameters = list{
	name:    "list_parameters",
	short:   "List runtime parameters of a virtual host",
	path:    func(string) string { return path("parameters") },
	ofVHost: true,
	banner:  func(o *options) { o.banner(`Listing runtime parameters for vhost "%s" ...`, o.vhost) },
	columns: []column{
		col("component"), col("name"), {name: "value", paths: []string{"value"}, document: true}, col("vhost"),
	},
	defaults: []string{"component", "name", "value"},
}

var listGlobalParameters = list{
	name:     "list_global_parameters",
	short:    "List parameters of the whole cluster",
	path:     func(string) string { return path("global-parameters") },
	banner:   func(o *options) { o.banner("Listing global runtime parameters ...") },
	columns:  []column{col("name"), {name: "value", paths: []string{"value"}, document: true}},
	defaults: []string{"name", "value"},
}
