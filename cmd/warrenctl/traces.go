package main

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// Traces of single messages have no counterpart in RabbitMQ's tools.
func (o *options) messageTraceCommands() []*cobra.Command {
	return []*cobra.Command{
		o.startTraceCommand(), o.showTraceCommand(),
		o.traceOrder("stop_trace NAME", "End a trace; what it has found can be shown for an hour", "Stopping trace", http.MethodPost, "stop"),
		o.traceOrder("delete_trace NAME", "End a trace and forget what it has found", "Deleting trace", http.MethodDelete),
	}
}

var listTraces = list{
	name:     "list_traces",
	short:    "List the traces of a virtual host: those that run, and those that ended within the last hour",
	path:     func(vhost string) string { return path("trace", vhost) },
	banner:   func(o *options) { o.banner("Listing traces for vhost \"%s\" ...", o.vhost) },
	columns:  []column{col("name"), col("state"), {name: "filter", paths: []string{"filter"}, document: true}, col("messages"), col("user"), col("started_at"), col("ends_at"), col("vhost")},
	defaults: []string{"name", "state", "filter", "messages", "user", "ends_at"},
}

func (o *options) startTraceCommand() *cobra.Command {
	var f filter
	var queue, id string
	var seconds, messages int
	cmd := &cobra.Command{
		Use:   "start_trace NAME",
		Short: "Follow single messages: who published them, where they went and why, and what became of them",
		Long: `Follow single messages of a virtual host: who published them, where they went and why, to whom they were delivered, and whether they were
acknowledged, requeued, dead-lettered, moved or dropped. Those are meant that fit all flags, and all without any; bodies are never recorded.

A copy with the message-id of a message that is followed is followed too, as a shovel or a client may publish it again. A trace ends by
itself. One of the same name that there was before is forgotten.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.fields(cmd)
			if err != nil {
				return err
			}
			body["seconds"], body["messages"] = seconds, messages
			if queue != "" {
				body["queue"] = queue
			}
			if id != "" {
				body["message_id"] = id
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Starting trace \"%s\" for vhost \"%s\" ...", args[0], o.vhost)
			if err := o.put(ctx, path("trace", o.vhost, args[0]), body); err != nil {
				return nameMissing(err, "Virtual host '%s' does not exist", o.vhost)
			}
			o.banner("'warrenctl show_trace %s' tells what it finds.", args[0])
			return nil
		},
	}
	f.flags(cmd)
	cmd.Flags().Lookup("routing-key").Usage = "only those whose routing key fits this `PATTERN`, as of a topic exchange"
	cmd.Flags().StringVar(&queue, "queue", "", "only those that come to this `QUEUE`")
	cmd.Flags().StringVar(&id, "message-id", "", "only those with this message-id `ID`")
	cmd.Flags().IntVar(&seconds, "for", 600, "`SECONDS` after which the trace ends, 86400 at most")
	cmd.Flags().IntVar(&messages, "messages", 100, "follow `N` messages at most, up to 1000")
	return cmd
}

// traceOrder is a command that does something with a trace that is there.
func (o *options) traceOrder(use, short, doing, method string, segments ...string) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("%s \"%s\" in vhost \"%s\" ...", doing, args[0], o.vhost)
			return o.noTrace(o.tell(ctx, method, path(append([]string{"trace", o.vhost, args[0]}, segments...)...), nil), args[0])
		},
	}
}

func (o *options) noTrace(err error, name string) error {
	return nameMissing(err, "Trace '%s' does not exist in virtual host '%s'", name, o.vhost)
}

var traceColumns = []column{
	col("time"), col("index"), col("event"), col("message"), col("message_id"), col("queue"), col("sequence"), col("exchange"), col("routing_key"),
	{name: "queues", paths: []string{"queues"}, atoms: true}, {name: "why", paths: []string{"why"}, document: true}, col("reason"), col("until"),
	col("node"), col("connection"), col("channel"), col("user"), col("consumer_tag"), col("delivery"), col("redelivered"), col("acquired_count"),
	col("delivery_count"), col("auto_ack"), col("payload_bytes"),
}

// A traced is a part of what a trace has found, as the API tells it.
type traced struct {
	Events   []map[string]any `json:"events"`
	Next     *string          `json:"next"`
	More     bool             `json:"more"`
	Complete bool             `json:"complete"`
}

// followPause is how long show_trace --follow waits before it asks again.
const followPause = time.Second

func (o *options) showTraceCommand() *cobra.Command {
	var message string
	var follow bool
	l := list{
		name: "show_trace", columns: traceColumns,
		defaults: []string{"time", "message", "event", "queue", "queues", "reason", "node", "connection", "user"},
	}
	cmd := &cobra.Command{
		Use:   "show_trace NAME [COLUMN...]",
		Short: "Tell what happened to the messages that a trace follows",
		Long: `Tell what happened to the messages that a trace follows, in the order of the cluster's log. All nodes are asked: each has seen the same, but for the
time in which it did not run, and for what came before a snapshot with which it caught up.

"message" is the broker's own name of a message, the same in all queues that it comes to.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			columns, err := l.choose(args[1:])
			if err != nil {
				return err
			}
			if follow && o.format != "" && o.format != formatTable && o.format != formatJSONStream {
				return usageError("--follow writes each event as it comes: as a %s or %s", formatTable, formatJSONStream)
			}
			o.banner("Events of trace \"%s\" in vhost \"%s\" ...", args[0], o.vhost)
			w := o.rows(columnNames(columns))
			if _, aligned := w.(*alignedRows); aligned && follow {
				w = &tabRows{w: o.out, header: w.(*alignedRows).header}
			}
			return o.showTrace(cmd.Context(), args[0], message, follow, columns, w)
		},
	}
	cmd.Flags().StringVar(&message, "message", "", "only what happened to this message: its `NAME`, or its message-id")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on until the trace ends, or until interrupted")
	return cmd
}

func (o *options) showTrace(ctx context.Context, name, message string, follow bool, columns []column, w rowWriter) error {
	query := url.Values{}
	if message != "" {
		query.Set("message", message)
	}
	for {
		ended, err := false, error(nil)
		if follow { // before the events, so that none is missed
			if ended, err = o.traceEnded(ctx, name); err != nil {
				return err
			}
		}
		part, err := o.traceEvents(ctx, name, query)
		if err != nil {
			return err
		}
		for _, e := range part.Events {
			if err := w.row(values(columns, e)); err != nil {
				return err
			}
		}
		if part.Next != nil {
			query.Set("after", *part.Next)
		}
		switch {
		case part.More:
		case !follow || ended:
			if err := w.end(); err != nil {
				return err
			}
			if !part.Complete {
				o.banner("No node that answers knows all from the beginning of the trace: events may be missing.")
			}
			return nil
		default:
			select {
			case <-ctx.Done():
				return w.end()
			case <-time.After(followPause):
			}
		}
	}
}

func (o *options) traceEnded(ctx context.Context, name string) (bool, error) {
	ctx, cancel := o.deadline(ctx)
	defer cancel()
	var t struct {
		State string `json:"state"`
	}
	err := o.get(ctx, path("trace", o.vhost, name), &t)
	return t.State == "ended", o.noTrace(err, name)
}

func (o *options) traceEvents(ctx context.Context, name string, query url.Values) (*traced, error) {
	ctx, cancel := o.deadline(ctx)
	defer cancel()
	var part traced
	err := o.get(ctx, path("trace", o.vhost, name, "events")+"?"+query.Encode(), &part)
	if err != nil {
		return nil, o.noTrace(err, name)
	}
	return &part, nil
}
