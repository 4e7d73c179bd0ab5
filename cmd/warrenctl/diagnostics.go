package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (o *options) diagnosticCommands() []*cobra.Command {
	return []*cobra.Command{
		o.listenersCommand(), o.alarmsCommand(), o.memoryCommand(), o.metadataStoreCommand(), o.quorumStatusCommand(),
		o.unresponsiveCommand(), o.environmentCommand(), o.serverVersionCommand(),
		o.runningCommand("is_running", true), o.runningCommand("is_booting", false),
		o.attemptsCommand(), o.resetAttemptsCommand(),
	}
}

// nodeName asks which node answers at the first of --node that does; the others are not asked any more.
func (o *options) nodeName(ctx context.Context) (string, error) {
	b, from, err := o.do(ctx, http.MethodGet, path("overview")+"?columns=node&disable_stats=true", nil)
	if err != nil {
		return "", err
	}
	o.nodes = []string{from}
	var view struct{ Node string }
	err = decodeBoth(b, &view)
	return view.Node, err
}

func (o *options) listenersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "listeners", Short: "List the ports that a node listens on", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			o.banner("Asking node %s to report its protocol listeners ...", o.nodes[0])
			name, all, err := o.nodeListeners(ctx, o.nodes[0])
			if err != nil {
				return err
			}
			switch {
			case o.isJSON():
				rows := make([]map[string]any, len(all))
				for i, l := range all {
					rows[i] = map[string]any{"node": name, "protocol": l.Protocol, "interface": l.Address, "port": l.Port, "purpose": l.purpose()}
				}
				return o.printObject(map[string]any{"result": "ok", "node": name, "listeners": rows})
			case o.format == formatTable || o.format == "":
				for i := range all {
					fmt.Fprintln(o.out, all[i].describe())
				}
				return nil
			}
			t := &table{columns: []string{"node", "protocol", "interface", "port", "purpose"}}
			for _, l := range all {
				t.rows = append(t.rows, []any{name, l.Protocol, l.Address, l.Port, l.purpose()})
			}
			return o.print(t)
		}),
	}
}

func (o *options) alarmsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "alarms", Short: "List the alarms that are raised in the cluster: nodes that are low on memory or disk", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			var c cluster
			if err := o.get(ctx, path("cluster"), &c); err != nil {
				return err
			}
			if o.isJSON() {
				local, global := []alarm{}, []alarm{}
				for _, a := range c.Alarms {
					if a.Node == c.Node {
						local = append(local, a)
					} else {
						global = append(global, a)
					}
				}
				return o.printObject(map[string]any{"result": "ok", "node": c.Node, "local": describeList(local), "global": describeList(global)})
			}
			o.banner("Asking node %s to report any known resource alarms ...", c.Node)
			text := strings.Join(describeAlarms(c.Alarms), "\n")
			_, err := fmt.Fprintln(o.out, cmp.Or(text, "Node "+c.Node+" reported no alarms, local or clusterwide"))
			return err
		}),
	}
}

func describeList(alarms []alarm) []string { return append([]string{}, describeAlarms(alarms)...) }

// units are what memory_breakdown counts in: bytes of one.
var units = map[string]float64{"bytes": 1, "mb": 1e6, "gb": 1e9}

func (o *options) memoryCommand() *cobra.Command {
	var unit string
	cmd := &cobra.Command{
		Use: "memory_breakdown", Short: "Show what the memory of a node is used for", Args: cobra.NoArgs,
		Long: `Show what the memory of a node is used for, under RabbitMQ's names: binary is bodies of messages, queue_procs all else that lives on
the heap, other_proc stacks, other_system the runtime itself, allocated_unused what is kept for objects to come.`,
	}
	cmd.Flags().StringVar(&unit, "unit", "gb", "`UNIT`: bytes, mb or gb")
	cmd.RunE = o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
		size, ok := units[strings.ToLower(unit)]
		if !ok {
			return usageError("unit '%s' is not supported. Please use one of: bytes, mb, gb", unit)
		}
		name, err := o.nodeName(ctx)
		if err != nil {
			return err
		}
		parts, err := o.memoryParts(ctx, name)
		if err != nil {
			return err
		}
		o.banner("Reporting memory breakdown on node %s...", name)
		switch {
		case o.isJSON():
			document := map[string]any{}
			for _, p := range parts {
				document[p.name] = map[string]any{"bytes": p.bytes, "percentage": p.percentage}
			}
			return o.printObject(document)
		case o.format == formatTable || o.format == "":
			for _, p := range parts {
				fmt.Fprintf(o.out, "%s: %s %s (%v%%)\n", p.name, amount(p.bytes, size), strings.ToLower(unit), p.percentage)
			}
			return nil
		}
		t := &table{columns: []string{"name", "bytes", "percentage"}}
		for _, p := range parts {
			t.rows = append(t.rows, []any{p.name, p.bytes, p.percentage})
		}
		return o.print(t)
	})
	return cmd
}

func amount(bytes int64, size float64) string {
	if size == 1 {
		return fmt.Sprint(bytes)
	}
	return fmt.Sprintf("%.4f", float64(bytes)/size)
}

// memoryPart is a part of a node's memory.
type memoryPart struct {
	name       string
	bytes      int64
	percentage float64
}

// memoryParts are the parts that are not empty, the largest first.
func (o *options) memoryParts(ctx context.Context, node string) ([]memoryPart, error) {
	var answer struct {
		Memory map[string]json.RawMessage
	}
	if err := o.get(ctx, path("nodes", node, "memory"), &answer); err != nil {
		return nil, err
	}
	var total struct{ RSS int64 }
	if err := json.Unmarshal(answer.Memory["total"], &total); err != nil {
		return nil, &exitError{code: exitSoftware, err: fmt.Errorf("memory of node %s: %w", node, err)}
	}
	var parts []memoryPart
	for name, v := range answer.Memory {
		p := memoryPart{name: name}
		if json.Unmarshal(v, &p.bytes) == nil && p.bytes > 0 { // others are words and sums
			p.percentage = float64(10000*p.bytes/max(1, total.RSS)) / 100
			parts = append(parts, p)
		}
	}
	slices.SortFunc(parts, func(a, b memoryPart) int { return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name)) })
	return parts, nil
}

// raftColumns are how rabbitmq-queues shows the members of a Raft group, and where our list of nodes has it.
var raftColumns = []column{
	col("Node Name", "name"), col("Raft State", "raft_state"), col("Membership", "raft_voter"), col("Last Log Index", "raft_last_index"),
	col("Last Applied", "raft_applied_index"), col("Commit Index", "raft_commit_index"), col("Snapshot Index", "raft_snapshot_index"), col("Term", "raft_term"),
}

func (o *options) metadataStoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "metadata_store_status", Short: "Show the members of the Raft group that holds all of the broker's state", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			name, err := o.nodeName(ctx)
			if err != nil {
				return err
			}
			o.banner("Status of metadata store on node %s ...", name)
			w := o.rows(columnNames(raftColumns))
			err = o.each(ctx, path("nodes")+"?columns="+fields(raftColumns), func(item map[string]any) error {
				item["raft_voter"] = membership(item["raft_voter"] == true)
				item["raft_state"] = strings.ToLower(cell(orNone(item["raft_state"])))
				return w.row(values(raftColumns, item))
			})
			if err != nil {
				return err
			}
			return w.end()
		}),
	}
}

// orNone is the state of a node that does not answer, in RabbitMQ's word for it.
func orNone(state any) any {
	if state == nil {
		return "noproc"
	}
	return state
}

func membership(voter bool) string {
	if voter {
		return "voter"
	}
	return "non_voter"
}

func (o *options) quorumStatusCommand() *cobra.Command {
	columns := []column{
		col("Node Name"), col("Raft State"), col("Membership"), col("Last Log Index"), col("Last Written"), col("Last Applied"), col("Commit Index"),
		col("Snapshot Index"), col("Term"), col("Machine Version"),
	}
	return &cobra.Command{
		Use: "quorum_status QUEUE", Short: "Show the replicas of a queue, which are the nodes of the cluster", Args: cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o.banner("Status of queue %s ...", args[0])
			var all []map[string]any
			if err := o.get(ctx, path("queues", "quorum", o.vhost, args[0], "status"), &all); err != nil {
				return nameMissing(err, "Queue '%s' in vhost '%s' does not exist", args[0], o.vhost)
			}
			return o.print(fill(columns, all))
		}),
	}
}

func (o *options) environmentCommand() *cobra.Command {
	return &cobra.Command{
		Use: "environment", Short: "Show the settings that a node runs with", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			o.banner("Application environment of node %s ...", o.nodes[0])
			var all map[string]any
			if err := o.get(ctx, path("config", "effective"), &all); err != nil {
				return err
			}
			if o.isJSON() {
				return o.printObject(all)
			}
			t := &table{columns: []string{"name", "value"}}
			for _, name := range slices.Sorted(maps.Keys(all)) {
				t.rows = append(t.rows, []any{name, all[name]})
			}
			return o.print(t)
		}),
	}
}

func (o *options) serverVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "server_version", Short: "Show the version of a node", Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			o.banner("Asking node %s for its version...", o.nodes[0])
			var view struct {
				Version string `json:"product_version"`
			}
			if err := o.get(ctx, path("overview")+"?columns=product_version&disable_stats=true", &view); err != nil {
				return err
			}
			_, err := fmt.Fprintln(o.out, view.Version)
			return err
		}),
	}
}

// runningCommand tells whether a node runs, or whether it boots. Both answers are fine: check_running fails.
func (o *options) runningCommand(name string, wanted bool) *cobra.Command {
	short := "Tell whether a node serves clients; the exit code is 0 in any case"
	if !wanted {
		short = "Tell whether a node is up and does not serve clients yet; the exit code is 0 in any case"
	}
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			a, err := o.ask(ctx, o.nodes[0], checkPath("ready-to-serve-clients"))
			if err != nil {
				return err
			}
			serves := !a.failed()
			if o.isJSON() {
				field := map[bool]string{true: "running", false: "booting"}[wanted]
				return o.printObject(map[string]any{field: serves == wanted, "node": o.nodes[0]})
			}
			text := "Warren on node %s is fully booted and running\n"
			switch {
			case wanted && !serves:
				text = "Warren on node %s is not running or has not fully booted yet: " + strings.ReplaceAll(a.Reason, "%", "%%") + "\n"
			case !wanted && !serves:
				text = "Warren on node %s is booting: " + strings.ReplaceAll(a.Reason, "%", "%%") + "\n"
			case !wanted:
				text = "Warren on node %s is fully booted (check with is_running) or stopped\n"
			}
			_, err = fmt.Fprintf(o.out, text, o.nodes[0])
			return err
		}),
	}
}
