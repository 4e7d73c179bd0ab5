package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/spf13/cobra"
)

func (o *options) limitCommands() []*cobra.Command {
	return []*cobra.Command{
		o.setVHostLimitsCommand(), o.clearVHostLimitsCommand(), o.listVHostLimitsCommand(),
		o.setUserLimitsCommand(), o.clearUserLimitsCommand(), o.listUserLimitsCommand(),
	}
}

// parseLimits reads limits as operators give them: {"max-queues": 10}.
func parseLimits(text string) (map[string]json.RawMessage, error) {
	var limits map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &limits); err != nil {
		return nil, dataError("Could not parse JSON document: %w", err)
	}
	return limits, nil
}

func (o *options) setVHostLimitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_vhost_limits DEFINITION",
		Short: "Set the limits of a virtual host, instead of those that it has",
		Long: `Set the limits of the virtual host of -p, instead of those that it has.

The definition is a JSON object with max-connections, max-queues or both, like '{"max-queues": 100}'.
A negative number means no limit.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(`Setting vhost limits to "%s" for vhost "%s" ...`, args[0], o.vhost)
			limits, err := parseLimits(args[0])
			if err != nil {
				return err
			}
			err = o.tell(ctx, http.MethodPut, path("parameters", "vhost-limits", o.vhost, "limits"), map[string]any{"value": limits})
			return noVHost(err, o.vhost)
		},
	}
}

func (o *options) clearVHostLimitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear_vhost_limits",
		Short: "Lift all limits of a virtual host",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(`Clearing vhost "%s" limits ...`, o.vhost)
			err := o.tell(ctx, http.MethodDelete, path("parameters", "vhost-limits", o.vhost, "limits"), nil)
			return nameMissing(err, "Parameter does not exist")
		},
	}
}

func (o *options) listVHostLimitsCommand() *cobra.Command {
	var global bool
	cmd := &cobra.Command{
		Use:   "list_vhost_limits",
		Short: "List the limits of a virtual host, or with --global of all that have some",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if global {
				o.banner("Listing limits for all vhosts ...")
				return o.printLimits(cmd, "vhost", path("vhost-limits"))
			}
			o.banner(`Listing limits for vhost "%s" ...`, o.vhost)
			return noVHost(o.printLimit(cmd, path("vhost-limits", o.vhost)), o.vhost)
		},
	}
	cmd.Flags().BoolVar(&global, "global", false, "of all virtual hosts")
	return cmd
}

// limited is what has limits.
type limited struct {
	VHost string          `json:"vhost"`
	User  string          `json:"user"`
	Value json.RawMessage `json:"value"`
}

func (o *options) limits(cmd *cobra.Command, path string) ([]limited, error) {
	ctx, cancel := o.deadline(cmd.Context())
	defer cancel()
	var all []limited
	err := o.get(ctx, path, &all)
	return all, err
}

// printLimits prints a table of vhosts or users with their limits.
func (o *options) printLimits(cmd *cobra.Command, of, path string) error {
	all, err := o.limits(cmd, path)
	if err != nil {
		return err
	}
	t := &table{columns: []string{of, "limits"}}
	for _, l := range all {
		name := l.VHost
		if of == "user" {
			name = l.User
		}
		t.rows = append(t.rows, []any{name, string(l.Value)})
	}
	return o.print(t)
}

// printLimit prints the limits of one vhost or user as a JSON object; nothing when it has none.
func (o *options) printLimit(cmd *cobra.Command, path string) error {
	all, err := o.limits(cmd, path)
	if err != nil {
		return err
	}
	text := ""
	switch {
	case len(all) > 0:
		text = string(all[0].Value)
	case o.isJSON():
		text = "{}"
	}
	_, err = fmt.Fprintln(o.out, text)
	return err
}

func noUser(err error, name string) error {
	return nobody(nameMissing(err, "User '%s' does not exist", name))
}

func (o *options) setUserLimitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_user_limits USER DEFINITION",
		Short: "Set limits of a user; those that are not named stay",
		Long: `Set limits of a user; those that are not named stay.

The definition is a JSON object with max-connections, max-channels or both, like '{"max-channels": 100}'.
A negative number means no limit.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner(`Setting user limits to "%s" for user "%s" ...`, args[1], args[0])
			return o.setUserLimits(ctx, args[0], args[1])
		},
	}
}

func (o *options) setUserLimits(ctx context.Context, user, definition string) error {
	limits, err := parseLimits(definition)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(limits))
	for _, name := range names { // before any is set
		if name != "max-connections" && name != "max-channels" {
			return dataError("Unrecognised terms [{<<%q>>,%s}] in user-limits", name, limits[name])
		}
	}
	for _, name := range names {
		err := o.tell(ctx, http.MethodPut, path("user-limits", user, name), map[string]any{"value": limits[name]})
		if err != nil {
			return noUser(err, user)
		}
	}
	return nil
}

func (o *options) clearUserLimitsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear_user_limits USER LIMIT",
		Short: "Lift a limit of a user: max-connections, max-channels or all",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			what := fmt.Sprintf("%q limit", args[1])
			if args[1] == "all" {
				what = "all limits"
			}
			o.banner(`Clearing %s for user "%s" ...`, what, args[0])
			return noUser(o.tell(ctx, http.MethodDelete, path("user-limits", args[0], args[1]), nil), args[0])
		},
	}
}

func (o *options) listUserLimitsCommand() *cobra.Command {
	var global bool
	var user string
	cmd := &cobra.Command{
		Use:   "list_user_limits",
		Short: "List the limits of a user, or with --global of all that have some",
		Long: `List the limits of a user, or with --global of all that have some.

As with rabbitmqctl, --user names whose limits to list here; WARRENCTL_USER names whom to log in as.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if global {
				o.banner("Listing limits for all users ...")
				return o.printLimits(cmd, "user", path("user-limits"))
			}
			o.banner(`Listing limits for user "%s" ...`, user)
			return noUser(o.printLimit(cmd, path("user-limits", user)), user)
		},
	}
	cmd.Flags().BoolVar(&global, "global", false, "of all users")
	cmd.Flags().StringVar(&user, "user", "guest", "`NAME` of the user whose limits to list")
	return cmd
}
