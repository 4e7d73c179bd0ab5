package load

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"warren/cmd/warrenperf/internal/brokertest"
	"warren/cmd/warrenperf/internal/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are those of a short verified run that ends by count.
func options(t *testing.T, b *brokertest.Broker) Options {
	e, err := client.ParseURI(b.URI())
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		URIs: []client.Endpoint{e}, Producers: 2, Consumers: 2, Queues: 1, QueuePattern: "q-%d",
		Size: 64, Confirm: 100, QoS: 50, MultiAck: 10, PMessages: 2000, Verify: true,
		IdleTimeout: 20 * time.Second, Shutdown: 20 * time.Second,
	}
}

// gone checks that nothing is left at the broker.
func gone(t *testing.T, b *brokertest.Broker) {
	t.Helper()
	if left := b.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func run(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Run(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAllArrives(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"one queue":       func(*Options) {},
		"each acked":      func(o *Options) { o.MultiAck = 1 },
		"no acks":         func(o *Options) { o.AutoAck, o.MultiAck = true, 1 },
		"no prefetch":     func(o *Options) { o.QoS = 0 },
		"window of 1":     func(o *Options) { o.Confirm, o.PMessages = 1, 100 },
		"several frames":  func(o *Options) { o.Size, o.PMessages = 20_000, 50 },
		"queues":          func(o *Options) { o.Queues, o.Producers, o.Consumers = 3, 4, 5 },
		"direct exchange": func(o *Options) { o.Exchange, o.Type, o.Queues = "x", "direct", 2 },
		"steady":          func(o *Options) { o.Rate, o.PMessages = 2000, 100 },
		"quorum":          func(o *Options) { o.Quorum, o.Persistent, o.Mandatory = true, true, true },
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t, brokertest.Faults{})
			o := options(t, b)
			change(&o)
			r := run(t, o)
			want := uint64(o.Producers) * o.PMessages
			c, v := r.Counts, r.Verify
			if c.Sent != want || c.Confirmed != want || c.Received != want || v.Lost+v.Duplicates+v.Foreign+v.Extra != 0 || v.Confirmed != want || v.Received != want {
				t.Errorf("%+v, %+v, want %d", c, v, want)
			}
			if !o.AutoAck && want-c.Acked >= uint64(o.MultiAck*o.Consumers) {
				t.Errorf("%d of %d were acked", c.Acked, want)
			}
			if r.Confirm.Count != want || r.EndToEnd.Count != want || r.Confirm.P50 <= 0 || r.EndToEnd.Max < r.EndToEnd.P50 {
				t.Errorf("%+v, %+v", r.Confirm, r.EndToEnd)
			}
			if r.Received <= 0 || r.Server != "Fake 1" || r.Failed() != nil {
				t.Errorf("%+v", r)
			}
			gone(t, b)
		})
	}
}

func TestFanOut(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := options(t, b)
	o.Exchange, o.Type, o.Queues, o.Consumers = "x", "fanout", 5, 5
	r := run(t, o)
	if r.Counts.Received != 5*4000 || r.Verify.Confirmed != 5*4000 || r.Failed() != nil {
		t.Errorf("%+v, %+v", r, r.Verify)
	}
	gone(t, b)
}

func TestPublishOnly(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := options(t, b)
	o.Consumers, o.Verify, o.Confirm = 0, false, 0
	if r := run(t, o); r.Counts.Sent != 4000 || r.Counts.Confirmed != 0 || r.Sent <= 0 || r.Confirm != nil || r.Failed() != nil {
		t.Errorf("%+v", r)
	}
}

func TestTimedRun(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := options(t, b)
	o.PMessages, o.Rate, o.Time, o.Warmup = 0, 2000, 1200*time.Millisecond, 200*time.Millisecond
	var progress bytes.Buffer
	r, err := Run(t.Context(), o, &progress)
	if err != nil {
		t.Fatal(err)
	}
	if r.Seconds < 1.2 || r.Counts.Received == 0 || r.Counts.Acked == 0 || r.Failed() != nil {
		t.Errorf("%+v", r)
	}
	// What came behind the measurement is verified too.
	if r.Verify.Received <= r.Counts.Received {
		t.Errorf("%d verified, %d measured", r.Verify.Received, r.Counts.Received)
	}
	if line := progress.String(); !strings.Contains(line, "sent ") || !strings.Contains(line, "confirm p50") || !strings.Contains(line, "end-to-end p50") {
		t.Errorf("progress %q", line)
	}
}

// TestProducersStop has confirms so fast that there is always room to publish.
func TestProducersStop(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := options(t, b)
	o.PMessages, o.Time, o.Consumers, o.Verify, o.Size, o.Confirm = 0, 50*time.Millisecond, 0, false, 16_000, 1000
	begin := time.Now()
	r := run(t, o)
	if took := time.Since(begin); took > o.Shutdown || r.Failed() != nil {
		t.Errorf("took %v, as if it had waited for the time-out; %+v", took, r)
	}
}

func TestConsumersOwnLimit(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := options(t, b)
	o.CMessages, o.Verify = 500, false
	if r := run(t, o); r.Counts.Received != 1000 || r.Counts.Confirmed != 4000 || r.Failed() != nil {
		t.Errorf("%+v", r)
	}
}

func TestFaultsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		faults brokertest.Faults
		change func(*Options)
		check  func(r *Report) bool
		failed string
	}{
		"lost": {
			faults: brokertest.Faults{LoseEvery: 400},
			change: func(o *Options) { o.IdleTimeout = time.Second },
			check:  func(r *Report) bool { return r.Verify.Lost == 10 && r.Verify.Received == 3990 },
			failed: "10 confirmed messages were lost",
		},
		"doubled": {
			faults: brokertest.Faults{DoubleEvery: 400},
			check:  func(r *Report) bool { return r.Verify.Duplicates > 0 && r.Verify.Lost == 0 },
		},
		"refused": {
			faults: brokertest.Faults{NackEvery: 400},
			check:  func(r *Report) bool { return r.Counts.Nacked == 10 && r.Verify.Lost == 0 && r.Verify.Confirmed == 3990 },
		},
		"out of order": {
			faults: brokertest.Faults{Reverse: true},
			change: func(o *Options) { o.Producers = 1 },
			check:  func(r *Report) bool { return r.Counts.Confirmed == 2000 },
		},
		"blocked": {
			faults: brokertest.Faults{BlockFirst: true},
			check:  func(r *Report) bool { return r.Counts.Blocked == 2 && r.Counts.Confirmed == 4000 },
		},
		"returned": {
			change: func(o *Options) {
				o.Exchange, o.Type, o.RoutingKey, o.Mandatory, o.Predeclared = "nowhere", "direct", "k", true, true
				o.Consumers, o.Size = 0, 10_000
				o.Verify, o.PMessages = false, 10
			},
			check: func(r *Report) bool { return r.Counts.Returned == 20 && r.Counts.Confirmed == 20 },
		},
		"connection closed": {
			faults: brokertest.Faults{CloseAfter: 100},
			change: func(o *Options) { o.Producers = 1; o.Verify = false },
			check:  func(r *Report) bool { return r.Counts.Sent >= 100 },
			failed: "producer 1: broker closed the connection: 541 INTERNAL_ERROR - test",
		},
		"cancelled": {
			faults: brokertest.Faults{CancelAfter: 100},
			change: func(o *Options) { o.Consumers = 1; o.Verify = false },
			check:  func(r *Report) bool { return r.Counts.Received >= 100 },
			failed: "consumer 1: broker cancelled consumer c0",
		},
		"no confirms": {
			faults: brokertest.Faults{Silent: true},
			change: func(o *Options) { o.PMessages, o.Time, o.Shutdown = 0, 50*time.Millisecond, 50*time.Millisecond },
			check:  func(r *Report) bool { return r.Counts.Sent <= 200 && r.Counts.Confirmed == 0 },
		},
		"no queue": {
			change: func(o *Options) { o.Predeclared, o.Producers, o.PMessages, o.CMessages = true, 0, 0, 5 },
			check:  func(r *Report) bool { return r.Counts.Received == 0 },
			failed: "consumer 1: broker closed the channel: 404 NOT_FOUND - no queue 'q-1' (and 1 more errors)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t, c.faults)
			o := options(t, b)
			if c.change != nil {
				c.change(&o)
			}
			r := run(t, o)
			if !c.check(r) {
				t.Errorf("%+v, %+v", r, r.Verify)
			}
			failed := ""
			if err := r.Failed(); err != nil {
				failed = err.Error()
			}
			if failed != c.failed {
				t.Errorf("failed: %q, want %q", failed, c.failed)
			}
		})
	}
}

func TestSetUpErrors(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{RefuseDeclare: true, RefusePassword: "wrong"})
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"declare": {func(*Options) {}, "declare: queue.declare: broker closed the channel: 406 PRECONDITION_FAILED - not today"},
		"login":   {func(o *Options) { o.URIs[0].Password = "wrong" }, "the broker refused the login"},
		"nobody":  {func(o *Options) { o.URIs[0].Port = "1" }, "connection refused"},
		"window":  {func(o *Options) { o.Confirm = 0 }, "--verify needs --confirm"},
		"endless": {func(o *Options) { o.PMessages = 0 }, "the run would never end"},
		"acks":    {func(o *Options) { o.MultiAck = 51 }, "would wait for ever"},
		"size":    {func(o *Options) { o.Size = 15 }, "at least 16 bytes"},
		"pattern": {func(o *Options) { o.QueuePattern = "q" }, "does not hold %d"},
		"clients": {func(o *Options) { o.Producers, o.Consumers = 0, 0 }, "neither a producer nor a consumer"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, b)
			c.change(&o)
			r, err := Run(t.Context(), o, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || r != nil {
				t.Errorf("got %v, %+v, want %q", err, r, c.want)
			}
		})
	}
}

// A canceller ends a run with its first line of progress.
type canceller struct{ cancel func() }

func (c canceller) Write(b []byte) (int, error) {
	c.cancel()
	return len(b), nil
}

func TestInterrupt(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := options(t, b)
	o.PMessages, o.Rate, o.Time = 0, 5000, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Run(ctx, o, canceller{cancel})
	if !errors.Is(err, context.Canceled) || r == nil || r.Counts.Received == 0 {
		t.Errorf("%v, %+v", err, r)
	}
	gone(t, b)
}

func TestBacklog(t *testing.T) {
	for _, lose := range []int{0, 1000} {
		b := brokertest.Start(t, brokertest.Faults{LoseEvery: lose})
		o := options(t, b)
		if lose > 0 {
			o.IdleTimeout = time.Second
		}
		stood := 0
		r, err := Backlog(t.Context(), o, 10_000, nil, func(context.Context) error { stood++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		if stood != 1 {
			t.Errorf("told %d times that the backlog stands", stood)
		}
		lost := uint64(0)
		if lose > 0 {
			lost = 10
		}
		if r.Fill.Counts.Confirmed != 10_000 || r.Fill.Counts.Received != 0 || r.Drain.Counts.Sent != 0 ||
			r.Drain.Counts.Received != 10_000-lost || r.Drain.Verify.Lost != lost || (r.Failed() == nil) != (lost == 0) {
			t.Errorf("%+v\n%+v\n%+v", r.Fill, r.Drain, r.Drain.Verify)
		}
		gone(t, b)
	}
	b := brokertest.Start(t, brokertest.Faults{CloseAfter: 100})
	if r, err := Backlog(t.Context(), options(t, b), 10_000, nil, nil); err != nil || r.Drain != nil || r.Failed() == nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRPC(t *testing.T) {
	for _, direct := range []bool{false, true} {
		b := brokertest.Start(t, brokertest.Faults{})
		o := RPCOptions{Options: options(t, b), Clients: 2, Servers: 2, DirectReplyTo: direct, Calls: 100}
		o.Verify = false
		o.Size = 9000 // two frames
		r, err := RPC(t.Context(), o, nil)
		if err != nil || r.Failed() != nil || r.Calls != 200 || r.RoundTrip.Count != 200 || r.Rate <= 0 {
			t.Errorf("direct %t: %+v, %v", direct, r, err)
		}
		gone(t, b)
	}
}

func TestRPCTimed(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := RPCOptions{Options: options(t, b), Clients: 1, Servers: 1}
	o.Verify, o.Rate, o.Time, o.Warmup = false, 200, 300*time.Millisecond, 50*time.Millisecond
	r, err := RPC(t.Context(), o, nil)
	if err != nil || r.Failed() != nil || r.Calls == 0 || r.Seconds < 0.3 {
		t.Errorf("%+v, %v", r, err)
	}
	gone(t, b)
}

func TestRPCServerFails(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{CancelAfter: 20})
	o := RPCOptions{Options: options(t, b), Clients: 1, Servers: 1, Calls: 1 << 40}
	o.Verify, o.Shutdown = false, 100*time.Millisecond
	r, err := RPC(t.Context(), o, nil)
	if err != nil || r.Failed() == nil || !strings.Contains(r.Failed().Error(), "broker cancelled consumer") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDeclarations(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	o := options(t, b)
	o.Verify, o.Producers, o.PMessages = false, 3, 50
	r, err := Declarations(t.Context(), o)
	if err != nil || r.Failed() != nil || r.Declared != 150 || r.Latency.Count != 150 || r.Delete <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	gone(t, b)
	o.KeepQueues = true
	if _, err = Declarations(t.Context(), o); err != nil || len(b.Left()) != 150 {
		t.Errorf("%d queues, %v", len(b.Left()), err)
	}
}
