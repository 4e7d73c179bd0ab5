package alarm

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// every is the time between two measurements, and often the one when a limit
	// is near: a loaded node may take a hundred megabytes in a second.
	every = time.Second
	often = 100 * time.Millisecond
	// nearDisk is the distance from the disk's limit that is near, in bytes.
	nearDisk = 1 << 30
	// collectEvery is the least time between two collections while memory is low,
	// and collectShare the share of the time that they may take.
	collectEvery = 2 * time.Second
	collectShare = 20 // 1/20th
)

// Config is what a Monitor needs.
type Config struct {
	// MemoryLimit is how many bytes of memory raise the alarm; 0: none does.
	MemoryLimit int64
	// DiskLimit is how many free bytes of disk clear of the alarm; 0: it is never raised.
	DiskLimit int64

	// MemoryUsed and DiskFree measure, in bytes. An error leaves the alarm as it is.
	MemoryUsed func() (int64, error)
	DiskFree   func() (int64, error)
	// Collect gives memory that is garbage back to the system. It is called while
	// the alarm for memory is raised: nothing else might, when nothing is allocated.
	Collect func()

	// Changed is called with each change of the alarms. It must not block for long.
	Changed func(State)
	Logger  *slog.Logger // default: slog.Default()
}

// A Monitor watches the memory and the disk of its node.
type Monitor struct {
	cfg Config

	wake chan struct{} // capacity 1: measure now

	mu    sync.Mutex
	state State

	// The rest belongs to Run.
	failing   map[string]bool // what could not be measured last time
	notBefore time.Time       // of the next collection
	told      Set             // what Changed was last told
}

// NewMonitor returns a monitor that has measured once, so that a node that starts
// low on something never lets a publisher in: State has the outcome.
func NewMonitor(cfg Config) *Monitor {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	m := &Monitor{cfg: cfg, wake: make(chan struct{}, 1), failing: make(map[string]bool)}
	m.state.MemoryLimit, m.state.DiskLimit = cfg.MemoryLimit, cfg.DiskLimit
	m.measure()
	return m
}

// State returns what was measured last.
func (m *Monitor) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// SetLimits changes the limits of Config; they are compared with at once.
func (m *Monitor) SetLimits(memory, disk int64) {
	m.mu.Lock()
	m.state.MemoryLimit, m.state.DiskLimit = memory, disk
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run measures until ctx ends. It begins with what NewMonitor has measured. It guides the collector
// of garbage by the limit meanwhile.
func (m *Monitor) Run(ctx context.Context) {
	guided, undo := int64(0), func() {}
	defer func() { undo() }()
	for {
		s := m.State()
		if s.MemoryLimit != guided {
			undo()
			guided, undo = s.MemoryLimit, GuideCollector(s.MemoryLimit)
		}
		if s.Raised != m.told {
			m.log(s)
			m.told = s.Raised
			m.cfg.Changed(s)
		}
		if s.Raised&Memory != 0 {
			m.collect()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval(s)):
		case <-m.wake:
		}
		m.measure()
	}
}

func (m *Monitor) measure() {
	used, errMemory := m.cfg.MemoryUsed()
	free, errDisk := m.cfg.DiskFree()
	m.note(memoryName, errMemory)
	m.note(diskName, errDisk)
	m.mu.Lock()
	defer m.mu.Unlock()
	if errMemory == nil {
		m.state.MemoryUsed = used
	}
	if errDisk == nil {
		m.state.DiskFree = free
	}
	m.state.Raised = m.state.judge(errMemory == nil, errDisk == nil)
}

// judge decides on the alarms by what was measured. A raised alarm is only cleared
// when there is some distance from the limit again, or it would come and go with every message.
func (s *State) judge(memory, disk bool) Set {
	raised := s.Raised
	if memory {
		raised = raised.with(Memory,
			s.MemoryLimit > 0 && s.MemoryUsed > s.MemoryLimit,
			s.MemoryUsed <= s.MemoryLimit-s.MemoryLimit/20)
	}
	if disk {
		raised = raised.with(Disk,
			s.DiskFree < s.DiskLimit,
			s.DiskFree >= s.DiskLimit+s.DiskLimit/20)
	}
	return raised
}

// with adds the alarm when it is low, takes it away when it is fine, and leaves
// it as it was in between.
func (s Set) with(alarm Set, low, fine bool) Set {
	switch {
	case low:
		return s | alarm
	case fine:
		return s &^ alarm
	}
	return s
}

// interval is the time until the next measurement.
func interval(s State) time.Duration {
	nearMemory := s.MemoryLimit > 0 && between(s.MemoryUsed, s.MemoryLimit-s.MemoryLimit/5, s.MemoryLimit+s.MemoryLimit/5)
	nearFull := s.DiskLimit > 0 && between(s.DiskFree, s.DiskLimit-nearDisk, s.DiskLimit+nearDisk)
	if nearMemory || nearFull {
		return often
	}
	return every
}

func between(v, low, high int64) bool { return low <= v && v <= high }

// collect gives garbage back, now and then.
func (m *Monitor) collect() {
	start := time.Now()
	if start.Before(m.notBefore) {
		return
	}
	m.cfg.Collect()
	m.notBefore = start.Add(max(collectEvery, collectShare*time.Since(start)))
}

// note logs when a measurement begins to fail, and when it works again.
func (m *Monitor) note(what string, err error) {
	switch failed := err != nil; {
	case failed && !m.failing[what]:
		m.cfg.Logger.Error("resource cannot be measured; its alarm stays as it is", "resource", what, "err", err)
	case !failed && m.failing[what]:
		m.cfg.Logger.Info("resource can be measured again", "resource", what)
	}
	m.failing[what] = err != nil
}

// log says what changed.
func (m *Monitor) log(s State) {
	for _, a := range []struct {
		alarm            Set
		name             string
		measured, limit  string
		amount, boundary int64
	}{
		{Memory, memoryName, "used", "limit", s.MemoryUsed, s.MemoryLimit},
		{Disk, diskName, "free", "limit", s.DiskFree, s.DiskLimit},
	} {
		args := []any{"resource", a.name, a.measured, a.amount, a.limit, a.boundary}
		switch now, before := s.Raised&a.alarm != 0, m.told&a.alarm != 0; {
		case now && !before:
			m.cfg.Logger.Warn("alarm raised: publishers of the whole cluster are blocked", args...)
		case before && !now:
			m.cfg.Logger.Info("alarm cleared", args...)
		}
	}
}
