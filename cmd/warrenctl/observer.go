package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// observed is what the observer shows of the cluster.
type observed struct {
	overview struct {
		Cluster string           `json:"cluster_name"`
		Objects map[string]int64 `json:"object_totals"`
		Totals  struct {
			Ready   int64 `json:"messages_ready"`
			Unacked int64 `json:"messages_unacknowledged"`
		} `json:"queue_totals"`
		Stats messageRates `json:"message_stats"`
	}
	nodes []struct {
		Name        string
		Running     bool
		State       string `json:"raft_state"`
		Applied     uint64 `json:"raft_applied_index"`
		Memory      uint64 `json:"mem_used"`
		DiskFree    uint64 `json:"disk_free"`
		Connections int64  `json:"sockets_used"`
		Alarm       bool   `json:"mem_alarm"`
		DiskAlarm   bool   `json:"disk_free_alarm"`
	}
	queues struct {
		Items []struct {
			Name, VHost string
			Ready       int64        `json:"messages_ready"`
			Unacked     int64        `json:"messages_unacknowledged"`
			Consumers   int64        `json:"consumers"`
			Stats       messageRates `json:"message_stats"`
		}
	}
}

type messageRates struct {
	Publish    rate `json:"publish_details"`
	DeliverGet rate `json:"deliver_get_details"`
	Ack        rate `json:"ack_details"`
}

type rate struct{ Rate float64 }

// observerQueues are the columns of queues that the observer wants.
const observerQueues = "name,vhost,messages_ready,messages_unacknowledged,consumers,message_stats.publish_details,message_stats.deliver_get_details,message_stats.ack_details"

func (o *options) observerCommand() *cobra.Command {
	var interval time.Duration
	var rounds, lines int
	cmd := &cobra.Command{
		Use: "observer", Short: "Watch the nodes and the longest queues, until it is interrupted", Args: cobra.NoArgs,
	}
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "`TIME` between two looks, like 5s")
	cmd.Flags().IntVar(&rounds, "count", 0, "end after `N` looks; 0: when interrupted")
	cmd.Flags().IntVar(&lines, "queues", 20, "show the `N` longest queues, at most 500")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if interval <= 0 || lines < 1 || lines > 500 {
			return usageError("--interval must be more than nothing, and --queues from 1 to 500")
		}
		for n := 1; ; n++ {
			err := o.observe(cmd.Context(), lines)
			switch {
			case cmd.Context().Err() != nil:
				return nil
			case err != nil && (n == 1 || rounds > 0): // later it may come back
				return err
			case err != nil:
				fmt.Fprintf(o.errs, "Error: %v\n", err)
			case n == rounds:
				return nil
			}
			select {
			case <-time.After(interval):
			case <-cmd.Context().Done():
				return nil
			}
		}
	}
	return cmd
}

// observe looks once and shows what it has found.
func (o *options) observe(ctx context.Context, lines int) error {
	ctx, cancel := o.deadline(ctx)
	defer cancel()
	var v observed
	err := errors.Join(
		o.get(ctx, path("overview"), &v.overview),
		o.get(ctx, path("nodes"), &v.nodes),
		o.get(ctx, path("queues")+fmt.Sprintf("?page=1&page_size=%d&sort=messages&sort_reverse=true&columns=%s", lines, observerQueues), &v.queues),
	)
	if err != nil {
		return err
	}
	text := v.text()
	if isTerminal(o.out) {
		text = "\x1b[H\x1b[2J" + text
	}
	_, err = io.WriteString(o.out, text)
	return err
}

func (v *observed) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d connections, %d channels, %d queues, %d consumers, %d ready, %d unacknowledged, %.0f published/s, %.0f delivered/s, %.0f acknowledged/s\n\n",
		v.overview.Cluster, v.overview.Objects["connections"], v.overview.Objects["channels"], v.overview.Objects["queues"], v.overview.Objects["consumers"],
		v.overview.Totals.Ready, v.overview.Totals.Unacked, v.overview.Stats.Publish.Rate, v.overview.Stats.DeliverGet.Rate, v.overview.Stats.Ack.Rate)
	nodes := alignedRows{w: &b, header: []string{"node", "state", "applied", "memory", "disk free", "connections", "alarms"}}
	for _, n := range v.nodes {
		state := strings.ToLower(n.State)
		if !n.Running {
			state = "not running"
		}
		_ = nodes.row([]any{n.Name, state, n.Applied, mebibytes(n.Memory), mebibytes(n.DiskFree), n.Connections, alarmWords(n.Alarm, n.DiskAlarm)}) // to memory
	}
	_ = nodes.end()
	b.WriteByte('\n')
	queues := alignedRows{w: &b, header: []string{"queue", "vhost", "ready", "unacknowledged", "consumers", "published/s", "delivered/s", "acknowledged/s"}}
	for _, q := range v.queues.Items {
		_ = queues.row([]any{q.Name, q.VHost, q.Ready, q.Unacked, q.Consumers, perSecond(q.Stats.Publish), perSecond(q.Stats.DeliverGet), perSecond(q.Stats.Ack)})
	}
	_ = queues.end()
	return b.String()
}

func perSecond(r rate) string { return fmt.Sprintf("%.1f", r.Rate) }

func alarmWords(memory, disk bool) string {
	var words []string
	if memory {
		words = append(words, "memory")
	}
	if disk {
		words = append(words, "disk")
	}
	return strings.Join(words, ", ")
}
