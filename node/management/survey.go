package management

import (
	"slices"
	"sync"

	"warren/fsm"
	"warren/fsm/topology"
)

// queueSeries are the numbers of a queue that are kept over time; the last are no counts.
var queueSeries = [...]string{
	"publish", "deliver", "deliver_no_ack", "get", "get_no_ack", "get_empty", "redeliver", "ack",
	"messages", "messages_ready", "messages_unacknowledged",
}

// queueGauges is the first of queueSeries that may fall.
const queueGauges = 8

// queueCounts are the numbers of a queue, or of all of a vhost, in the order of queueSeries.
type queueCounts [len(queueSeries)]uint64

func countsOf(s *fsm.QueueStats) queueCounts {
	return queueCounts{
		s.Published, s.Delivered, s.DeliveredAuto, s.Got, s.GotAuto, s.GotEmpty, s.Redelivered, s.Acked,
		uint64(s.Messages()), uint64(s.Ready), uint64(s.Unacked),
	}
}

func queueValues(c *queueCounts) []uint64 { return slices.Clone(c[:]) }

// trafficSeries are the numbers of an exchange that are kept over time.
var trafficSeries = [...]string{"publish_in", "publish_out"}

type trafficCounts [len(trafficSeries)]uint64

func trafficValues(c *trafficCounts) []uint64 { return slices.Clone(c[:]) }

// An entityName is the place of a queue, an exchange or (without a name) a vhost in the cluster.
type entityName struct{ vhost, name string }

// A tracked is what the last two surveys found of one object, and, while somebody looks at its samples, those of before.
type tracked[C comparable] struct {
	last, before C
	use          usage // of a queue
	once         bool  // only one survey has found it
	round        int64 // the last survey that found it
	history      *history
	looked       int64 // when somebody last wanted samples, milliseconds
}

// A track is what the last two surveys found of all objects of a kind.
type track[C comparable] struct {
	all     map[entityName]*tracked[C]
	watched int // have a history
}

const (
	// maxWatched is how many objects of a kind have their samples kept at a time: 11 kB each.
	maxWatched = 500
	// watchFor is how long samples are kept after somebody looked at them, in milliseconds.
	watchFor = 600_000
)

// note keeps what a survey has found of an object.
func (t *track[C]) note(name entityName, round, at int64, found C, values func(*C) []uint64) *tracked[C] {
	if t.all == nil {
		t.all = make(map[entityName]*tracked[C])
	}
	o := t.all[name]
	if o == nil {
		o = &tracked[C]{once: round == 1, last: found} // later ones are new, and began with nothing
		t.all[name] = o
	} else {
		o.before, o.once = o.last, false
		o.last = found
	}
	o.round = round
	if o.history != nil && at-o.looked > watchFor {
		o.history = nil
		t.watched--
	}
	if o.history != nil {
		o.history.add(at, values(&o.last))
	}
	return o
}

// sweep forgets what the last survey has not found.
func (t *track[C]) sweep(round int64) {
	for name, o := range t.all {
		if o.round != round {
			delete(t.all, name)
			if o.history != nil {
				t.watched--
			}
		}
	}
}

// watch returns a copy of the samples of an object, and sees to it that there will be more: it was looked at
// at the time of the last survey. It returns nil when too many are watched.
func (t *track[C]) watch(name entityName, at, before int64, values func(*C) []uint64) *tier {
	o := t.all[name]
	o.looked = at
	if o.history == nil && t.watched < maxWatched {
		t.watched++
		o.history = newHistory(false)
		if !o.once {
			o.history.add(before, values(&o.before))
		}
		o.history.add(at, values(&o.last))
	}
	if o.history == nil {
		return nil
	}
	past := o.history.tiers[0]
	past.at, past.data = slices.Clone(past.at), slices.Clone(past.data)
	return &past
}

// A survey knows what all queues and exchanges have counted the last two times that it looked.
type survey struct {
	mu         sync.Mutex
	round      int64
	at, before int64 // times of the last two surveys, milliseconds
	queues     track[queueCounts]
	vhosts     track[queueCounts]
	exchanges  track[trafficCounts]
	sums       fsm.Totals // of all queues, at the last survey
}

// take looks at all queues and exchanges. The machine goes on meanwhile, but for moments.
func (s *survey) take(view viewer, at int64) {
	f := inspect(view)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.round++
	s.before, s.at = s.at, at
	s.sums = f.sums
	for i, name := range f.names {
		if f.there[i] {
			o := s.queues.note(name, s.round, at, f.counts[i], queueValues)
			o.use.note(at, f.consumers[i], &o.last, &o.before)
		}
	}
	for vhost, c := range f.vhosts {
		s.vhosts.note(entityName{vhost: vhost}, s.round, at, *c, queueValues)
	}
	for _, t := range f.traffic {
		s.exchanges.note(t.entityName, s.round, at, t.counts, trafficValues)
	}
	s.queues.sweep(s.round)
	s.vhosts.sweep(s.round)
	s.exchanges.sweep(s.round)
}

// findings are what one survey finds.
type findings struct {
	names     []entityName
	there     []bool // the queue was still there
	counts    []queueCounts
	consumers []int
	vhosts    map[string]*queueCounts
	traffic   []foundTraffic
	sums      fsm.Totals
}

type foundTraffic struct {
	entityName
	counts trafficCounts
}

func inspect(view viewer) *findings {
	f := &findings{vhosts: make(map[string]*queueCounts)}
	var vhosts []string
	view(func(m *fsm.Machine) { vhosts = m.VHosts() })
	for _, vhost := range vhosts {
		f.vhosts[vhost] = new(queueCounts)
		var names []string
		view(func(m *fsm.Machine) {
			names = m.QueueNames(vhost)
			m.EachTraffic(vhost, func(x string, t topology.Traffic) {
				f.traffic = append(f.traffic, foundTraffic{entityName{vhost, x}, trafficCounts{t.In, t.Out}})
			})
			exchanges, bindings, delayed := m.EntityCounts(vhost)
			f.sums.Exchanges += exchanges
			f.sums.Bindings += bindings
			f.sums.Delayed += delayed
		})
		for _, name := range names {
			f.names = append(f.names, entityName{vhost, name})
		}
	}
	f.there, f.counts, f.consumers = make([]bool, len(f.names)), make([]queueCounts, len(f.names)), make([]int, len(f.names))
	view.each(len(f.names), func(m *fsm.Machine, i int) {
		q, ok := m.QueueStats(f.names[i].vhost, f.names[i].name)
		if !ok {
			return
		}
		f.there[i], f.counts[i], f.consumers[i] = true, countsOf(&q), q.Consumers
		f.sums.AddQueue(&q)
		sum := f.vhosts[f.names[i].vhost]
		for k, n := range f.counts[i] {
			sum[k] += n
		}
	})
	f.sums.VHosts = len(vhosts)
	return f
}

// ratesOf returns the rates of an object between the last two surveys; nil when it was not there in both.
func ratesOf(last, before []uint64, ms int64, gauges int) []float64 {
	rates := make([]float64, len(last))
	for i := range last {
		rates[i] = perSecond(before[i], last[i], ms, i < gauges)
	}
	return rates
}

// queue returns the rates of a queue, and its samples if they are wanted.
func (s *survey) queue(name entityName, samples bool) objectStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return objectOf(s, &s.queues, name, samples, queueGauges, queueValues)
}

// vhost does that for the sum of a vhost's queues.
func (s *survey) vhost(name string, samples bool) objectStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return objectOf(s, &s.vhosts, entityName{vhost: name}, samples, queueGauges, queueValues)
}

// exchange does that for an exchange.
func (s *survey) exchange(name entityName, samples bool) objectStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return objectOf(s, &s.exchanges, name, samples, len(trafficSeries), trafficValues)
}

// totals returns the sums over all queues of the last survey, and how many there were.
func (s *survey) totals() (fsm.Totals, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sums, s.round
}

// objectStats are the rates and samples of one object, in the order of its series.
type objectStats struct {
	rates []float64
	past  *tier // nil: no samples
	use   usage // of a queue
}

// objectOf is called with the lock held.
func objectOf[C comparable](s *survey, t *track[C], name entityName, samples bool, gauges int, values func(*C) []uint64) objectStats {
	var found objectStats
	o := t.all[name]
	if o == nil {
		return found
	}
	found.use = o.use
	if !o.once && s.at > s.before {
		found.rates = ratesOf(values(&o.last), values(&o.before), s.at-s.before, gauges)
	}
	if samples {
		found.past = t.watch(name, s.at, s.before, values)
	}
	return found
}

// rate returns the rate of the i-th series.
func (s *objectStats) rate(i int) float64 {
	if s.rates == nil {
		return 0
	}
	return s.rates[i]
}

// sample returns the i-th number at a time. The past that nobody watched was like what was seen first,
// for all that is known.
func (s *objectStats) sample(i int, at int64) uint64 {
	v := s.past.find(at)
	if v == nil {
		v = s.past.data[0]
	}
	return v[i]
}

// addSince says from when on samples are known, in milliseconds since the Unix epoch, where samples were asked for.
func (s *objectStats) addSince(o object) {
	if s.past != nil {
		o[samplesSince] = s.past.at[0]
	}
}

const samplesSince = "samples_since"

// details returns what stands beside the i-th number.
func (s *objectStats) details(r *sampleRange, i int) object {
	return s.sumDetails(r, []int{i})
}

// sumDetails returns what stands beside the sum of some numbers.
func (s *objectStats) sumDetails(r *sampleRange, of []int) object {
	if s.past == nil {
		r = nil
	}
	rate := 0.0
	for _, i := range of {
		rate += s.rate(i)
	}
	return r.details(rate, func(k int) (sum uint64) {
		for _, i := range of {
			sum += s.sample(i, r.end-int64(k)*r.step)
		}
		return sum
	})
}
