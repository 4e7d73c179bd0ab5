package management

import (
	"context"
	"sync"
	"time"

	"warren/fsm"
)

// samplerShare is how many times as long as a survey the sampler rests behind it: with very many queues it
// looks more seldom, and takes half a percent of one core at most.
const samplerShare = 200

// A sampler keeps what a node has counted over time.
type sampler struct {
	broker Broker
	survey survey

	mu       sync.Mutex
	history  *history
	whileLed led
}

func newSampler(b Broker) *sampler { return &sampler{broker: b, history: newHistory(true)} }

// run takes samples until ctx ends, at times that are the same on all nodes, as far as their clocks are.
func (s *sampler) run(ctx context.Context) {
	const step = sampleStep * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	rested := time.Now() // when the survey may be taken next
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		if !began.Before(rested) {
			s.survey.take(s.broker.View, began.UnixMilli())
			rested = time.Now().Add(min(samplerShare*time.Since(began)-step, time.Hour))
		}
		s.sample(began.UnixMilli())
		timer.Reset(time.Until(began.Truncate(step).Add(step)))
	}
}

// sample keeps a sample of the node's numbers.
func (s *sampler) sample(at int64) {
	now := s.now()
	s.led()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.add(at, now)
}

// led returns what has happened to queues while this node led.
func (s *sampler) led() led {
	var seen fsm.Seen
	s.broker.View(func(m *fsm.Machine) { seen = m.Seen() })
	sums, round := s.survey.totals()
	leads := s.broker.LocalStats().State == leaderState
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whileLed.look(leads, seen, countsOf(&fsm.QueueStats{Counters: sums.Counters}), round)
	return s.whileLed
}

// now returns the node's numbers of this moment, in the order of seriesNames; those of queues are of the last survey.
func (s *sampler) now() []uint64 {
	values := make([]uint64, 0, seriesAll)
	counted := s.broker.Counted()
	for _, name := range seriesNames[:seriesChurn+localChurn] {
		values = append(values, counted[name])
	}
	var seen fsm.Seen
	s.broker.View(func(m *fsm.Machine) { seen = m.Seen() })
	sums, _ := s.survey.totals()
	stats := s.broker.LocalStats()
	return append(values,
		seen.Declared, seen.Created, seen.Deleted,
		uint64(sums.Ready+sums.Unacked+sums.Parked+sums.Retrying), uint64(sums.Ready), uint64(sums.Unacked),
		uint64(stats.MemoryUsed), uint64(stats.FDUsed), uint64(stats.SocketsUsed), uint64(stats.Processes), uint64(stats.DiskFree))
}

func (s *sampler) answer(q HistoryQuery) HistoryAnswer {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history.answer(q, now)
}

// clusterStats are the numbers of the whole cluster.
type clusterStats struct {
	own  HistoryAnswer
	all  map[string]HistoryAnswer // by node id
	span *sampleRange
}

// clusterStats asks all nodes.
func (c *call) clusterStats(r *sampleRange) *clusterStats {
	all := c.cfg.Broker.History(c.r.Context(), r.query())
	return &clusterStats{own: all[c.cluster().NodeID], all: all, span: r}
}

// value returns the present value of a series, its rate, and a function that gives its samples.
func (s *clusterStats) value(of series) (now uint64, rate float64, at func(i int) uint64) {
	nodes := []HistoryAnswer{s.own}
	if of.summed() {
		nodes = nodes[:0]
		for _, a := range s.all {
			nodes = append(nodes, a)
		}
	}
	for i := range nodes {
		now += nodes[i].value(of)
		rate += nodes[i].rate(of)
	}
	return now, rate, func(i int) (sum uint64) {
		for n := range nodes {
			sum += nodes[n].sample(of, i)
		}
		return sum
	}
}

func (a *HistoryAnswer) value(of series) uint64 {
	if int(of) >= len(a.Now) {
		return 0
	}
	return a.Now[of]
}

func (a *HistoryAnswer) rate(of series) float64 {
	if int(of) >= len(a.Rates) {
		return 0
	}
	return a.Rates[of]
}

// sample is 0 before the node started.
func (a *HistoryAnswer) sample(of series, i int) uint64 {
	if i >= len(a.Samples) || int(of) >= len(a.Samples[i]) {
		return 0
	}
	return a.Samples[i][of]
}

// object returns series and their details, beginning with one.
func (s *clusterStats) object(first series, names []string) object {
	o := object{}
	for i, name := range names {
		now, rate, at := s.value(first + series(i))
		o[name], o[name+"_details"] = now, s.span.details(rate, at)
	}
	return o
}

// messages are the message_stats of the cluster.
func (s *clusterStats) messages() object {
	o := s.object(0, messageCounts[:])
	sum, rate := uint64(0), 0.0
	var parts []func(int) uint64
	for i, name := range messageCounts {
		if !isDelivering(name) {
			continue
		}
		now, r, at := s.value(series(i))
		sum += now
		rate += r
		parts = append(parts, at)
	}
	o["deliver_get"] = sum
	o["deliver_get_details"] = s.span.details(rate, func(i int) (all uint64) {
		for _, at := range parts {
			all += at(i)
		}
		return all
	})
	return o
}
