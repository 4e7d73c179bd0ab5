package management

import (
	"errors"
	"maps"
	"net/http"
)

func (s *server) nodeRoutes() []route {
	return []route{
		look("nodes", (*call).nodes),
		look("nodes/{node}", (*call).node),
		look("cluster", (*call).clusterInfo),
		handle(http.MethodDelete, "cluster/nodes/{node}", (*call).forgetNode),
		handle(http.MethodPost, "cluster/leader", (*call).transferLeadership),
		handle(http.MethodGet, "cluster/state", (*call).state),
	}
}

// clusterInfo is ours: who is a member, who leads, how far the log is.
func (c *call) clusterInfo() error { return c.ok(c.cluster()) }

func (c *call) nodes() error {
	info := c.cluster()
	stats := c.cfg.Broker.NodeStats(c.r.Context())
	all := make([]object, 0, len(info.Members))
	for _, m := range info.Members {
		o, err := c.nodeObject(m, &info, stats)
		if err != nil {
			return err
		}
		all = append(all, o)
	}
	return c.list(all)
}

func (c *call) node() error {
	info := c.cluster()
	for _, m := range info.Members {
		if m.Name == c.params["node"] || m.ID == c.params["node"] {
			o, err := c.nodeObject(m, &info, c.cfg.Broker.NodeStats(c.r.Context()))
			if err != nil {
				return err
			}
			return c.one(o)
		}
	}
	return errNotFound
}

// nodeObject describes a member. What only a node itself knows stands there for
// those that have answered; the rest of it, in the row of the node that answers.
func (c *call) nodeObject(m Member, info *ClusterInfo, stats map[string]NodeStats) (object, error) {
	o, err := toObject(m)
	if err != nil {
		return nil, err
	}
	o["type"] = "disc"
	o["partitions"] = []string{}
	o["being_drained"] = false
	o["mem_alarm"], o["disk_free_alarm"] = false, false
	if s, ok := stats[m.ID]; ok {
		numbers, err := toObject(s)
		if err != nil {
			return nil, err
		}
		maps.Copy(o, numbers)
		o["mem_calculation_strategy"] = "rss"
	}
	if m.ID != info.NodeID {
		return o, nil
	}
	o["run_queue"] = 0
	o["rates_mode"] = "none"
	o["auth_mechanisms"] = []object{
		{"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true},
		{"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true},
	}
	o["exchange_types"] = exchangeTypes
	o["applications"] = []object{{"name": productName, "description": productName, "version": c.cfg.Version}}
	o["contexts"] = c.contexts()
	o["raft_state"], o["raft_term"] = info.State, info.Term
	o["raft_commit_index"], o["raft_applied_index"] = info.CommitIndex, info.AppliedIndex
	o["raft_last_index"], o["raft_snapshot_index"] = info.LastIndex, info.SnapshotIndex
	return o, nil
}

// transferLeadership makes another node lead.
func (c *call) transferLeadership() error {
	var body struct {
		Node string `json:"node"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	switch err := c.cfg.Broker.Transfer(c.r.Context(), body.Node); {
	case err == nil:
		c.log.Info("leadership handed over", "to", body.Node, "user", c.user)
		return c.none()
	case errors.Is(err, ErrUnknownNode):
		return &failure{http.StatusNotFound, "not_found", err.Error()}
	default:
		return errUnavailable(err.Error())
	}
}

// state tells by checksums what state the node's replica is in. It reads every message that waits.
func (c *call) state() error {
	info, err := c.cfg.Broker.State()
	if err != nil {
		return errUnavailable(err.Error())
	}
	return c.ok(info)
}

// forgetNode removes a node from the cluster for good.
func (c *call) forgetNode() error {
	err := c.cfg.Broker.Forget(c.r.Context(), c.params["node"])
	switch {
	case err == nil:
		c.log.Info("node forgotten", "forgotten", c.params["node"], "user", c.user)
		return c.none()
	case errors.Is(err, ErrUnknownNode):
		return &failure{http.StatusNotFound, "not_found", err.Error()}
	case errors.Is(err, ErrNodeRunning):
		return &failure{http.StatusConflict, "node_running", err.Error()}
	default:
		return errUnavailable(err.Error())
	}
}
