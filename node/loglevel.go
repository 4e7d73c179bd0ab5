package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"warren/cluster"
	"warren/node/management"
)

// answerLogLevel sets the level of this node's log.
func (n *Node) answerLogLevel(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var level string
	if err := json.Unmarshal(payload, &level); err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	if n.cfg.SetLogLevel == nil {
		return json.Marshal("this node cannot change the level of its log while it runs")
	}
	if err := n.cfg.SetLogLevel(level); err != nil {
		return json.Marshal(err.Error())
	}
	n.log.Info("log level set", "level", level)
	return json.Marshal("")
}

// SetLogLevel sets the level of the log of a node, given by id or name.
func (b broker) SetLogLevel(ctx context.Context, node, level string) error {
	m, err := b.member(node)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(level)
	if err != nil {
		return err
	}
	answer, err := b.cluster.Call(ctx, m.ID, callLogLevel, payload)
	switch {
	case errors.Is(err, cluster.ErrNoMethod):
		return fmt.Errorf("%w: node %s is of a version that has no such order: change log_level in its settings and reload them", management.ErrNotSupported, m.Name)
	case err != nil:
		return err
	}
	var fault string
	if err := json.Unmarshal(answer, &fault); err != nil {
		return fmt.Errorf("answer of node %s: %w", m.Name, err)
	}
	if fault != "" {
		return fmt.Errorf("%w: %s", management.ErrLogLevel, fault)
	}
	return nil
}
