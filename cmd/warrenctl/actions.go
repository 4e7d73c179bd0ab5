package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func (o *options) transferCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "transfer_leadership [NODE]",
		Short: "Have another node lead",
		Long: `Have another node lead: the one given by name or id, or one that is alive. It must be a voter.

A node that is stopped in order hands leadership over by itself.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			var to struct {
				Node string `json:"node,omitempty"`
			}
			if len(args) > 0 {
				to.Node = args[0]
			}
			o.banner("Handing leadership over ...")
			err := o.tell(ctx, http.MethodPost, path("cluster", "leader"), to)
			return nameMissing(err, "the cluster has no node %s", to.Node)
		},
	}
}

func (o *options) purgeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "purge_queue QUEUE",
		Short: "Remove all ready messages of a queue",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Purging queue '%s' in vhost '%s' ...", args[0], o.vhost)
			_, _, err := o.do(ctx, http.MethodDelete, path("queues", o.vhost, args[0], "contents"), nil)
			return nameMissing(err, "Queue '%s' in vhost '%s' does not exist", args[0], o.vhost)
		},
	}
}

func (o *options) deleteQueueCommand() *cobra.Command {
	var ifEmpty, ifUnused bool
	cmd := &cobra.Command{
		Use:   "delete_queue QUEUE",
		Short: "Delete a queue with its messages",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Deleting queue '%s' on vhost '%s' ...", args[0], o.vhost)
			query := fmt.Sprintf("?if-empty=%t&if-unused=%t", ifEmpty, ifUnused)
			_, _, err := o.do(ctx, http.MethodDelete, path("queues", o.vhost, args[0])+query, nil)
			return nameMissing(err, "Queue '%s' in vhost '%s' does not exist", args[0], o.vhost)
		},
	}
	cmd.Flags().BoolVarP(&ifEmpty, "if-empty", "e", false, "only when it holds no ready message")
	cmd.Flags().BoolVarP(&ifUnused, "if-unused", "u", false, "only when it has no consumer")
	return cmd
}

func (o *options) pingCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ping",
		Short: "Check that a node answers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			_, from, err := o.do(ctx, http.MethodGet, path("whoami"), nil)
			if err != nil {
				return err
			}
			fmt.Fprintf(o.out, "Ping succeeded: %s\n", from)
			return nil
		},
	}
}

// awaitPoll is the time between two questions of await_startup.
const awaitPoll = 200 * time.Millisecond

func (o *options) awaitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "await_startup",
		Short: "Wait until every node of --node serves clients, for --timeout seconds at most",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			for _, n := range o.nodes {
				if err := o.await(ctx, n); err != nil {
					return err
				}
				o.banner("%s serves clients", n)
			}
			return nil
		},
	}
}

func (o *options) await(ctx context.Context, node string) error {
	last := "no answer"
	for {
		body, status, err := o.try(ctx, node, http.MethodGet, "/health", nil, nil)
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case ctx.Err() != nil: // the one before says more
		case err != nil:
			last = plain(err).Error()
		default:
			last = healthReason(body, status)
		}
		select {
		case <-time.After(awaitPoll):
		case <-ctx.Done():
			return &exitError{code: exitTempFail, err: fmt.Errorf("%s does not serve clients after %v seconds: %s", node, o.timeout, last)}
		}
	}
}

func healthReason(body []byte, status int) string {
	var h struct{ Reason string }
	if json.Unmarshal(body, &h) == nil && h.Reason != "" {
		return h.Reason
	}
	return fmt.Sprintf("%d %s", status, http.StatusText(status))
}
