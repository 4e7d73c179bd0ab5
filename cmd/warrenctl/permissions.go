package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

var listUsers = list{
	name:     "list_users",
	short:    "List users and their tags",
	path:     func(string) string { return path("users") },
	banner:   func(o *options) { o.banner("Listing users ...") },
	columns:  []column{col("user", "name"), {name: "tags", paths: []string{"tags"}, atoms: true}},
	defaults: []string{"user", "tags"},
}

var listPermissions = list{
	name:     "list_permissions",
	short:    "List what users may do in a vhost",
	path:     func(vhost string) string { return path("vhosts", vhost, "permissions") },
	banner:   func(o *options) { o.banner("Listing permissions for vhost \"%s\" ...", o.vhost) },
	columns:  []column{col("user"), col("configure"), col("write"), col("read")},
	defaults: []string{"user", "configure", "write", "read"},
}

var listTopicPermissions = list{
	name:     "list_topic_permissions",
	short:    "List which routing keys users may use in a vhost",
	path:     func(vhost string) string { return path("vhosts", vhost, "topic-permissions") },
	banner:   func(o *options) { o.banner("Listing topic permissions for vhost \"%s\" ...", o.vhost) },
	columns:  []column{col("user"), col("exchange"), col("write"), col("read")},
	defaults: []string{"user", "exchange", "write", "read"},
}

// listOfUser are the lists about one user, who is an argument.
func (o *options) listOfUser(name, short, banner, resource string, columns ...string) *cobra.Command {
	var cols []column
	for _, c := range columns {
		cols = append(cols, col(c))
	}
	return &cobra.Command{
		Use:   name + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o.banner(banner, args[0])
			var items []map[string]any
			if err := o.get(ctx, path("users", args[0], resource), &items); err != nil {
				return userMissing(err, args[0])
			}
			return o.print(fill(cols, items))
		}),
	}
}

func (o *options) permissionCommands() []*cobra.Command {
	return []*cobra.Command{
		o.setPermissionsCommand(), o.clearPermissionsCommand(), o.setTopicPermissionsCommand(), o.clearTopicPermissionsCommand(),
		o.listOfUser("list_user_permissions", "List what a user may do in each vhost",
			"Listing permissions for user \"%s\" ...", "permissions", "vhost", "configure", "write", "read"),
		o.listOfUser("list_user_topic_permissions", "List which routing keys a user may use in each vhost",
			"Listing topic permissions for user \"%s\" ...", "topic-permissions", "vhost", "exchange", "write", "read"),
	}
}

// userOrVHostMissing tells which of the two a request named that is not there.
func (o *options) userOrVHostMissing(ctx context.Context, err error, user string) error {
	if err == nil {
		return nil
	}
	if _, _, e := o.do(ctx, http.MethodGet, path("users", user), nil); e != nil {
		return userMissing(e, user)
	}
	if _, _, e := o.do(ctx, http.MethodGet, path("vhosts", o.vhost), nil); e != nil {
		return nameMissing(e, "Virtual host '%s' does not exist", o.vhost)
	}
	return err
}

func (o *options) setPermissionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_permissions NAME CONFIGURE WRITE READ",
		Short: "Set what a user may do in a vhost, by regular expressions of names",
		Long: `Set what a user may do in the vhost of --vhost, in place of what it might do before: declare and
delete (CONFIGURE), publish to exchanges and bind to them (WRITE), consume from queues and
bind from exchanges (READ), each where the name matches a regular expression. '' is nothing.`,
		Args: cobra.ExactArgs(4),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o.banner("Setting permissions for user \"%s\" in vhost \"%s\" ...", args[0], o.vhost)
			body := object{"configure": args[1], "write": args[2], "read": args[3]}
			_, err := o.sendJSON(ctx, http.MethodPut, path("permissions", o.vhost, args[0]), body, nil)
			return o.userOrVHostMissing(ctx, err, args[0])
		}),
	}
}

func (o *options) clearPermissionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear_permissions NAME",
		Short: "Ban a user from a vhost",
		Args:  cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o.banner("Clearing permissions for user \"%s\" in vhost \"%s\" ...", args[0], o.vhost)
			return o.cleared(ctx, path("permissions", o.vhost, args[0]), args[0])
		}),
	}
}

// cleared deletes a resource of a user and the vhost; it is fine when it is not there.
func (o *options) cleared(ctx context.Context, path, user string) error {
	_, _, err := o.do(ctx, http.MethodDelete, path, nil)
	if nameMissing(err, "") == err {
		return err // nothing, or another error than 404
	}
	if missing := o.userOrVHostMissing(ctx, err, user); missing != err {
		return missing
	}
	return nil
}

func (o *options) setTopicPermissionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_topic_permissions NAME EXCHANGE WRITE READ",
		Short: "Restrict the routing keys that a user may use with a topic exchange",
		Long: `Restrict the routing keys with which a user may publish to a topic exchange (WRITE) and bind from
it (READ), by regular expressions, in which {username} and {vhost} stand for the user's.`,
		Args: cobra.ExactArgs(4),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o.banner("Setting topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...", args[1], args[0], o.vhost)
			body := object{"exchange": args[1], "write": args[2], "read": args[3]}
			_, err := o.sendJSON(ctx, http.MethodPut, path("topic-permissions", o.vhost, args[0]), body, nil)
			return o.userOrVHostMissing(ctx, err, args[0])
		}),
	}
}

func (o *options) clearTopicPermissionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear_topic_permissions NAME [EXCHANGE]",
		Short: "Lift the restriction of routing keys for an exchange, or for all of a vhost",
		Args:  cobra.RangeArgs(1, 2),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			segments := []string{"topic-permissions", o.vhost, args[0]}
			if len(args) > 1 {
				o.banner("Clearing topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...", args[1], args[0], o.vhost)
				segments = append(segments, args[1])
			} else {
				o.banner("Clearing topic permissions for user \"%s\" in vhost \"%s\" ...", args[0], o.vhost)
			}
			return o.cleared(ctx, path(segments...), args[0])
		}),
	}
}
