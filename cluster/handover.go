package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// TransferLeadership makes another member lead: the one named by id or name, or
// with "" one that is alive. It works on any member and returns when the old
// leader has stepped down. Errors: ErrNoSuchNode, ErrAmbiguous, ErrReluctant, ErrNoLeader, or
// what Raft says.
func (c *Cluster) TransferLeadership(ctx context.Context, to string) error {
	_, err := c.onTransfer(ctx, c.cfg.ID, []byte(to))
	return err
}

func (c *Cluster) onTransfer(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	if _, leads := c.leadingTerm(); !leads {
		return c.askLeader(ctx, methodTransfer, payload)
	}
	to := string(payload)
	if to != "" {
		ids := c.named(to)
		if len(ids) > 1 {
			ids = slices.DeleteFunc(ids, func(id string) bool { return !c.isAlive(id) })
		}
		switch {
		case len(ids) == 0:
			return nil, fmt.Errorf("%w: %s", ErrNoSuchNode, to)
		case len(ids) > 1:
			return nil, fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(ids, ", "))
		case ids[0] == c.cfg.ID:
			return nil, nil
		}
		to = ids[0]
		if c.isReluctant(to) {
			return nil, fmt.Errorf("%w: %s", ErrReluctant, string(payload))
		}
	}
	return nil, c.transfer(ctx, to)
}

// transfer hands leadership to a voter that is alive: to the one given, or else
// to the first that takes it and is not reluctant. With no other voter there is nothing to do.
func (c *Cluster) transfer(ctx context.Context, to string) error {
	var targets []raft.Server
	others := 0
	for _, s := range c.servers() {
		id := string(s.ID)
		if s.Suffrage != raft.Voter || id == c.cfg.ID {
			continue
		}
		others++
		if (to == "" && c.peers.isUp(id) && !c.isReluctant(id)) || to == id {
			targets = append(targets, s)
		}
	}
	if others == 0 && to == "" {
		return nil
	}
	if len(targets) == 0 {
		return fmt.Errorf("%w: no voter to lead", ErrNoSuchNode)
	}
	var errs []error
	for _, s := range targets {
		if err := c.askWilling(ctx, string(s.ID)); err != nil {
			errs = append(errs, fmt.Errorf("to %s: %w", s.ID, err))
			continue
		}
		done := make(chan error, 1)
		go func() { done <- c.raftNow().LeadershipTransferToServer(s.ID, s.Address).Error() }()
		select {
		case err := <-done:
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("to %s: %w", s.ID, err))
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
	}
	return fmt.Errorf("transfer leadership: %w", errors.Join(errs...))
}

// handOver gives leadership to another voter that is alive.
func (c *Cluster) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Transfer)
	defer cancel()
	if _, leads := c.leadingTerm(); !leads {
		return
	}
	if err := c.transfer(ctx, ""); err != nil {
		c.log.Warn("could not hand leadership over", "error", err)
	}
}
