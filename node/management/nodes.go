package management

import (
	"errors"
	"maps"
	"math"
	"net/http"
	"strconv"
)

func (s *server) nodeRoutes() []route {
	return []route{
		look("nodes", (*call).nodes),
		look("nodes/{node}", (*call).node),
		look("nodes/{node}/memory", func(c *call) error { return c.nodeMemory(false) }),
		look("nodes/{node}/memory/relative", func(c *call) error { return c.nodeMemory(true) }),
		handle(http.MethodPost, "nodes/{node}/stop", (*call).stopNode),
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
	over, err := c.nodesOverTime()
	if err != nil {
		return err
	}
	all := make([]object, 0, len(info.Members))
	for _, m := range info.Members {
		o, err := c.nodeObject(m, &info, stats, over)
		if err != nil {
			return err
		}
		all = append(all, o)
	}
	return c.list(all)
}

func (c *call) node() error {
	m, err := c.nodeAsked()
	if err != nil {
		return err
	}
	over, err := c.nodesOverTime()
	if err != nil {
		return err
	}
	info := c.cluster()
	o, err := c.nodeObject(m, &info, c.cfg.Broker.NodeStats(c.r.Context()), over)
	if err != nil {
		return err
	}
	return c.one(o)
}

// nodesOverTime asks the nodes for their numbers over time.
func (c *call) nodesOverTime() (*clusterStats, error) {
	r, err := c.sampleRange("node_stats")
	if err != nil {
		return nil, err
	}
	return c.clusterStats(r), nil
}

// nodeObject describes a member. What only a node itself knows stands there for
// those that have answered; the rest of it, in the row of the node that answers.
func (c *call) nodeObject(m Member, info *ClusterInfo, stats map[string]NodeStats, over *clusterStats) (object, error) {
	o, err := toObject(m)
	if err != nil {
		return nil, err
	}
	o["type"] = "disc"
	for _, none := range []string{"partitions", "cluster_links", "log_files", "config_files", "enabled_plugins", "ra_open_file_metrics"} {
		o[none] = []string{}
	}
	o["run_queue"], o["net_ticktime"] = 0, 0
	o["rates_mode"] = ratesMode
	o["mem_alarm"], o["disk_free_alarm"] = false, false
	if s, ok := stats[m.ID]; ok {
		numbers, err := toObject(s)
		if err != nil {
			return nil, err
		}
		delete(numbers, "memory") // nodes/{node}/memory shows it
		maps.Copy(o, numbers)
		o["mem_calculation_strategy"] = "rss"
		o["os_pid"] = strconv.Itoa(s.PID) // a text, as clients want it
		o["proc_total"], o["sockets_total"] = mostProcesses, s.FDTotal
	}
	if h, ok := over.all[m.ID]; ok {
		for i, name := range nodeGauges {
			of := seriesNode + series(i)
			o[name+"_details"] = over.span.details(h.rate(of), func(k int) uint64 { return h.sample(of, k) })
		}
	}
	if m.ID != info.NodeID {
		return o, nil
	}
	o["auth_mechanisms"] = []object{
		{"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true},
		{"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true},
	}
	o["exchange_types"] = exchangeTypes
	o["applications"] = []object{{"name": productName, "description": productName, "version": c.cfg.Version}}
	o["contexts"] = c.contexts()
	o["db_dir"] = c.tuned.Load().settings["data_dir"]
	return o, nil
}

// mostProcesses stands for how many goroutines there may be: only memory bounds them, and clients want a number.
const mostProcesses = math.MaxInt32

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
	case errors.Is(err, ErrDrained):
		return &failure{http.StatusConflict, "node_drained", err.Error()}
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
