package management

import (
	"math"
	"slices"
	"sort"
)

// A series is a number of a node that is kept over time.
type series int

// The series. Those of messages come first, in the order of their names.
const (
	seriesChurn  series = series(len(messageCounts))
	seriesQueues series = seriesChurn + series(len(churnCounts))
	seriesNode   series = seriesQueues + series(len(queueTotals))
	seriesAll    series = seriesNode + series(len(nodeGauges))
)

// messageCounts are what happened to messages on channels, by RabbitMQ's names.
var messageCounts = [...]string{
	"publish", "confirm", "return_unroutable", "drop_unroutable", "deliver", "deliver_no_ack",
	"get", "get_no_ack", "get_empty", "redeliver", "ack",
}

// churnCounts are what came and went. The first four are of connections and channels of a node; queues are the
// same for all nodes.
var churnCounts = [...]string{
	"connection_created", "connection_closed", "channel_created", "channel_closed",
	"queue_declared", "queue_created", "queue_deleted",
}

// localChurn is how many of churnCounts are of one node.
const localChurn = 4

// queueTotals are how many messages there are, which is the same for all nodes.
var queueTotals = [...]string{"messages", "messages_ready", "messages_unacknowledged"}

// nodeGauges are what a node uses.
var nodeGauges = [...]string{"mem_used", "fd_used", "sockets_used", "proc_used", "disk_free"}

// seriesNames are the names of all series.
var seriesNames = slices.Concat(messageCounts[:], churnCounts[:], queueTotals[:], nodeGauges[:])

// summed reports whether the cluster's number is the sum of those of its nodes.
func (s series) summed() bool { return s < seriesChurn+localChurn }

// grows reports whether a series only grows, but for restarts.
func (s series) grows() bool { return s < seriesQueues }

// A tier keeps samples at equal distances, the oldest first.
type tier struct {
	step int64 // milliseconds
	keep int
	at   []int64 // milliseconds since the Unix epoch
	data [][]uint64
}

// add keeps a sample, unless there is one of the same step.
func (t *tier) add(at int64, values []uint64) {
	if n := len(t.at); n > 0 && t.at[n-1]/t.step >= at/t.step {
		return
	}
	if len(t.at) == t.keep {
		t.at = append(t.at[:0], t.at[1:]...)
		t.data = append(t.data[:0], t.data[1:]...)
	}
	t.at = append(t.at, at)
	t.data = append(t.data, values)
}

// find returns the sample of a time, nil when that is before all. Between two samples it lies on the line from one to the other:
// they are late under load, and a step to the next one would look like a pause and a burst. After the last one it is that.
func (t *tier) find(at int64) []uint64 {
	i := sort.Search(len(t.at), func(i int) bool { return t.at[i] > at })
	switch {
	case i == 0:
		return nil
	case i == len(t.at) || t.at[i-1] == at:
		return t.data[i-1]
	}
	part := float64(at-t.at[i-1]) / float64(t.at[i]-t.at[i-1])
	between := make([]uint64, len(t.data[i]))
	for k, before := range t.data[i-1] {
		between[k] = uint64(math.Round(float64(before) + (float64(t.data[i][k])-float64(before))*part))
	}
	return between
}

// sampleStep is the distance of the closest samples, in milliseconds.
const sampleStep = 5000

// A history keeps samples, the older the fewer.
type history struct{ tiers []tier }

// newHistory keeps as long as RabbitMQ does by default (sample_retention_policies): ten minutes,
// and with long an hour, eight hours and a day too.
func newHistory(long bool) *history {
	h := &history{tiers: []tier{{step: sampleStep, keep: 121}}}
	if long {
		h.tiers = append(h.tiers,
			tier{step: 60_000, keep: 61}, tier{step: 600_000, keep: 49}, tier{step: 1_800_000, keep: 49})
	}
	return h
}

// retention is what newHistory keeps, in seconds, by RabbitMQ's names.
var retention = object{"global": []int{600, 3600, 28800, 86400}, "basic": []int{600}, "detailed": []int{600}}

func (h *history) add(at int64, values []uint64) {
	for i := range h.tiers {
		h.tiers[i].add(at, values)
	}
}

// find returns the sample of a time; nil when that is before all.
func (h *history) find(at int64) []uint64 {
	for i := range h.tiers {
		if v := h.tiers[i].find(at); v != nil {
			return v
		}
	}
	return nil
}

// rates returns by how much each value has grown in a second between the last two samples. What grows
// only, and has become less, began anew.
func (h *history) rates(grows func(i int) bool) []float64 {
	t := &h.tiers[0]
	n := len(t.at)
	if n < 2 {
		return nil
	}
	last, before := t.data[n-1], t.data[n-2]
	rates := make([]float64, len(last))
	for i := range last {
		rates[i] = perSecond(before[i], last[i], t.at[n-1]-t.at[n-2], grows(i))
	}
	return rates
}

// perSecond is by how much a value has grown in a second, within so many milliseconds.
func perSecond(before, now uint64, ms int64, grows bool) float64 {
	if grows && now < before {
		before = 0
	}
	return (float64(now) - float64(before)) * 1000 / float64(ms)
}

// A HistoryQuery asks a node for samples: Count of them, Step apart, the last at End.
type HistoryQuery struct {
	End   int64 `json:"end"`  // milliseconds since the Unix epoch
	Step  int64 `json:"step"` // milliseconds
	Count int   `json:"count"`
}

// A HistoryAnswer is what a node has counted, by series. Nodes of other versions may know
// more series or fewer: each begins with those of the older.
type HistoryAnswer struct {
	Now     []uint64   `json:"now"`
	Rates   []float64  `json:"rates"`             // empty when there are not two samples yet
	Samples [][]uint64 `json:"samples,omitempty"` // newest first; before the node started they are null
}

// answer answers for one node.
func (h *history) answer(q HistoryQuery, now []uint64) HistoryAnswer {
	a := HistoryAnswer{Now: now, Rates: h.rates(func(i int) bool { return series(i).grows() })}
	for i := range min(q.Count, maxSamples) {
		a.Samples = append(a.Samples, h.find(q.End-int64(i)*q.Step))
	}
	return a
}
