package management

import (
	"net/url"
	"strconv"
	"time"
)

// maxSamples is how many samples a request may ask for.
const maxSamples = 1000

// A sampleRange says which samples a request wants: those within an age, at a distance.
type sampleRange struct {
	end, step int64 // milliseconds
	count     int
}

// parseRange reads the parameters NAME_age and NAME_incr, in seconds, of RabbitMQ's statistics
// (https://www.rabbitmq.com/docs/http-api-reference#statistics-parameters). Without both no samples are wanted.
func parseRange(v url.Values, name string, now time.Time) (*sampleRange, error) {
	if !v.Has(name+"_age") || !v.Has(name+"_incr") {
		return nil, nil
	}
	age, err1 := strconv.ParseInt(v.Get(name+"_age"), 10, 32)
	incr, err2 := strconv.ParseInt(v.Get(name+"_incr"), 10, 32)
	if err1 != nil || err2 != nil || age < 1 || incr < 1 {
		return nil, errBadRequest("%s_age and %s_incr must be numbers of seconds", name, name)
	}
	count := age/incr + 1
	if count > maxSamples {
		return nil, errBadRequest("%s_age and %s_incr ask for more than %d samples", name, name, maxSamples)
	}
	step := incr * 1000
	// Not the sample of this very moment: other nodes' clocks may be behind a little.
	return &sampleRange{end: (now.UnixMilli() - 1000) / step * step, step: step, count: int(count)}, nil
}

// sampleRange reads a range of the request.
func (c *call) sampleRange(name string) (*sampleRange, error) {
	return parseRange(c.r.URL.Query(), name, time.Now())
}

func (r *sampleRange) query() HistoryQuery {
	if r == nil {
		return HistoryQuery{}
	}
	return HistoryQuery{End: r.end, Step: r.step, Count: r.count}
}

// details are what stands beside a number in RabbitMQ's answers: its rate, and its samples over time when a range
// was asked for. at returns the i-th sample, the newest first.
func (r *sampleRange) details(rate float64, at func(i int) uint64) object {
	o := object{"rate": rate}
	if r == nil {
		return o
	}
	samples := make([]object, r.count)
	sum := 0.0
	for i := range samples {
		v := at(i)
		sum += float64(v)
		samples[i] = object{"sample": v, "timestamp": r.end - int64(i)*r.step}
	}
	o["samples"] = samples
	o["avg"] = sum / float64(r.count)
	o["avg_rate"] = 0.0
	if r.count > 1 {
		o["avg_rate"] = perSecond(at(r.count-1), at(0), int64(r.count-1)*r.step, false)
	}
	return o
}
