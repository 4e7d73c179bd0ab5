package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// overview is what status prints of /api/overview.
type overview struct {
	Node           string           `json:"node"`
	ClusterName    string           `json:"cluster_name"`
	ProductName    string           `json:"product_name"`
	ProductVersion string           `json:"product_version"`
	Objects        map[string]int64 `json:"object_totals"`
	Messages       struct {
		Ready   int64 `json:"messages_ready"`
		Unacked int64 `json:"messages_unacknowledged"`
	} `json:"queue_totals"`
	Listeners []struct {
		Node     string `json:"node"`
		Protocol string `json:"protocol"`
		Address  string `json:"ip_address"`
		Port     int    `json:"port"`
	} `json:"listeners"`
}

// node is what status prints of /api/nodes/NODE.
type node struct {
	PID        json.Number `json:"os_pid"`
	Uptime     int64       `json:"uptime"`    // milliseconds
	Memory     uint64      `json:"mem_used"`  // bytes, like those below
	MemLimit   uint64      `json:"mem_limit"` // 0: none
	DiskFree   uint64      `json:"disk_free"`
	DiskLimit  uint64      `json:"disk_free_limit"`
	Processors int         `json:"processors"`
	State      string      `json:"raft_state"`
	Leader     bool        `json:"raft_leader"`
	Applied    uint64      `json:"raft_applied_index"`
	Commit     uint64      `json:"raft_commit_index"`
	ID         string      `json:"id"`
}

func (o *options) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the state of the node that answers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			return o.status(ctx)
		},
	}
}

func (o *options) status(ctx context.Context) error {
	b, from, err := o.do(ctx, "GET", path("overview"), nil)
	if err != nil {
		return err
	}
	o.nodes = []string{from} // the rest has to come from the same node
	var all map[string]json.RawMessage
	var view overview
	if err := decodeBoth(b, &all, &view); err != nil {
		return err
	}
	b, _, err = o.do(ctx, "GET", path("nodes", view.Node), nil)
	if err != nil {
		return err
	}
	var nodeAll map[string]json.RawMessage
	var n node
	if err := decodeBoth(b, &nodeAll, &n); err != nil {
		return err
	}
	var c cluster
	if err := o.get(ctx, path("cluster"), &c); err != nil {
		return err
	}
	if o.isJSON() {
		return o.printObject(map[string]any{"overview": all, "node": nodeAll, "alarms": c.alarms()})
	}
	o.banner("Status of node %s ...", view.Node)
	return view.print(o.out, &n, c.Alarms)
}

func decodeBoth(b []byte, to ...any) error {
	for _, v := range to {
		if err := json.Unmarshal(b, v); err != nil {
			return &exitError{code: exitSoftware, err: fmt.Errorf("answer of the node: %w", err), hint: "Is this the HTTP port of a Warren node?"}
		}
	}
	return nil
}

// print writes status for people. alarms are those of the whole cluster, because any
// of them blocks the publishers of this node too.
func (v *overview) print(w io.Writer, n *node, alarms []alarm) error {
	role := strings.ToLower(n.State)
	if n.Leader {
		role = "leader"
	}
	var b strings.Builder
	section(&b, "Runtime",
		fmt.Sprintf("OS PID: %s", n.PID),
		fmt.Sprintf("Uptime: %v", time.Duration(n.Uptime*int64(time.Millisecond)).Round(time.Second)),
		fmt.Sprintf("%s version: %s", v.ProductName, v.ProductVersion),
		"Node name: "+v.Node,
		"Node id: "+n.ID,
		"Cluster name: "+v.ClusterName,
		"Raft state: "+role,
		fmt.Sprintf("Raft log: applied %d of %d committed", n.Applied, n.Commit),
	)
	section(&b, "Alarms", describeAlarms(alarms)...)
	section(&b, "Memory", "Used: "+mebibytes(n.Memory), "Watermark: "+limit(n.MemLimit))
	section(&b, "Free Disk Space", "Free: "+mebibytes(n.DiskFree), "Low free disk space watermark: "+limit(n.DiskLimit))
	section(&b, "Totals",
		fmt.Sprintf("Connection count: %d", v.Objects["connections"]),
		fmt.Sprintf("Channel count: %d", v.Objects["channels"]),
		fmt.Sprintf("Queue count: %d", v.Objects["queues"]),
		fmt.Sprintf("Consumer count: %d", v.Objects["consumers"]),
		fmt.Sprintf("Messages ready: %d", v.Messages.Ready),
		fmt.Sprintf("Messages unacknowledged: %d", v.Messages.Unacked),
	)
	var listeners []string
	for _, l := range v.Listeners {
		listeners = append(listeners, fmt.Sprintf("Interface: %s, port: %d, protocol: %s", l.Address, l.Port, l.Protocol))
	}
	section(&b, "Listeners", listeners...)
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

func mebibytes(bytes uint64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

func limit(bytes uint64) string {
	if bytes == 0 {
		return "none"
	}
	return mebibytes(bytes)
}

// section writes a heading, an empty line and lines, after an empty line.
func section(b *strings.Builder, title string, lines ...string) {
	if len(lines) == 0 {
		lines = []string{"(none)"}
	}
	fmt.Fprintf(b, "\n%s\n\n%s\n", title, strings.Join(lines, "\n"))
}
