package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// cluster is what the API says of the cluster.
type cluster struct {
	Name      string   `json:"name"`
	Node      string   `json:"node"`
	Leader    string   `json:"leader"`
	Term      uint64   `json:"raft_term"`
	Commit    uint64   `json:"raft_commit_index"`
	Applied   uint64   `json:"raft_applied_index"`
	Snapshot  uint64   `json:"raft_snapshot_index"`
	Waiting   string   `json:"waiting"`
	Members   []member `json:"members"`
	Alarms    []alarm  `json:"alarms"`
	LastIndex uint64   `json:"raft_last_index"`
}

type member struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	ClusterAddr string `json:"cluster_address"`
	AMQPAddr    string `json:"amqp_address"`
	HTTPAddr    string `json:"http_address"`
	Version     string `json:"version"`
	Voter       bool   `json:"raft_voter"`
	Leader      bool   `json:"raft_leader"`
	Running     bool   `json:"running"`
	Drained     bool   `json:"being_drained"`
}

// alarm is a resource that a node has run low on: memory or disk.
type alarm struct {
	Node     string `json:"node"`
	Resource string `json:"resource"`
}

// alarms are the alarms, [] and not null when there are none.
func (c *cluster) alarms() []alarm { return append([]alarm{}, c.Alarms...) }

// describeAlarms writes alarms as rabbitmqctl does.
func describeAlarms(alarms []alarm) []string {
	var lines []string
	for _, a := range alarms {
		switch a.Resource {
		case "memory":
			lines = append(lines, "Memory alarm on node "+a.Node)
		case "disk":
			lines = append(lines, "Free disk space alarm on node "+a.Node)
		default:
			lines = append(lines, fmt.Sprintf("Alarm on node %s: low on %s", a.Node, a.Resource))
		}
	}
	return lines
}

func (o *options) clusterStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cluster_status",
		Short: "Show the nodes of the cluster, which of them run, and who leads",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			return o.clusterStatus(ctx)
		},
	}
}

func (o *options) clusterStatus(ctx context.Context) error {
	var c cluster
	if err := o.get(ctx, path("cluster"), &c); err != nil {
		return err
	}
	if o.isJSON() {
		return o.printObject(c.document())
	}
	o.banner("Cluster status of node %s ...", c.Node)
	return c.print(o.out)
}

// document is the JSON form: rabbitmqctl's fields, and ours.
func (c *cluster) document() map[string]any {
	running, all, versions, maintenance := []string{}, []string{}, map[string]any{}, map[string]string{}
	for _, m := range c.Members {
		all = append(all, m.Name)
		if m.Running {
			running = append(running, m.Name)
		}
		versions[m.Name] = map[string]string{"warren_version": m.Version}
		maintenance[m.Name] = m.maintenance()
	}
	return map[string]any{
		"cluster_name": c.Name, "disk_nodes": all, "running_nodes": running, "versions": versions,
		"alarms": c.alarms(), "partitions": map[string]any{}, "maintenance_status": maintenance,
		"leader": c.Leader, "members": c.Members, "raft_term": c.Term, "raft_commit_index": c.Commit,
		"raft_applied_index": c.Applied, "raft_last_index": c.LastIndex, "raft_snapshot_index": c.Snapshot,
		"answered_by": c.Node,
	}
}

func (c *cluster) print(w io.Writer) error {
	leader := c.Leader
	if leader == "" {
		leader = "(none is known: the cluster has no quorum, or this node does not see it)"
	}
	basics := []string{
		"Cluster name: " + c.Name,
		"Leader: " + leader,
		fmt.Sprintf("Raft term: %d", c.Term),
		fmt.Sprintf("Raft log: %d committed, %d applied here, snapshot at %d", c.Commit, c.Applied, c.Snapshot),
	}
	if c.Waiting != "" {
		basics = append(basics, "Waiting for: "+c.Waiting)
	}
	var nodes, running, versions, maintenance []string
	for _, m := range c.Members {
		nodes = append(nodes, m.describe())
		if m.Running {
			running = append(running, m.Name)
			versions = append(versions, m.Name+": Warren "+m.Version)
		}
		maintenance = append(maintenance, fmt.Sprintf("Node: %s, status: %s", m.Name, m.maintenance()))
	}
	var b strings.Builder
	section(&b, "Basics", basics...)
	section(&b, "Disk Nodes", nodes...)
	section(&b, "Running Nodes", running...)
	section(&b, "Versions", versions...)
	section(&b, "Maintenance status", maintenance...)
	section(&b, "Alarms", describeAlarms(c.Alarms)...)
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

// maintenance is rabbitmqctl's text.
func (m *member) maintenance() string {
	if m.Drained {
		return "marked for maintenance"
	}
	return "not under maintenance"
}

func (m *member) describe() string {
	role := "non-voter"
	switch {
	case m.Leader:
		role = "leader"
	case m.Voter:
		role = "voter"
	}
	state := "running"
	if !m.Running {
		state = "not running"
	}
	s := fmt.Sprintf("%s: %s, %s", m.Name, role, state)
	for _, a := range []struct{ name, addr string }{{"cluster", m.ClusterAddr}, {"AMQP", m.AMQPAddr}, {"HTTP", m.HTTPAddr}} {
		if a.addr != "" {
			s += ", " + a.name + " " + a.addr
		}
	}
	return s + ", id " + m.ID
}
