package management

import (
	"net/http"

	"warren/fsm"
)

// quorumRoutes are RabbitMQ's operations on the replicas of queues. Here every queue is on every node of the
// cluster and led by its leader: what asks for that is done already, what asks for something else is refused with
// the way to get it.
func (s *server) quorumRoutes() []route {
	return []route{
		handle(http.MethodPost, "queues/quorum/{vhost}/{queue}/replicas/add", (*call).addReplica),
		handle(http.MethodDelete, "queues/quorum/{vhost}/{queue}/replicas/delete", (*call).deleteReplica),
		handle(http.MethodGet, "queues/quorum/{vhost}/{queue}/status", (*call).replicas),
		handle(http.MethodPost, "queues/quorum/replicas/on/{node}/grow", (*call).growReplicas),
		handle(http.MethodDelete, "queues/quorum/replicas/on/{node}/shrink", (*call).shrinkReplicas),
		handle(http.MethodPost, "rebalance/queues", (*call).rebalance),
		handle(http.MethodPost, "queues/{vhost}/{queue}/actions", (*call).queueAction),
	}
}

// isMember reports whether there is a node of that name in the cluster.
func (c *call) isMember(name string) bool {
	for _, m := range c.cluster().Members {
		if m.Name == name || m.ID == name {
			return true
		}
	}
	return false
}

// replicaNode reads the node from the body of an operation on a queue.
func (c *call) replicaNode() (string, error) {
	if _, err := c.findQueue(); err != nil {
		return "", err
	}
	var body struct {
		Node string `json:"node"`
	}
	if err := c.decode(&body); err != nil {
		return "", err
	}
	if body.Node == "" {
		return "", errBadRequest("[{key_missing,node}]")
	}
	return body.Node, nil
}

func (c *call) addReplica() error {
	node, err := c.replicaNode()
	if err != nil {
		return err
	}
	return c.needReplica(node)
}

func (c *call) needReplica(node string) error {
	if !c.isMember(node) {
		return errBadRequest("node '%s' is not in the cluster: every queue is on every node, so start it with --join", node)
	}
	return c.none()
}

func (c *call) deleteReplica() error {
	node, err := c.replicaNode()
	if err != nil {
		return err
	}
	return c.needNoReplica(node)
}

func (c *call) needNoReplica(node string) error {
	if c.isMember(node) {
		return errBadRequest("every queue is on every node: to remove those on '%s', stop it and remove it from the cluster (warrenctl forget_cluster_node)", node)
	}
	return c.none()
}

func (c *call) growReplicas() error   { return c.needReplica(c.params["node"]) }
func (c *call) shrinkReplicas() error { return c.needNoReplica(c.params["node"]) }

// rebalance has nothing to do: the leader of the cluster leads all queues.
func (c *call) rebalance() error { return c.none() }

// replicas describes the replicas of a queue with the words of rabbitmq-queues quorum_status. All queues share
// the log of their cluster.
func (c *call) replicas() error {
	if _, err := c.findQueue(); err != nil {
		return err
	}
	version := uint64(0)
	c.view(func(m *fsm.Machine) { version = m.Version() })
	stats := c.cfg.Broker.NodeStats(c.r.Context())
	list := []object{}
	for _, m := range c.cluster().Members {
		membership := "non_voter"
		if m.Voter {
			membership = "voter"
		}
		o := object{"Node Name": m.Name, "Raft State": "noproc", "Membership": membership}
		if s, ok := stats[m.ID]; ok {
			o["Raft State"] = raftState(s.State)
			o["Last Log Index"], o["Last Written"] = s.LastIndex, s.LastIndex
			o["Last Applied"], o["Commit Index"] = s.AppliedIndex, s.CommitIndex
			o["Snapshot Index"], o["Term"], o["Machine Version"] = s.SnapshotIndex, s.Term, version
		}
		list = append(list, o)
	}
	return c.ok(list)
}

// queueAction is what RabbitMQ before 4.0 had for mirrored queues. As RabbitMQ 4 it knows none.
func (c *call) queueAction() error {
	if _, err := c.findQueue(); err != nil {
		return err
	}
	var body struct {
		Action string `json:"action"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Action == "" {
		return errBadRequest("[{key_missing,action}]")
	}
	return errBadRequest("{unknown,<<\"%s\">>}", body.Action)
}
