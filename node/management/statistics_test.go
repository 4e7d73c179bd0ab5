package management

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"warren/fsm"
	"warren/fsm/command"
)

func TestHistoryTiers(t *testing.T) {
	h := newHistory(true)
	for at := int64(0); at <= 90_000_000; at += sampleStep {
		h.add(at, []uint64{uint64(at)})
	}
	for i, want := range []int{121, 61, 49, 49} {
		if n := len(h.tiers[i].at); n != want {
			t.Errorf("tier %d keeps %d samples, want %d", i, n, want)
		}
	}
	for at, want := range map[int64]int64{
		90_000_000: 90_000_000, 90_002_000: 90_000_000, 89_998_000: 89_998_000, 89_400_000: 89_400_000, // of the last ten minutes
		86_400_000: 86_400_000, 86_399_999: 86_399_999, // of the last hour
		61_200_000: 61_200_000, 10_000_000: 10_000_000, // of the last eight hours and of the last day
	} {
		if got := h.find(at); got == nil || int64(got[0]) != want {
			t.Errorf("at %d: %v, want %d", at, got, want)
		}
	}
	if got := h.find(3_000_000); got != nil {
		t.Errorf("before all: %v", got)
	}
}

func TestHistoryRates(t *testing.T) {
	h := newHistory(false)
	h.add(0, []uint64{100, 100})
	if h.rates(func(int) bool { return true }) != nil {
		t.Error("rates of one sample")
	}
	h.add(5000, []uint64{150, 50})
	if got := fmt.Sprint(h.rates(func(i int) bool { return i == 0 })); got != "[10 -10]" {
		t.Errorf("%s", got)
	}
	h.add(10000, []uint64{20, 50}) // the count began anew
	if got := fmt.Sprint(h.rates(func(i int) bool { return i == 0 })); got != "[4 0]" {
		t.Errorf("%s", got)
	}
}

func TestParseRange(t *testing.T) {
	now := time.UnixMilli(100_500)
	for query, want := range map[string]string{
		"":                                     "<nil> <nil>",
		"lengths_age=60":                       "<nil> <nil>",
		"lengths_age=60&lengths_incr=5":        "&{95000 5000 13} <nil>",
		"lengths_age=3600&lengths_incr=60":     "&{60000 60000 61} <nil>",
		"lengths_age=x&lengths_incr=5":         "<nil> bad_request: lengths_age and lengths_incr must be numbers of seconds",
		"lengths_age=5&lengths_incr=0":         "<nil> bad_request: lengths_age and lengths_incr must be numbers of seconds",
		"lengths_age=999999999&lengths_incr=1": "<nil> bad_request: lengths_age and lengths_incr ask for more than 1000 samples",
	} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRange(v, "lengths", now)
		if got := fmt.Sprint(r, " ", err); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
}

// publishMany publishes so many messages to a queue.
func (a *api) publishMany(queue string, n int) {
	for range n {
		a.must(&command.Publish{VHost: []byte("/"), Key: []byte(queue), Properties: []byte{0, 0}, Body: []byte("x")})
	}
}

// TestQueueRates lets the sampler run, and looks at a queue, its vhost and an exchange.
//
// row: 1.8 message_stats
func TestQueueRates(t *testing.T) {
	a := newAPI(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		a.must(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
		a.publishMany("q", 10)
		go a.server.Run(ctx)
		synctest.Wait()
		a.do("GET", "/api/queues/%2F/q", "", 200, `{"messages":10,"messages_details":{"rate":0},"message_stats":{"publish":10,"publish_details":{"rate":0}}}`)
		a.publishMany("q", 25)
		a.must(&command.QueueDeclare{VHost: "/", Name: "new", Durable: true})
		a.publishMany("new", 5)
		time.Sleep(sampleStep * time.Millisecond)
		synctest.Wait()
		a.do("GET", "/api/queues/%2F/q", "", 200, `{"messages":35,"messages_details":{"rate":5},"message_stats":{"publish":35,"publish_details":{"rate":5},"deliver_get_details":{"rate":0}}}`)
		a.do("GET", "/api/queues/%2F/new", "", 200, `{"message_stats":{"publish_details":{"rate":1}}}`)
		a.do("GET", "/api/queues?page=1&page_size=1&sort=message_stats.publish_details.rate&sort_reverse=true&columns=name", "", 200, `{"items":[{"name":"q"}]}`)
		a.do("GET", "/api/queues?page=1&page_size=1&sort=messages_details.rate&columns=name", "", 200, `{"items":[{"name":"new"}]}`)
		a.do("GET", "/api/vhosts/%2F", "", 200, `{"messages":40,"messages_details":{"rate":6},"message_stats":{"publish_details":{"rate":6}}}`)
		a.do("GET", "/api/exchanges/%2F/amq.default", "", 200, `{"message_stats":{"publish_in":40,"publish_in_details":{"rate":6},"publish_out":40,"publish_out_details":{"rate":6}}}`)

		// Who asks for samples gets what is known, and more as time goes.
		const detailed = "/api/queues/%2F/q?columns=message_stats.publish_details,messages_details&msg_rates_age=10&msg_rates_incr=5&lengths_age=5&lengths_incr=5"
		time.Sleep(2 * time.Second)
		a.do("GET", detailed, "", 200, `{"message_stats":{"publish_details":{"rate":5,"avg_rate":2.5,"samples":[{"sample":35},{"sample":10},{"sample":10}]}},
			"messages_details":{"samples":[{"sample":35},{"sample":10}]}}`)
		begun := time.Now().Add(-(sampleStep*time.Millisecond + 2*time.Second)).UnixMilli() // the first survey
		a.do("GET", "/api/queues/%2F/q?lengths_age=5&lengths_incr=5", "", 200, fmt.Sprintf(`{"samples_since":%d}`, begun))
		a.do("GET", "/api/exchanges/%2F/amq.default?msg_rates_age=5&msg_rates_incr=5", "", 200, fmt.Sprintf(`{"samples_since":%d}`, begun))
		a.publishMany("q", 5)
		time.Sleep(sampleStep * time.Millisecond)
		synctest.Wait()
		a.do("GET", detailed, "", 200, `{"message_stats":{"publish_details":{"rate":1,"avg_rate":3,"samples":[{"sample":40},{"sample":35},{"sample":10}]}}}`)

		// A queue that has gone is forgotten, and one of its name that comes back begins with nothing.
		a.must(&command.QueueDelete{VHost: "/", Name: "q"})
		time.Sleep(sampleStep * time.Millisecond)
		synctest.Wait()
		if n := len(a.server.sampler.survey.queues.all); n != 1 || a.server.sampler.survey.queues.watched != 0 {
			t.Errorf("%d queues are known, %d watched", n, a.server.sampler.survey.queues.watched)
		}
		cancel()
		synctest.Wait()
	})
}

// TestClusterRates adds up what the nodes have counted.
//
// row: 1.8 message_stats
func TestClusterRates(t *testing.T) {
	a := newAPI(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		a.measure(map[string]uint64{"publish": 100, "deliver": 10, "get": 1, "connection_created": 7}, NodeStats{MemoryUsed: 1000})
		go a.server.Run(ctx)
		synctest.Wait()
		a.measure(map[string]uint64{"publish": 150, "deliver": 20, "get": 6, "connection_created": 7}, NodeStats{MemoryUsed: 500})
		a.must(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
		a.publishMany("q", 5)
		time.Sleep(6 * time.Second)
		synctest.Wait()

		other := HistoryAnswer{Now: make([]uint64, seriesAll), Rates: make([]float64, seriesAll), Samples: [][]uint64{{30}, nil}}
		other.Now[0], other.Rates[0] = 40, 2 // publish
		other.Now[seriesQueues], other.Rates[seriesQueues] = 77, 77
		a.histories = map[string]HistoryAnswer{"id2": other}
		a.do("GET", "/api/overview?msg_rates_age=5&msg_rates_incr=5&lengths_age=5&lengths_incr=5", "", 200, `{
			"message_stats":{"publish":190,"publish_details":{"rate":12,"samples":[{"sample":180},{"sample":100}]},
				"deliver_get":26,"deliver_get_details":{"rate":3,"samples":[{"sample":26},{"sample":11}]}},
			"churn_rates":{"connection_created":7,"connection_created_details":{"rate":0},"queue_created":1,"queue_created_details":{"rate":0.2}},
			"queue_totals":{"messages":5,"messages_details":{"rate":1,"samples":[{"sample":5},{"sample":0}]}}}`)
		a.do("GET", "/api/overview", "", 200, `{"message_stats":{"publish":190,"publish_details":{"rate":12}}}`)
		a.do("GET", "/api/nodes/n1?node_stats_age=5&node_stats_incr=5", "", 200, `{"mem_used":500,"mem_used_details":{"rate":-100,"samples":[{"sample":500},{"sample":1000}]}}`)
		cancel()
		synctest.Wait()
	})
}

// TestAnswerOfAnotherVersion checks that a node which knows fewer series is added up as far as it goes.
func TestAnswerOfAnotherVersion(t *testing.T) {
	s := clusterStats{all: map[string]HistoryAnswer{
		"a": {Now: []uint64{1, 2, 3}, Rates: []float64{1}, Samples: [][]uint64{{1}, nil}}, "b": {},
	}}
	if now, rate, at := s.value(0); now != 1 || rate != 1 || at(0) != 1 || at(1) != 0 || at(5) != 0 {
		t.Error(now, rate, at(0))
	}
	if now, rate, _ := s.value(seriesAll - 1); now != 0 || rate != 0 {
		t.Error(now, rate)
	}
}

// TestSurveyIsBounded checks that only so many objects are watched at a time, and not for ever.
func TestSurveyIsBounded(t *testing.T) {
	a := newAPI(t)
	const queues = maxWatched + 10
	for i := range queues {
		a.must(&command.QueueDeclare{VHost: "/", Name: fmt.Sprint("q", i), Durable: true})
	}
	s := &a.server.sampler.survey
	s.take(a.View, 0)
	for i := range queues {
		stats := s.queue(entityName{"/", fmt.Sprint("q", i)}, true)
		if watched := stats.past != nil; watched != (i < maxWatched) {
			t.Fatalf("queue %d is watched: %v", i, watched)
		}
	}
	s.take(a.View, watchFor+1)
	if n := s.queues.watched; n != 0 {
		t.Errorf("%d queues are still watched", n)
	}
	for _, o := range s.queues.all {
		if o.history != nil {
			t.Fatal("a history is left")
		}
	}
}

// BenchmarkSurvey is what a sample of 10,000 queues costs.
func BenchmarkSurvey(b *testing.B) {
	t := &testing.T{}
	br := newBroker(t)
	for i := range 10000 {
		br.must(&command.QueueDeclare{VHost: "/", Name: fmt.Sprint("queue", i), Durable: true})
	}
	var s survey
	at := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		at += sampleStep
		s.take(br.View, at)
	}
	longest := time.Duration(0)
	s.take(func(f func(*fsm.Machine)) {
		br.View(func(m *fsm.Machine) {
			began := time.Now()
			f(m)
			longest = max(longest, time.Since(began))
		})
	}, at+sampleStep)
	b.ReportMetric(float64(longest.Microseconds()), "µs-locked")
}
