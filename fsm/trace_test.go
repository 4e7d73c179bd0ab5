package fsm_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/fsmtest"
	"warren/protocol/wire"
)

// follow returns a feed of the newest version, whose machine follows messages as a trace says.
func follow(tb testing.TB, t fsm.Trace) *feed {
	f := newFeed(tb)
	f.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
	t.ID, t.VHost, t.Until = "t", "/", 1<<50
	if t.Messages == 0 {
		t.Messages = 100
	}
	f.m.Trace([]fsm.Trace{t})
	return f
}

// when does commands at a time.
func (f *feed) when(ms int64, commands ...command.Command) {
	f.sequence++
	b := command.NewBatch(nil, f.epoch, f.sequence)
	for _, c := range commands {
		b = command.AppendToBatch(b, c)
	}
	command.Stamp(b, ms, f.epoch)
	f.apply(b)
}

// told checks what the last entry told of messages, a line for each event; "#" stands for the name of the message.
func (f *feed) told(name string, want ...string) {
	f.tb.Helper()
	var got []string
	for i := range f.out.Traced {
		e := &f.out.Traced[i]
		if e.Index != f.index || e.Number != i || e.Trace != "t" {
			f.tb.Errorf("event %d has index %d, number %d, trace %q", i, e.Index, e.Number, e.Trace)
		}
		got = append(got, strings.Replace(e.String(), name+" ", "# ", 1))
	}
	if !slices.Equal(got, want) {
		f.tb.Errorf("entry %d told\n\t%s\nwant\n\t%s", f.index, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (f *feed) queue(name string, args ...wire.Field) {
	f.do(&command.QueueDeclare{VHost: "/", Name: name, Durable: true, Args: args})
}

func to(exchange, key string, p wire.Properties) *command.Publish {
	return &command.Publish{VHost: []byte("/"), Exchange: []byte(exchange), Key: []byte(key), Properties: wire.AppendProperties(nil, &p), Body: []byte("body")}
}

var one = command.Channel{Conn: 1, Number: 1}

// TestTraceStory follows a message through delivery, return, dead-lettering and acknowledgement.
func TestTraceStory(t *testing.T) {
	f := follow(t, fsm.Trace{Queue: "jobs"})
	f.queue("jobs", wire.Field{Name: "x-dead-letter-exchange", Value: "dead"})
	f.do(&command.ExchangeDeclare{VHost: "/", Name: "in", Type: "topic", Durable: true}, &command.ExchangeDeclare{VHost: "/", Name: "dead", Type: "fanout", Durable: true})
	f.queue("graves")
	f.queue("other")
	f.do(
		&command.Bind{Binding: command.Binding{VHost: "/", Source: "in", Destination: "jobs", Key: "job.#"}},
		&command.Bind{Binding: command.Binding{VHost: "/", Source: "dead", Destination: "graves"}},
		&command.Consume{VHost: "/", Channel: one, Queue: "jobs", Tag: "c", Prefetch: 1, Limit: 1 << 62},
	)
	f.do(to("", "other", wire.Properties{}), to("in", "job.1", wire.Properties{Present: wire.FlagMessageID, MessageID: "m1"}))
	name := fmt.Sprint(f.index, ".2")
	f.told(name,
		`# published exchange="in" key="job.1" client=n/0/0 to=["jobs"] binding:"in">"jobs"[job.#]`,
		`# queued queue=jobs/1`,
		`# delivered queue=jobs/1 tag=c ordinal=1 redelivered=false acquired=0 failed=0 client=n/1/1`)
	if id := f.out.Traced[0].MessageID; id != "m1" {
		t.Errorf("message-id %q", id)
	}
	f.do(&command.Settle{Channel: one, From: 1, To: 1, Outcome: command.Return})
	f.told(name,
		`# requeued queue=jobs/1 client=n/1/1 reason="basic.nack"`,
		`# delivered queue=jobs/1 tag=c ordinal=2 redelivered=true acquired=1 failed=1 client=n/1/1`)
	f.do(&command.ChannelClose{Channel: one})
	f.told(name, `# requeued queue=jobs/1 client=n/1/1 reason="its channel was closed"`)
	two := command.Channel{Conn: 2, Number: 7}
	f.do(&command.Get{VHost: "/", Channel: two, Queue: "jobs"})
	f.told(name, `# got queue=jobs/1 tag= ordinal=1 redelivered=true acquired=2 failed=2 client=n/2/7`)
	f.do(&command.Settle{Channel: two, From: 1, To: 1, Outcome: command.Reject})
	f.told(name,
		`# rejected queue=jobs/1 client=n/2/7`,
		`# dead_lettered queue=jobs/1 exchange="dead" key="job.1" to=["graves"] binding:"dead">"graves"[] reason="rejected"`,
		`# queued queue=graves/1`)
	f.do(&command.Move{VHost: "/", Queue: "graves", To: command.ToQueue, Target: "other", Most: 10})
	f.told(name, `# moved queue=graves/1 exchange="dead" key="job.1" to=["other"]`, `# queued queue=other/2`)
	f.do(&command.Consume{VHost: "/", Channel: one, Queue: "other", Tag: "auto", NoAck: true, Limit: 1 << 62})
	f.told(name, `# delivered queue=other/2 tag=auto ordinal=0 redelivered=false acquired=0 failed=0 client=n/1/1`)
	f.do(to("", "other", wire.Properties{}))
	f.told(name)
}

// TestTraceEnds follows messages to their ends.
func TestTraceEnds(t *testing.T) {
	f := follow(t, fsm.Trace{})
	last := func() string { return fmt.Sprint(f.index, ".1") }
	f.queue("q", wire.Field{Name: "x-max-length", Value: int32(1)}, wire.Field{Name: "x-delivery-limit", Value: int32(0)})
	f.do(to("", "nowhere", wire.Properties{}))
	f.told(last(), `# published exchange="" key="nowhere" client=n/0/0`, `# unroutable`)
	f.do(to("", "q", wire.Properties{}))
	first := last()
	f.do(to("", "q", wire.Properties{}))
	second := last()
	f.told(first,
		second+` published exchange="" key="q" client=n/0/0 to=["q"] default:"">"q"[q]`,
		second+` queued queue=q/2`,
		`# dropped queue=q/1 reason="maxlen"`)
	f.do(&command.Get{VHost: "/", Channel: one, Queue: "q"})
	f.do(&command.QueuePurge{VHost: "/", Name: "q"})
	f.told(second) // it is lent
	f.do(&command.Settle{Channel: one, From: 1, To: 1, Outcome: command.Requeue})
	f.told(second, `# requeued queue=q/2 client=n/1/1 reason="basic.reject"`, `# parked queue=q/2`)
	f.do(&command.QueuePurge{VHost: "/", Name: "q"})
	f.told(second, `# purged queue=q/2`)
	f.when(1_700_000_000_000, to("", "q", wire.Properties{Present: wire.FlagExpiration, Expiration: "10"}))
	third := last()
	f.when(1_700_000_000_011, &command.Tick{})
	f.told(third, `# dropped queue=q/3 reason="expired"`)
	f.do(to("", "q", wire.Properties{}))
	fourth := last()
	f.do(&command.QueueDelete{VHost: "/", Name: "q"})
	f.told(fourth, `# queue_deleted queue=q/4`)

	f.queue("full", wire.Field{Name: "x-max-length", Value: int32(0)}, wire.Field{Name: "x-overflow", Value: "reject-publish"})
	f.do(to("", "full", wire.Properties{}))
	f.told(last(), `# published exchange="" key="full" client=n/0/0 to=["full"] default:"">"full"[full]`, `# full queue=full/0`)

	f.queue("lost", wire.Field{Name: "x-dead-letter-exchange", Value: "none"})
	f.do(to("", "lost", wire.Properties{}))
	fifth := last()
	f.do(&command.Get{VHost: "/", Channel: one, Queue: "lost"}, &command.Settle{Channel: one, From: 2, To: 2, Outcome: command.Reject})
	f.told(fifth,
		`# got queue=lost/1 tag= ordinal=2 redelivered=false acquired=0 failed=0 client=n/1/1`,
		`# rejected queue=lost/1 client=n/1/1`,
		`# dropped queue=lost/1 reason="rejected, and there is no exchange 'none' to dead-letter it to"`)
}

// TestTraceDelays follows a message that is routed later, and one that waits after it came back.
func TestTraceDelays(t *testing.T) {
	const now = 1_700_000_000_000
	f := follow(t, fsm.Trace{Queue: "q"}) // what is delayed is for no queue yet
	f.queue("q", wire.Field{Name: "x-delayed-retry-type", Value: "all"}, wire.Field{Name: "x-delayed-retry-min", Value: int32(500)})
	late := wire.Properties{Present: wire.FlagHeaders, Headers: wire.Table{{Name: "x-delay", Value: int32(1000)}}}
	f.when(now, to("", "q", late))
	f.told("")
	f.when(now+1000, &command.Tick{})
	if len(f.out.Traced) != 2 || f.out.Traced[0].Event != fsm.EventRouted || f.out.Traced[1].Event != fsm.EventQueued {
		t.Fatalf("%v", f.out.Traced)
	}
	name := f.out.Traced[0].Message
	f.do(&command.Get{VHost: "/", Channel: one, Queue: "q"}, &command.Settle{Channel: one, From: 1, To: 1, Outcome: command.Requeue})
	f.told(name,
		`# got queue=q/1 tag= ordinal=1 redelivered=false acquired=0 failed=0 client=n/1/1`,
		`# requeued queue=q/1 client=n/1/1 reason="basic.reject"`,
		fmt.Sprintf(`# waiting queue=q/1 until=%d`, now+1500))

	f = follow(t, fsm.Trace{Key: "q"})
	f.queue("q")
	f.when(now, to("", "q", late))
	name = fmt.Sprint(f.index, ".1")
	f.told(name, `# published exchange="" key="q" client=n/0/0`, fmt.Sprintf(`# delayed until=%d`, now+1000))
	f.when(now+1000, &command.Tick{})
	f.told(name, `# routed exchange="" key="q" to=["q"] default:"">"q"[q]`, `# queued queue=q/1`)
	f.when(now+1001, to("", "q", late))
	name = fmt.Sprint(f.index, ".1")
	f.do(&command.DelayedCancel{VHost: "/", ID: f.out.Traced[1].Sequence})
	f.told(name, `# dropped reason="it was cancelled while it was delayed"`)
}

// TestTraceFilter checks which messages a trace follows.
func TestTraceFilter(t *testing.T) {
	headers := wire.Table{{Name: "tenant", Value: int64(7)}}
	marked := wire.Properties{Present: wire.FlagHeaders | wire.FlagMessageID, Headers: headers, MessageID: "m"}
	for _, c := range []struct {
		name  string
		trace fsm.Trace
		wants []bool // of the messages below
	}{
		{"all", fsm.Trace{}, []bool{true, true, true, true}},
		{"exchange", fsm.Trace{Filter: command.Filter{ByExchange: true, Exchange: "amq.topic"}}, []bool{false, true, true, true}},
		{"default exchange", fsm.Trace{Filter: command.Filter{ByExchange: true}}, []bool{true, false, false, true}},
		{"key", fsm.Trace{Key: "a.*"}, []bool{false, true, false, false}},
		{"header", fsm.Trace{Filter: command.Filter{Headers: headers}}, []bool{false, false, true, true}},
		{"message-id", fsm.Trace{MessageID: "m"}, []bool{false, false, true, true}},
		{"queue", fsm.Trace{Queue: "q"}, []bool{true, false, false, false}},
		{"its copy too", fsm.Trace{Key: "b", Filter: command.Filter{ByExchange: true, Exchange: "amq.topic"}}, []bool{false, false, true, true}},
		{"two at most", fsm.Trace{Messages: 2}, []bool{true, true, false, false}},
	} {
		f := follow(t, c.trace)
		f.queue("q")
		for i, p := range []*command.Publish{
			to("", "q", wire.Properties{}), to("amq.topic", "a.b", wire.Properties{}), to("amq.topic", "b", marked), to("", "r", marked),
		} {
			f.do(p)
			if got := len(f.out.Traced) > 0; got != c.wants[i] {
				t.Errorf("%s: message %d: %t", c.name, i, got)
			}
		}
	}
}

// TestTraceFinds follows messages that were in their queue before, and no longer than the trace lasts.
func TestTraceFinds(t *testing.T) {
	f := newFeed(t)
	f.declare("q")
	f.do(publishing("q", 3), publishing("q", 4))
	var q uint64
	f.m.Trace([]fsm.Trace{{ID: "t", VHost: "/", Queue: "q", Until: 2000, Messages: 10}})
	f.when(1000, &command.Get{VHost: "/", Channel: one, Queue: "q"})
	if len(f.out.Traced) != 2 {
		t.Fatal(f.out.Traced)
	}
	q = f.out.Traced[0].QueueID
	name := fmt.Sprintf("q%d.1", q)
	f.told(name, `# found queue=q/1 exchange="" key="q"`, `# got queue=q/1 tag= ordinal=1 redelivered=false acquired=0 failed=0 client=n/1/1`)
	f.when(1999, &command.Settle{Channel: one, From: 1, To: 1})
	f.told(name, `# acked queue=q/1 client=n/1/1`)
	f.when(2000, &command.Get{VHost: "/", Channel: one, Queue: "q"})
	f.told(name)
	f.m.Trace(nil)
	f.do(publishing("q", 1))
	f.told(name)
}

// TestTraceCommit tells who published in a transaction.
func TestTraceCommit(t *testing.T) {
	f := follow(t, fsm.Trace{})
	f.queue("q")
	f.do(&command.Commit{VHost: "/", Channel: command.Channel{Conn: 5, Number: 3}, Commands: command.AppendCommand(nil, publishing("q", 1))})
	f.told(fmt.Sprint(f.index, ".1"),
		`# published exchange="" key="q" client=n/5/3 to=["q"] default:"">"q"[q]`, `# queued queue=q/1`)
	f.do(publishing("q", 1))
	if e := f.out.Traced[0]; e.Conn != 0 || e.Channel != 0 {
		t.Errorf("%+v", e)
	}
}

// TestTraceChangesNothing runs random commands with and without traces: state, hash and outputs have to be the same.
func TestTraceChangesNothing(t *testing.T) {
	for seed := range uint64(5) {
		plain, traced := fsm.New(nil), fsm.New(nil)
		all := []fsm.Trace{{ID: "all", VHost: "/", Until: 1 << 60, Messages: 1 << 30}, {ID: "q", VHost: "/", Queue: "a", Until: 1 << 60, Messages: 10}}
		traced.Trace(all)
		var a, b fsm.Output
		told := 0
		g := fsmtest.NewGenerator(seed)
		for i := range 600 {
			batch, meta := g.Next(), fsm.Meta{Index: uint64(i + 1), Term: 1}
			if err := plain.Apply(meta, bytes.Clone(batch), &a); err != nil {
				t.Fatal(err)
			}
			if err := traced.Apply(meta, bytes.Clone(batch), &b); err != nil {
				t.Fatal(err)
			}
			g.Saw(&a)
			told += len(b.Traced)
			if plain.Hash() != traced.Hash() {
				t.Fatalf("seed %d: entry %d gave something else", seed, i)
			}
			if i%50 == 0 {
				traced.Trace(all) // as when parameters change
			}
		}
		if told == 0 {
			t.Errorf("seed %d: nothing was told", seed)
		}
		if x, y := stateHash(t, plain), stateHash(t, traced); x != y {
			t.Errorf("seed %d: another state", seed)
		}
	}
}

func stateHash(t *testing.T, m *fsm.Machine) uint64 {
	s := m.Capture()
	defer s.Release()
	h, err := s.StateHash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestTraceEventsAreBounded: what clients bind and declare makes no event large, nor many.
func TestTraceEventsAreBounded(t *testing.T) {
	f := follow(t, fsm.Trace{Messages: 1})
	f.do(&command.ExchangeDeclare{VHost: "/", Name: "all", Type: "fanout", Durable: true})
	large := wire.Table{{Name: "x", Value: strings.Repeat("x", 10_000)}}
	for i := range 200 {
		name := fmt.Sprint("q", i)
		f.queue(name)
		f.do(&command.Bind{Binding: command.Binding{VHost: "/", Source: "all", Destination: name, Args: large}})
	}
	f.do(to("all", "", wire.Properties{}))
	args, queued := 0, 0
	for i := range f.out.Traced {
		e := &f.out.Traced[i]
		for _, h := range e.Hops {
			args += len(h.Args)
		}
		if e.Event == fsm.EventQueued {
			queued++
		}
	}
	if queues := len(f.out.Traced[0].Queues); queues != 100 || args < 10_000 || args > 16<<10 || queued != 21 {
		t.Errorf("%d queues, %d bytes of arguments, %d times queued", queues, args, queued)
	}
}
