package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// A filter is what messages have to be like, by flags.
type filter struct{ exchange, key, headers string }

func (f *filter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.exchange, "exchange", "", "only those that were published to this `EXCHANGE`")
	cmd.Flags().StringVar(&f.key, "routing-key", "", "only those that were published with this `KEY`")
	cmd.Flags().StringVar(&f.headers, "headers", "", "only those that have these headers: `JSON`, like '{\"tenant\": 7}'")
}

// fields are the parts of the filter that were given, by their names in the API.
func (f *filter) fields(cmd *cobra.Command) (map[string]any, error) {
	fields := map[string]any{}
	if cmd.Flags().Changed("exchange") {
		fields["exchange"] = f.exchange
	}
	if cmd.Flags().Changed("routing-key") {
		fields["routing_key"] = f.key
	}
	if f.headers != "" {
		var headers map[string]json.RawMessage
		if err := json.Unmarshal([]byte(f.headers), &headers); err != nil {
			return nil, dataError("Could not parse JSON document: %w", err)
		}
		fields["headers"] = headers
	}
	return fields, nil
}

// browsed is a part of a queue as the API shows it.
type browsed struct {
	Messages []map[string]any `json:"messages"`
	Next     *string          `json:"next"`
}

var browseColumns = []column{
	col("sequence"), col("state"), col("redelivered"), col("delivery_count"), col("exchange"), col("routing_key"),
	{name: "properties", paths: []string{"properties"}, document: true}, col("expires_at"),
	col("payload_bytes"), col("payload"), col("payload_encoding"),
}

func (o *options) browseCommand() *cobra.Command {
	var f filter
	var state, from string
	var count, truncate int
	l := list{name: "browse", columns: browseColumns, defaults: []string{"sequence", "state", "exchange", "routing_key", "payload_bytes", "payload"}}
	cmd := &cobra.Command{
		Use:   "browse QUEUE [COLUMN...]",
		Short: "Look at the messages of a queue without taking them",
		Long: `Look at the messages of a queue, in its order, without taking them: neither their order nor their redelivered flags change.

Columns: sequence, state, redelivered, delivery_count, exchange, routing_key, properties, expires_at, payload_bytes, payload, payload_encoding.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			columns, err := l.choose(args[1:])
			if err != nil {
				return err
			}
			fields, err := f.fields(cmd)
			if err != nil {
				return err
			}
			query := url.Values{"truncate": {strconv.Itoa(truncate)}}
			for name, v := range fields {
				if text, ok := v.(string); ok {
					query.Set(name, text)
				} else {
					query.Set(name, f.headers)
				}
			}
			if state != "" {
				query.Set("state", state)
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Browsing queue '%s' in vhost '%s' ...", args[0], o.vhost)
			all, next, err := o.browse(ctx, path("queues", o.vhost, args[0], "messages"), query, from, count)
			if err != nil {
				return nameMissing(err, "Queue '%s' in vhost '%s' does not exist", args[0], o.vhost)
			}
			if err := o.print(fill(columns, all)); err != nil {
				return err
			}
			if next != "" {
				o.banner("There may be more: --from %s", next)
			}
			return nil
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&state, "state", "", "only those in these `STATES`: ready, unacknowledged, parked, delayed, separated by commas")
	cmd.Flags().StringVar(&from, "from", "", "go on at this `SEQUENCE`, from the end of another output")
	cmd.Flags().IntVar(&count, "count", 50, "`N`: show so many at most")
	cmd.Flags().IntVar(&truncate, "truncate", 200, "`BYTES` of a payload to show")
	return cmd
}

// browsePage is how many messages are asked for at once, at most.
const browsePage = 500

// browse asks for pages until there are as many messages as are wanted, or no more.
func (o *options) browse(ctx context.Context, path string, query url.Values, from string, count int) (all []map[string]any, next string, err error) {
	if count < 1 {
		return nil, "", usageError("count must be a positive number, not %d", count)
	}
	for {
		query.Set("count", strconv.Itoa(min(count-len(all), browsePage)))
		if from != "" {
			query.Set("from", from)
		}
		var page browsed
		if err := o.get(ctx, path+"?"+query.Encode(), &page); err != nil {
			return nil, "", err
		}
		all = append(all, page.Messages...)
		if page.Next == nil {
			return all, "", nil
		}
		if from = *page.Next; len(all) >= count {
			return all, from, nil
		}
	}
}

// target is where messages are moved, by flags.
type target struct{ queue, exchange, key, redrive string }

func (t *target) body(cmd *cobra.Command) (map[string]any, error) {
	body := map[string]any{}
	for flag, v := range map[string]struct{ name, value string }{
		"to-queue": {"queue", t.queue}, "to-exchange": {"exchange", t.exchange}, "with-key": {"routing_key", t.key}, "redrive": {"redrive", t.redrive},
	} {
		if cmd.Flags().Changed(flag) {
			body[v.name] = v.value
		}
	}
	if len(body) == 0 {
		return nil, usageError("where to? Use --to-queue, --to-exchange or --redrive")
	}
	return body, nil
}

func (o *options) moveCommand() *cobra.Command {
	var f filter
	var t target
	var parked bool
	var count, rate int
	cmd := &cobra.Command{
		Use:   "move QUEUE",
		Short: "Move messages of a queue to another one, through an exchange, or dead letters back to where they died",
		Long: `Move messages of a queue, the oldest first: to another queue, through an exchange as if they were published there, or dead
letters back to the queue in which they died first or last. Each message leaves one queue and enters the other in one step; it
is neither lost nor doubled, whatever happens meanwhile. A message that no queue takes stays, and at a full queue it ends.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := t.body(cmd)
			if err != nil {
				return err
			}
			fields, err := f.fields(cmd)
			if err != nil {
				return err
			}
			body := map[string]any{"to": to, "filter": fields, "state": "ready"}
			if parked {
				body["state"] = "parked"
			}
			if count < 0 || rate < 0 {
				return usageError("count and rate must not be negative")
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Moving messages of queue '%s' in vhost '%s' ...", args[0], o.vhost)
			if rate > 0 && count == 0 { // what comes meanwhile stays
				count, err = o.waiting(ctx, args[0], parked)
			}
			if err == nil {
				err = o.move(ctx, path("queues", o.vhost, args[0], "move"), body, count, rate)
			}
			return nameMissing(err, "Queue '%s' in vhost '%s' does not exist", args[0], o.vhost)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&t.queue, "to-queue", "", "move to this `QUEUE`; with --redrive only dead letters that died in it")
	cmd.Flags().StringVar(&t.exchange, "to-exchange", "", "move through this `EXCHANGE`")
	cmd.Flags().StringVar(&t.key, "with-key", "", "routing `KEY` for --to-exchange, instead of each message's own")
	cmd.Flags().StringVar(&t.redrive, "redrive", "", "move dead letters back to where they died: `first` or last")
	cmd.Flags().BoolVar(&parked, "parked", false, "those that are parked (above the delivery limit), not those that are ready")
	cmd.Flags().IntVar(&count, "count", 0, "`N`: so many at most; 0: all that are there now")
	cmd.Flags().IntVar(&rate, "rate", 0, "`N` messages a second at most; 0: as fast as it goes")
	return cmd
}

// moveResult is what became of a request to move messages.
type moveResult struct {
	Moved int     `json:"moved"`
	Kept  int     `json:"kept"`
	Full  bool    `json:"full"`
	Done  bool    `json:"done"` // all that was asked for
	Next  *string `json:"next"`
}

// move sends requests until all is done, and tells what was.
func (o *options) move(ctx context.Context, path string, body map[string]any, count, rate int) error {
	total, progress := moveResult{}, o.progress()
	for {
		ask := 0
		if count > 0 {
			ask = count - total.Moved
		}
		if rate > 0 && (ask == 0 || rate < ask) {
			ask = rate
		}
		delete(body, "count")
		if ask > 0 {
			body["count"] = ask
		}
		start := time.Now()
		res, err := o.moveOnce(ctx, path, body)
		if err != nil {
			return after(err, total.Moved)
		}
		total.Moved, total.Kept, total.Full = total.Moved+res.Moved, total.Kept+res.Kept, res.Full
		progress.tell("%d messages were moved so far", total.Moved)
		if res.Next == nil || res.Full || res.Done && ask == 0 || count > 0 && total.Moved >= count {
			break
		}
		body["from"] = *res.Next
		if rate > 0 {
			select {
			case <-time.After(time.Until(start.Add(time.Second))):
			case <-ctx.Done():
				return timeError(ctx, o.timeout, o.nodes[0])
			}
		}
	}
	return o.printMoved(&total)
}

// after says in an error what was done before it.
func after(err error, moved int) error {
	var e *exitError
	if moved == 0 || !errors.As(err, &e) {
		return err
	}
	told := *e
	told.err = fmt.Errorf("%d messages were moved, then: %w", moved, e.err)
	return &told
}

// waiting returns how many messages of a queue could be moved now.
func (o *options) waiting(ctx context.Context, queue string, parked bool) (int, error) {
	var q struct {
		Ready  int `json:"messages_ready"`
		Parked int `json:"messages_parked"`
	}
	err := o.get(ctx, path("queues", o.vhost, queue)+"?columns=messages_ready,messages_parked", &q)
	if parked {
		return q.Parked, err
	}
	return q.Ready, err
}

func (o *options) moveOnce(ctx context.Context, path string, body map[string]any) (*moveResult, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	answer, _, err := o.send(ctx, http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, content)
	if err != nil {
		return nil, err
	}
	var res moveResult
	if err := json.Unmarshal(answer, &res); err != nil {
		return nil, &exitError{code: exitSoftware, err: fmt.Errorf("POST %s: %w", path, err)}
	}
	return &res, nil
}

func (o *options) printMoved(r *moveResult) error {
	if o.isJSON() {
		return json.NewEncoder(o.out).Encode(map[string]any{"moved": r.Moved, "kept": r.Kept, "full": r.Full})
	}
	fmt.Fprintf(o.out, "%d messages were moved\n", r.Moved)
	if r.Kept > 0 {
		fmt.Fprintf(o.out, "%d stay, as no queue would take them\n", r.Kept)
	}
	if r.Full {
		fmt.Fprintln(o.out, "it ended at a queue that is full")
	}
	return nil
}
