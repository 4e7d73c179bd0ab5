package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func (o *options) connectionCommands() []*cobra.Command {
	return []*cobra.Command{o.closeConnectionCommand(), o.closeAllCommand(), o.closeUserCommand()}
}

func (o *options) closeConnectionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "close_connection NAME REASON",
		Short: "Close a client connection",
		Long:  "Close a client connection, given by its name as in 'warrenctl list_connections name'. The client is told the reason.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Closing connection %s, reason: %s...", args[0], args[1])
			return nameMissing(o.closeConnection(ctx, args[0], args[1]), "there is no connection %s", args[0])
		},
	}
}

func (o *options) closeConnection(ctx context.Context, name, reason string) error {
	_, _, err := o.do(ctx, http.MethodDelete, path("connections", name), http.Header{"X-Reason": {reason}})
	return err
}

// closeAll are the flags of close_all_connections.
type closeAll struct {
	global       bool
	limit, delay int // connections, milliseconds
}

func (o *options) closeAllCommand() *cobra.Command {
	var c closeAll
	cmd := &cobra.Command{
		Use:   "close_all_connections REASON",
		Short: "Close the client connections of a virtual host, or with --global all",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.limit < 0 || c.delay < 0 {
				return usageError("--limit and --per-connection-delay cannot be negative")
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			switch {
			case c.global:
				o.banner("Closing all connections of all nodes, reason: %s...", args[0])
			case c.limit == 0:
				o.banner("Closing all connections in vhost %s, reason: %s...", o.vhost, args[0])
			default:
				o.banner("Closing %d connections in vhost %s, reason: %s...", c.limit, o.vhost, args[0])
			}
			n, err := o.closeAll(ctx, c, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(o.out, "Closed %d connections\n", n)
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&c.global, "global", false, "of all virtual hosts, on all nodes")
	f.IntVar(&c.limit, "limit", 0, "close `N` at most; 0: all")
	f.IntVar(&c.delay, "per-connection-delay", 0, "wait `MILLISECONDS` behind each")
	return cmd
}

// closeAll closes connections and returns how many there were.
func (o *options) closeAll(ctx context.Context, c closeAll, reason string) (int, error) {
	from := path("vhosts", o.vhost, "connections")
	if c.global {
		from = path("connections")
	}
	var all []struct{ Name string }
	if err := o.get(ctx, from+"?columns=name", &all); err != nil {
		return 0, noVHost(err, o.vhost)
	}
	if c.limit > 0 && c.limit < len(all) {
		all = all[:c.limit]
	}
	n, progress := 0, o.progress()
	for i, conn := range all {
		progress.tell("%d of %d connections were closed so far", n, len(all))
		if i > 0 && c.delay > 0 {
			select {
			case <-time.After(time.Duration(c.delay) * time.Millisecond):
			case <-ctx.Done():
				return n, timeError(ctx, o.timeout, o.nodes[0])
			}
		}
		err := o.closeConnection(ctx, conn.Name, reason)
		switch {
		case err == nil:
			n++
		case !isMissing(err): // who has left already is fine
			return n, err
		}
	}
	return n, nil
}

func (o *options) closeUserCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "close_all_user_connections USER REASON",
		Short: "Close the client connections of a user, on all nodes",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Closing connections of user %s, reason: %s...", args[0], args[1])
			_, _, err := o.do(ctx, http.MethodDelete, path("connections", "username", args[0]), http.Header{"X-Reason": {args[1]}})
			return err
		},
	}
}
