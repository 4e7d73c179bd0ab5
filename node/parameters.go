package node

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"warren/fsm"
	"warren/fsm/command"
)

// nameRetry is how long a node waits before it proposes once more how the cluster is called.
const nameRetry = 200 * time.Millisecond

// clusterName is the name that operators gave the cluster, or before it has one that of the settings.
func (n *Node) clusterName() string {
	var value string
	n.replica.View(func(m *fsm.Machine) { value, _ = m.GlobalParameter(command.GlobalClusterName) })
	var name string
	if json.Unmarshal([]byte(value), &name) != nil || name == "" {
		return n.cfg.ClusterName
	}
	return name
}

// nameCluster gives a cluster its name and an id for its life, unless it has them, and returns when it
// does. The settings of the node whose proposal comes first in the log count.
func (n *Node) nameCluster(ctx context.Context) {
	for {
		missing, known := n.namesMissing()
		if known && len(missing) == 0 {
			return
		}
		done := known
		for _, cmd := range missing {
			if !known {
				break
			}
			if _, err := (broker{n}).Propose(ctx, cmd); err != nil {
				done = false
			}
		}
		if done {
			continue // to see it
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nameRetry):
		}
	}
}

// namesMissing returns the commands for what the cluster lacks; known is false while a node of
// it does not know such commands.
func (n *Node) namesMissing() (missing []command.Command, known bool) {
	values := map[string]string{
		command.GlobalClusterName: n.cfg.ClusterName,
		command.GlobalClusterID:   "warren-cluster-id-" + uuid.NewString(),
	}
	n.replica.View(func(m *fsm.Machine) {
		known = m.Version() >= fsm.Since(command.KindGlobalParameterPut)
		for name, value := range values {
			if _, there := m.GlobalParameter(name); !there {
				text, _ := json.Marshal(value) // a string
				missing = append(missing, &command.GlobalParameterPut{Name: name, Value: string(text), IfMissing: true})
			}
		}
	})
	return missing, known
}
