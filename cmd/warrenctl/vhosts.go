package main

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

var listVHosts = list{
	name:   "list_vhosts",
	short:  "List virtual hosts",
	path:   func(string) string { return path("vhosts") },
	banner: func(o *options) { o.banner("Listing vhosts ...") },
	columns: []column{
		col("name"), col("tracing"), col("description"), {name: "tags", paths: []string{"tags"}, atoms: true},
		col("default_queue_type"), col("protected_from_deletion"), col("cluster_state"), col("metadata"),
		col("messages"), col("messages_ready"), col("messages_unacknowledged"),
	},
	defaults: []string{"name"},
}

func (o *options) vhostCommands() []*cobra.Command {
	return []*cobra.Command{
		o.addVHostCommand(), o.deleteVHostCommand(), o.updateVHostCommand(), o.vhostTagsCommand(),
		o.protectionCommand(true), o.protectionCommand(false),
	}
}

// metadata are the flags of commands that describe a vhost.
type metadata struct {
	description, tags, kind string
}

// queueTypes are the types that a vhost's queues can have.
var queueTypes = []string{"classic", "quorum"}

func (m *metadata) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&m.description, "description", "d", "", "`TEXT` that says what it is for")
	f.StringVar(&m.tags, "tags", "", "`TAGS`, separated by commas")
	f.StringVar(&m.kind, "default-queue-type", "", "`TYPE` of queues that are declared without one: "+strings.Join(queueTypes, ", "))
}

// body has the fields whose flags were given.
func (m *metadata) body(cmd *cobra.Command) (map[string]any, error) {
	body := map[string]any{}
	if cmd.Flags().Changed("description") {
		body["description"] = m.description
	}
	if cmd.Flags().Changed("tags") {
		body["tags"] = m.tags
	}
	if cmd.Flags().Changed("default-queue-type") {
		if !slices.Contains(queueTypes, m.kind) {
			return nil, usageError("Default queue type must be one of: %s. Provided: %s", strings.Join(queueTypes, ", "), m.kind)
		}
		body["default_queue_type"] = m.kind
	}
	return body, nil
}

func noVHost(err error, name string) error {
	return nameMissing(err, "Virtual host '%s' does not exist", name)
}

// hasVHost is nil when there is such a vhost.
func (o *options) hasVHost(ctx context.Context, name string) error {
	_, _, err := o.do(ctx, http.MethodGet, path("vhosts", name)+"?columns=name", nil)
	return err
}

func (o *options) addVHostCommand() *cobra.Command {
	var m metadata
	cmd := &cobra.Command{
		Use:   "add_vhost VHOST",
		Short: "Make a virtual host; one that is there is left as it is",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := m.body(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Adding vhost %q ...", args[0])
			if err := o.hasVHost(ctx, args[0]); !isMissing(err) {
				return err
			}
			return o.tell(ctx, http.MethodPut, path("vhosts", args[0]), body)
		},
	}
	m.flags(cmd)
	return cmd
}

func (o *options) deleteVHostCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete_vhost VHOST",
		Short: "Delete a virtual host with all that is in it, and close its connections",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Deleting vhost %q ...", args[0])
			return noVHost(o.tell(ctx, http.MethodDelete, path("vhosts", args[0]), nil), args[0])
		},
	}
}

func (o *options) updateVHostCommand() *cobra.Command {
	var m metadata
	cmd := &cobra.Command{
		Use:   "update_vhost_metadata VHOST",
		Short: "Change description, tags or default queue type of a virtual host",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := m.body(cmd)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usageError("not enough arguments: say what to change, by --description, --tags or --default-queue-type")
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Updating metadata of vhost %q ...", args[0])
			return o.updateVHost(ctx, args[0], body)
		},
	}
	m.flags(cmd)
	return cmd
}

// updateVHost changes a vhost that is there.
func (o *options) updateVHost(ctx context.Context, name string, body map[string]any) error {
	if err := o.hasVHost(ctx, name); err != nil {
		return noVHost(err, name)
	}
	return o.tell(ctx, http.MethodPut, path("vhosts", name), body)
}

func (o *options) vhostTagsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_vhost_tags VHOST TAG...",
		Short: "Set the tags of a virtual host",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Setting tags for virtual host %q to [%s] ...", args[0], strings.Join(args[1:], ", "))
			return o.updateVHost(ctx, args[0], map[string]any{"tags": args[1:]})
		},
	}
}

// protectionCommand protects a vhost from deletion, or ends that.
func (o *options) protectionCommand(enable bool) *cobra.Command {
	verb, method := "disable", http.MethodDelete
	short, banner := "Let a virtual host be deleted again", "Removing virtual host %q protection from removal by updating its metadata..."
	if enable {
		verb, method = "enable", http.MethodPost
		short, banner = "Protect a virtual host from deletion", "Protecting virtual host %q from removal by updating its metadata..."
	}
	return &cobra.Command{
		Use:     verb + "_vhost_deletion_protection VHOST",
		Aliases: []string{verb + "_vhost_protection_from_deletion"},
		Short:   short,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(banner, args[0])
			return noVHost(o.tell(ctx, method, path("vhosts", args[0], "deletion", "protection"), nil), args[0])
		},
	}
}
