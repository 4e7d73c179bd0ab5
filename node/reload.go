package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"warren/cluster"
	"warren/node/alarm"
	"warren/node/management"
)

// Tuning is what of Config may change while a node runs. What concerns one connection counts for those that come.
type Tuning struct {
	MemoryWatermark   Watermark
	DiskFreeLimit     int64
	FrameMax          int
	ChannelMax        int
	ConsumerMax       int
	ConnectionMax     int
	ChannelMaxPerNode int
	Heartbeat         time.Duration
	HandshakeTimeout  time.Duration

	// Settings are what operators are shown from now on.
	Settings map[string]string
}

// A Reloaded says what came of reading the settings again, by the names of the settings.
type Reloaded = management.Reloaded

// tuning is that of the settings that the node was opened with.
func (c *Config) tuning() *Tuning {
	return &Tuning{
		MemoryWatermark: c.MemoryWatermark, DiskFreeLimit: c.DiskFreeLimit,
		FrameMax: c.FrameMax, ChannelMax: c.ChannelMax, ConsumerMax: c.ConsumerMax,
		ConnectionMax: c.ConnectionMax, ChannelMaxPerNode: c.ChannelMaxPerNode,
		Heartbeat: c.Heartbeat, HandshakeTimeout: c.HandshakeTimeout,
		Settings: c.Settings,
	}
}

// memoryLimit is a watermark in bytes; 0 when it is a part of what nobody can tell.
func memoryLimit(w Watermark) int64 {
	if w.Bytes != 0 {
		return w.Bytes
	}
	return int64(w.Fraction * float64(alarm.Available(os.DirFS("/"))))
}

// keptPart is the part of the memory above which publishers are blocked that clients may make the node keep without an end; as much
// again is under way to them.
const keptPart = 4

// kept is how much clients may make the node keep where publishers are blocked above so much memory, 0 for no bound: at least two of
// the largest messages, as one that comes in pieces must not close its own connection.
func (c *Config) kept(memory int64) int64 {
	if memory <= 0 {
		return 0
	}
	return max(memory/keptPart, 2*int64(c.MaxMessageSize))
}

// Reload reads the settings and the certificates again. An error leaves all as it was, but for what of the two could be read.
// Open connections stay as they are.
func (n *Node) Reload() (Reloaded, error) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	var errs []error
	if n.certs != nil {
		if err := n.certs.Reload(); err != nil {
			errs = append(errs, fmt.Errorf("certificates: %w", err))
		}
	}
	r := Reloaded{Applied: []string{}, NeedRestart: []string{}}
	if n.cfg.Reread != nil {
		t, said, err := n.cfg.Reread()
		if err != nil {
			errs = append(errs, fmt.Errorf("settings: %w", err))
		} else {
			n.tune(&t)
			r.Applied, r.NeedRestart = append(r.Applied, said.Applied...), append(r.NeedRestart, said.NeedRestart...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		n.log.Error("reload: what could not be read stays as it was", "err", err)
		return r, err
	}
	n.log.Info("reload: settings and certificates were read again", "applied", r.Applied)
	if len(r.NeedRestart) > 0 {
		n.log.Warn("reload: these settings have changed and need a restart of the node", "settings", r.NeedRestart)
	}
	return r, nil
}

// tune puts settings into force.
func (n *Node) tune(t *Tuning) {
	n.tuned.Store(t)
	n.limits.Set(t.ConnectionMax, t.ChannelMaxPerNode)
	memory := memoryLimit(t.MemoryWatermark)
	n.limits.SetBytes(n.cfg.kept(memory))
	n.alarms.monitor.SetLimits(memory, max(t.DiskFreeLimit, 0))
	n.api.Tune(t.ConnectionMax, t.Settings)
}

// callReload: () -> reloadAnswer.
const callReload = "reload"

type reloadAnswer struct {
	Reloaded
	Failed string `json:"failed,omitempty"`
}

func (n *Node) answerReload(context.Context, string, []byte) ([]byte, error) {
	if !n.waitWired() {
		return nil, cluster.ErrClosed
	}
	r, err := n.Reload()
	a := reloadAnswer{Reloaded: r}
	if err != nil {
		a.Failed = err.Error()
	}
	return json.Marshal(a)
}

// Reload has a node read its settings and certificates again.
func (b broker) Reload(ctx context.Context, node string) (Reloaded, error) {
	m, err := b.member(node)
	if err != nil {
		return Reloaded{}, err
	}
	answer, err := b.cluster.Call(ctx, m.ID, callReload, nil)
	switch {
	case errors.Is(err, cluster.ErrNoMethod):
		return Reloaded{}, fmt.Errorf("%w: node %s is of a version that reads certificates alone again: send it SIGHUP", management.ErrNotSupported, m.Name)
	case err != nil:
		return Reloaded{}, err
	}
	var a reloadAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return Reloaded{}, fmt.Errorf("answer of node %s: %w", m.Name, err)
	}
	if a.Failed != "" {
		return a.Reloaded, fmt.Errorf("%w: %s", management.ErrReload, a.Failed)
	}
	return a.Reloaded, nil
}
