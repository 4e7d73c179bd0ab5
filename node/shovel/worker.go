package shovel

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Config is what New needs beside the shovel.
type Config struct {
	// Local opens a connection to the broker that runs the shovel. On one that is trusted nobody checks
	// who logs in. nil: there is no such broker, and URIs without a host lead to this machine.
	Local   func(trusted bool) (net.Conn, error)
	Type    string // for x-shovelled: dynamic
	Cluster string // for x-shovelled
	Version string
	Logger  *slog.Logger
}

// States of a shovel, by RabbitMQ's names.
const (
	Starting   = "starting"
	Running    = "running"
	Blocked    = "blocked"    // the destination takes no messages now
	Terminated = "terminated" // and waits, or has ended
)

// A Status tells how a shovel is doing. Numbers are of the Worker's life.
type Status struct {
	State               string
	Reason              string // why it is terminated
	Source, Destination string // URIs, redacted; empty before the first connection
	Remaining           int64  // messages still to move; Never: no end is set
	Forwarded           uint64 // messages that are acknowledged at the source
	Pending             int    // messages published and not yet confirmed
	Changed             time.Time
}

// A Worker runs a shovel.
type Worker struct {
	shovel          *Shovel
	cfg             Config
	log             *slog.Logger
	srcURI, destURI int // which worked last

	mu     sync.Mutex
	status Status
	known  bool // Remaining is
}

// New returns the worker of a shovel.
func New(s *Shovel, cfg Config) *Worker {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	w := &Worker{shovel: s, cfg: cfg, log: cfg.Logger.With("shovel", s.Name, "vhost", s.VHost)}
	w.status = Status{State: Starting, Remaining: Never, Changed: time.Now()}
	if s.Source.DeleteAfter != QueueLength {
		w.status.Remaining, w.known = s.Source.DeleteAfter, true
	}
	return w
}

// Status returns the present one.
func (w *Worker) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

func (w *Worker) set(change func(s *Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.status.State
	change(&w.status)
	if w.status.State != before {
		w.status.Changed = time.Now()
	}
}

// remaining returns how many messages are left to move; Never: no end is set.
func (w *Worker) remaining() int64 { return w.Status().Remaining }

// moved counts messages that are acknowledged at the source.
func (w *Worker) moved(n int) {
	w.set(func(s *Status) {
		s.Forwarded += uint64(n)
		if s.Remaining != Never {
			s.Remaining = max(0, s.Remaining-int64(n))
		}
	})
}

// maxPause is the longest pause between two tries, unless ReconnectDelay is longer.
const maxPause = 30 * time.Second

// Run moves messages until all that were asked for are moved (nil), until ctx ends (its error), or, with no
// ReconnectDelay, until something fails. After a failure it waits, longer each time that nothing was moved.
func (w *Worker) Run(ctx context.Context) error {
	pause := w.shovel.ReconnectDelay
	for {
		before := w.Status().Forwarded
		w.set(func(s *Status) { s.State, s.Reason = Starting, "" })
		err := w.once(ctx)
		switch {
		case err == nil:
			w.log.Info("shovel has moved all that it was asked for", "forwarded", w.Status().Forwarded)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		w.set(func(s *Status) { s.State, s.Reason, s.Pending = Terminated, err.Error(), 0 })
		if w.shovel.ReconnectDelay == 0 {
			w.log.Error("shovel ended", "err", err)
			return err
		}
		if w.Status().Forwarded > before {
			pause = w.shovel.ReconnectDelay
		}
		w.log.Warn("shovel starts again", "err", err, "in", pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, max(maxPause, w.shovel.ReconnectDelay))
	}
}
