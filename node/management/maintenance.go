package management

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors of Broker.Drain and Revive, beside ErrUnknownNode.
var (
	// ErrNeeded: without the node the others would be no quorum that serves clients.
	ErrNeeded = errors.New("the node cannot be drained now")
	// ErrDrained, of Broker.Transfer: a node that is drained is not to lead.
	ErrDrained = errors.New("the node cannot lead now")
	// ErrNotSupported: the node is of a version that cannot do it.
	ErrNotSupported = errors.New("maintenance mode is not supported")
)

// maintenanceRoutes are rabbitmq-upgrade's drain, revive and await_online_quorum_plus_one. RabbitMQ has them on its command line only.
func (s *server) maintenanceRoutes() []route {
	return []route{
		handle(http.MethodPost, "cluster/nodes/{node}/drain", (*call).drain),
		handle(http.MethodPost, "cluster/nodes/{node}/revive", (*call).revive),
		look("cluster/nodes/{node}/quorum-critical", (*call).nodeQuorumCritical),
	}
}

func (c *call) drain() error {
	var body struct {
		Force bool `json:"force"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	closed, err := c.cfg.Broker.Drain(c.r.Context(), c.params["node"], body.Force)
	if err != nil {
		return maintenanceError(err)
	}
	c.log.Info("node drained", "drained", c.params["node"], "user", c.user, "forced", body.Force, "connections_closed", closed)
	return c.ok(object{"connections_closed": closed})
}

func (c *call) revive() error {
	if err := c.cfg.Broker.Revive(c.r.Context(), c.params["node"]); err != nil {
		return maintenanceError(err)
	}
	c.log.Info("node revived", "revived", c.params["node"], "user", c.user)
	return c.none()
}

func maintenanceError(err error) error {
	switch {
	case errors.Is(err, ErrUnknownNode):
		return &failure{http.StatusNotFound, "not_found", err.Error()}
	case errors.Is(err, ErrNeeded):
		return &failure{http.StatusConflict, "quorum_critical", err.Error()}
	case errors.Is(err, ErrNotSupported):
		return errBadRequest("%v", err)
	default:
		return errUnavailable(err.Error())
	}
}

// nodeQuorumCritical is health/checks/node-is-quorum-critical for any node, as the one that is asked sees it.
func (c *call) nodeQuorumCritical() error {
	m, err := c.nodeAsked()
	if err != nil {
		return err
	}
	return c.quorumCritical(m.ID)
}

// checkQuorumCritical fails when the cluster would lose its quorum with this node. A cluster of one cannot do better and is fine.
func (c *call) checkQuorumCritical() error { return c.quorumCritical("") }

func (c *call) quorumCritical(id string) error {
	info := c.cluster()
	if id == "" {
		id = info.NodeID
	}
	if len(voters(&info)) <= 1 {
		return c.ok(object{"status": "ok", "reason": "single node cluster"})
	}
	if reason := WithoutNode(&info, c.cfg.Broker.NodeStats(c.r.Context()), id); reason != "" {
		return c.failed(object{
			"reason": "There are quorum queues that would lose their quorum if the target node is shut down: " + reason,
			"queues": []object{},
		})
	}
	return c.ok(object{"status": "ok"})
}

func voters(info *ClusterInfo) []Member {
	var some []Member
	for _, m := range info.Members {
		if m.Voter {
			some = append(some, m)
		}
	}
	return some
}

// upToDate is how many entries of the log a voter may lag behind and still count: under load all but the leader do.
const upToDate = 1024

// WithoutNode tells why the cluster could not go on without a node, or nothing when it could. info is the cluster as this node sees it,
// taken before the nodes were asked for stats. Those count that take part in the present term, have about all of the log, and are in
// service: a node that is drained is about to be stopped. A cluster of one has nothing to lose, nor has one without a node that has no vote.
func WithoutNode(info *ClusterInfo, stats map[string]NodeStats, id string) string {
	voters := voters(info)
	others, votes, missing := 0, false, []string{}
	for _, m := range voters {
		if m.ID == id {
			votes = true
			continue
		}
		s, answered := stats[m.ID]
		switch {
		case !answered:
			missing = append(missing, m.Name+" does not answer")
		case s.Term != info.Term || s.State != "Leader" && s.State != "Follower":
			missing = append(missing, m.Name+" follows no leader")
		case s.LastIndex+upToDate < info.CommitIndex:
			missing = append(missing, fmt.Sprintf("%s is still catching up, at %d of %d", m.Name, s.LastIndex, info.CommitIndex))
		case s.BeingDrained:
			missing = append(missing, m.Name+" is drained")
		default:
			others++
		}
	}
	quorum := len(voters)/2 + 1
	if !votes || len(voters) <= 1 || others >= quorum {
		return ""
	}
	text := fmt.Sprintf("without it %d of %d voters would take part, and %d are needed", others, len(voters), quorum)
	if len(missing) == 0 {
		return text + ": add a node first (a cluster of two outlives the loss of none)"
	}
	return text + " (" + strings.Join(missing, ", ") + "): bring these back first (start, revive, or wait for them)"
}
