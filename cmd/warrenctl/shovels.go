package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"warren/node/shovel"
)

func (o *options) shovelCommands() []*cobra.Command {
	return []*cobra.Command{o.restartShovelCommand(), o.deleteShovelCommand(), o.shovelCommand()}
}

var shovelStatus = list{
	name:   "shovel_status",
	short:  "Show how the shovels of the cluster are doing",
	path:   func(string) string { return path("shovels") },
	banner: func(o *options) { o.banner("Shovel status of the cluster ...") },
	columns: []column{
		col("name"), col("vhost"), col("type"), col("state"), col("source", "src_uri"), col("destination", "dest_uri"),
		col("termination_reason", "reason"), col("last_changed", "timestamp"), col("node"),
		col("source_protocol", "src_protocol"), col("destination_protocol", "dest_protocol"), col("blocked_status"),
		col("src_queue"), col("src_exchange"), col("src_exchange_key"), col("dest_queue"), col("dest_exchange"), col("dest_exchange_key"),
		col("remaining"), col("remaining_unacked"), col("pending"), col("forwarded"),
	},
	defaults: []string{"name", "vhost", "type", "state", "source", "destination", "termination_reason", "last_changed", "node", "remaining", "forwarded"},
}

func (o *options) restartShovelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restart_shovel NAME",
		Short: "Make a shovel connect anew",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Restarting dynamic Shovel %s in virtual host %s ...", args[0], o.vhost)
			return nameMissing(o.tell(ctx, http.MethodDelete, path("shovels", "vhost", o.vhost, args[0], "restart"), nil),
				"Shovel '%s' does not exist in virtual host '%s'", args[0], o.vhost)
		},
	}
}

func (o *options) deleteShovelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete_shovel NAME",
		Short: "Delete a shovel; what it has not moved stays where it is",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Deleting shovel %s in vhost %s ...", args[0], o.vhost)
			return nameMissing(o.tell(ctx, http.MethodDelete, path("shovels", "vhost", o.vhost, args[0]), nil),
				"Shovel '%s' does not exist in virtual host '%s'", args[0], o.vhost)
		},
	}
}

// oneTime is a shovel of the command line, by the keys of a parameter.
type oneTime struct {
	values  map[string]*string
	count   int64
	keep    bool
	headers bool
}

// shovelTexts are the keys that are flags as they are.
var shovelTexts = []struct{ key, usage string }{
	{"src-uri", "`URI` of the broker that the messages come from (WARRENCTL_SRC_URI)"},
	{"src-queue", "`QUEUE` that they come from"},
	{"src-exchange", "or `EXCHANGE`"},
	{"src-exchange-key", "`KEY` with which to bind to that"},
	{"dest-uri", "`URI` of the broker that they go to (WARRENCTL_DEST_URI)"},
	{"dest-queue", "`QUEUE` that they go to"},
	{"dest-exchange", "or `EXCHANGE`"},
	{"dest-exchange-key", "`KEY` with which they are published there; default: their own"},
	{"ack-mode", "when a message is acknowledged at its source: on-confirm, on-publish or no-ack"},
}

func (o *options) shovelCommand() *cobra.Command {
	s := oneTime{values: make(map[string]*string)}
	var prefetch int
	cmd := &cobra.Command{
		Use:   "shovel",
		Short: "Move messages between queues of any two AMQP 0-9-1 brokers, here and now",
		Long: `Move messages between queues of any two AMQP 0-9-1 brokers, here and now: this process is a client of both. It ends when as many
messages are moved as the queue held when it started, or --count; with --keep-running it goes on until it is interrupted.

A message is acknowledged at its source when the destination has confirmed it: whenever the command ends, none is lost. Those that
were confirmed and not acknowledged yet then come twice. To have the cluster do it, with no process of yours:
set_parameter shovel NAME '{"src-uri": ...}'.

Other users of the machine can see the flags of a process. Give URIs with passwords in WARRENCTL_SRC_URI and WARRENCTL_DEST_URI.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parsed, err := s.parse(prefetch)
			if err != nil {
				return usageError("%w", err)
			}
			return o.runShovel(cmd, parsed)
		},
	}
	for _, t := range shovelTexts {
		s.values[t.key] = cmd.Flags().String(t.key, "", t.usage)
	}
	cmd.Flags().Int64Var(&s.count, "count", -1, "`N`: move so many messages")
	cmd.Flags().BoolVar(&s.keep, "keep-running", false, "move what comes until interrupted")
	cmd.Flags().BoolVar(&s.headers, "add-forward-headers", false, "tell in the header x-shovelled where messages came from")
	cmd.Flags().IntVar(&prefetch, "prefetch-count", shovel.DefaultPrefetch, "`N`: have so many messages under way at most")
	cmd.MarkFlagsMutuallyExclusive("count", "keep-running")
	return cmd
}

// parse makes a shovel of the flags.
func (s *oneTime) parse(prefetch int) (*shovel.Shovel, error) {
	value := map[string]any{
		"prefetch-count": prefetch, "src-delete-after": "queue-length", "add-forward-headers": s.headers, "reconnect-delay": 1,
	}
	for key, v := range s.values {
		if *v != "" {
			value[key] = *v
		}
	}
	for key, variable := range map[string]string{"src-uri": "WARRENCTL_SRC_URI", "dest-uri": "WARRENCTL_DEST_URI"} {
		if uri := cmp.Or(*s.values[key], os.Getenv(variable)); uri != "" {
			value[key] = uri
		}
	}
	switch {
	case s.keep || *s.values["src-exchange"] != "" && s.count < 0:
		value["src-delete-after"] = "never"
	case s.count >= 0:
		value["src-delete-after"] = s.count
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return shovel.Parse("", "warrenctl", text)
}

// progressPause is how often the command tells how far it is.
const progressPause = time.Second

func (o *options) runShovel(cmd *cobra.Command, s *shovel.Shovel) error {
	w := shovel.New(s, shovel.Config{
		Type: "dynamic", Cluster: "warrenctl", Version: version,
		Logger: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	o.banner("Moving messages ...")
	done := make(chan error, 1)
	go func() { done <- w.Run(cmd.Context()) }()
	tick := time.NewTicker(progressPause)
	defer tick.Stop()
	var last uint64
	for {
		select {
		case err := <-done:
			fmt.Fprintf(o.out, "%d messages moved\n", w.Status().Forwarded)
			if errors.Is(err, context.Canceled) {
				if s.Source.DeleteAfter == shovel.Never {
					return nil // it was to run until then
				}
				return &exitError{code: exitTempFail, err: errors.New("interrupted before all were moved")}
			}
			return err
		case <-tick.C:
			st := w.Status()
			left := ""
			if st.Remaining >= 0 {
				left = fmt.Sprintf(", %d to go", st.Remaining)
			}
			o.banner("%s: %d moved (%d in the last second)%s", st.State, st.Forwarded, st.Forwarded-last, left)
			last = st.Forwarded
		}
	}
}
