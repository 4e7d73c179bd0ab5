package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// Remove takes a dead node out of the cluster for good, as rabbitmqctl
// forget_cluster_node does. It works on any member, named by id or by name; of
// several nodes of a name it means the dead one. A node that runs is refused
// (ErrNodeRunning), and so is what would leave no quorum (ErrQuorum). Other
// errors: ErrNoSuchNode, ErrAmbiguous, ErrRemoveSelf, ErrLastVoter, ErrNoLeader.
// After ErrNoLeader the node may have been removed all the same.
func (c *Cluster) Remove(ctx context.Context, idOrName string) error {
	if idOrName == c.cfg.ID || (idOrName == c.cfg.Name && c.onlyOneNamed(idOrName)) {
		return ErrRemoveSelf
	}
	_, err := c.onRemove(ctx, c.cfg.ID, []byte(idOrName))
	return err
}

func (c *Cluster) onlyOneNamed(name string) bool { return len(c.named(name)) == 1 }

// named returns the members that have the name or the id.
func (c *Cluster) named(idOrName string) []string {
	var out []string
	for _, s := range c.servers() {
		id := string(s.ID)
		if id == idOrName {
			return []string{id}
		}
		if e, ok := c.book.get(id); ok && e.Name == idOrName {
			out = append(out, id)
		}
	}
	return out
}

func (c *Cluster) onRemove(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	if _, leads := c.leadingTerm(); !leads {
		return c.askLeader(ctx, methodRemove, payload)
	}
	what := string(payload)
	ids := c.named(what)
	if len(ids) > 1 {
		ids = slices.DeleteFunc(ids, c.isAlive)
		if len(ids) > 1 {
			return nil, fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(ids, ", "))
		}
		if len(ids) == 0 {
			return nil, fmt.Errorf("%w: %s", ErrNodeRunning, what)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoSuchNode, what)
	}
	return nil, c.remove(ids[0])
}

// remove takes a dead node out of the configuration. Only on the leader.
func (c *Cluster) remove(id string) error {
	s, ok := c.server(id)
	if !ok {
		return fmt.Errorf("%w: %s", ErrNoSuchNode, id)
	}
	if c.isAlive(id) {
		return fmt.Errorf("%w: %s", ErrNodeRunning, id)
	}
	if s.Suffrage == raft.Voter {
		alive, voters := c.aliveVoters(c.servers(), id)
		if voters == 0 {
			return ErrLastVoter
		}
		if alive < voters/2+1 {
			return fmt.Errorf("%w: %d of the %d others that vote are alive", ErrQuorum, alive, voters)
		}
	}
	c.log.Info("removing node", "removed", id)
	return raftError(c.raftNow().RemoveServer(raft.ServerID(id), 0, configTime).Error())
}
