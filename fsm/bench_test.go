package fsm_test

import (
	"fmt"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol/wire"
)

// feed applies batches that it makes of commands.
type feed struct {
	tb       testing.TB
	m        *fsm.Machine
	out      fsm.Output
	index    uint64
	epoch    uint64
	sequence uint64
}

func newFeed(tb testing.TB) *feed {
	f := &feed{tb: tb, m: fsm.New(nil)}
	f.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochOpen{Node: "n", Name: "n", Nonce: 1}))
	f.epoch = f.index
	return f
}

func (f *feed) apply(batch []byte) {
	f.index++
	if err := f.m.Apply(fsm.Meta{Index: f.index, Term: 1}, batch, &f.out); err != nil {
		f.tb.Fatal(err)
	}
	for i := range f.out.Results {
		if err := f.out.Results[i].Err; err != nil {
			f.tb.Fatal(err)
		}
	}
}

func (f *feed) do(commands ...command.Command) {
	f.sequence++
	b := command.NewBatch(nil, f.epoch, f.sequence)
	for _, c := range commands {
		b = command.AppendToBatch(b, c)
	}
	f.apply(b)
}

func (f *feed) declare(names ...string) {
	for _, name := range names {
		f.do(&command.QueueDeclare{VHost: "/", Name: name, Durable: true})
	}
}

func publishing(queue string, size int) *command.Publish {
	return &command.Publish{
		VHost: []byte("/"), Key: []byte(queue), Properties: []byte{0, 0}, Body: make([]byte, size),
	}
}

const perBatch = 128

// BenchmarkPublishDeliverAck runs messages through one queue with one consumer, in
// batches of 128 publishes and one ack for all.
func BenchmarkPublishDeliverAck(b *testing.B) {
	f := newFeed(b)
	f.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
	ch := command.Channel{Conn: 1, Number: 1}
	f.declare("q")
	f.do(&command.Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", Prefetch: 1000, Limit: 1 << 62})
	cycle(b, f, func(batch []byte, n uint64) []byte {
		return command.AppendToBatch(batch, &command.Settle{Channel: ch, From: n*perBatch + 1, To: (n + 1) * perBatch})
	})
	if got := f.m.Totals().Acked; got < uint64(b.N) {
		b.Fatalf("%d acks for %d messages", got, b.N)
	}
}

// cycle applies batches of publishes, each with what tail appends.
func cycle(b *testing.B, f *feed, tail func(batch []byte, n uint64) []byte) {
	b.ReportAllocs()
	p := publishing("q", 100)
	var n uint64
	for b.Loop() {
		f.sequence++
		// One batch for perBatch iterations: the loop counts messages.
		if n%perBatch == 0 {
			b.StopTimer()
			batch := command.NewBatch(nil, f.epoch, f.sequence)
			command.Stamp(batch, int64(n/perBatch), 0) // a batch each millisecond
			for range perBatch {
				batch = command.AppendToBatch(batch, p)
			}
			batch = tail(batch, n/perBatch)
			b.StartTimer()
			f.apply(batch)
		} else {
			f.sequence--
		}
		n++
	}
}

// BenchmarkPublishOnly fills a queue.
func BenchmarkPublishOnly(b *testing.B) {
	f := newFeed(b)
	f.declare("q")
	cycle(b, f, func(batch []byte, _ uint64) []byte { return batch })
}

// BenchmarkPublishNoAck runs messages to a consumer without acknowledgements.
func BenchmarkPublishNoAck(b *testing.B) {
	f := newFeed(b)
	ch := command.Channel{Conn: 1, Number: 1}
	f.declare("q")
	f.do(&command.Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", NoAck: true, Limit: 1})
	cycle(b, f, func(batch []byte, n uint64) []byte {
		return command.AppendToBatch(batch, &command.Credit{Channel: ch, Tag: "t", Limit: (n + 2) * perBatch})
	})
}

// BenchmarkCapture captures a machine with a million messages in one queue.
func BenchmarkCapture(b *testing.B) {
	f := newFeed(b)
	f.declare("q")
	p := publishing("q", 0)
	var commands []command.Command
	for range 1000 {
		commands = append(commands, p)
	}
	for range 1000 {
		f.do(commands...)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.m.Capture().Release()
	}
}

// BenchmarkCaptureEntities captures a machine with many queues that have a binding and a
// consumer each.
func BenchmarkCaptureEntities(b *testing.B) {
	for _, count := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			f := newFeed(b)
			for i := range count {
				name := fmt.Sprintf("queue-%d", i)
				f.do(
					&command.QueueDeclare{VHost: "/", Name: name, Durable: true},
					&command.Bind{Binding: command.Binding{VHost: "/", Source: "amq.topic", Destination: name, Key: "key." + name}},
					&command.Consume{
						VHost: "/", Channel: command.Channel{Conn: uint64(i / 10), Number: uint16(i % 10)},
						Queue: name, Tag: "t", Limit: 1000,
					},
				)
			}
			b.ReportAllocs()
			for b.Loop() {
				f.m.Capture().Release()
			}
		})
	}
}

// BenchmarkPolicyPut changes a policy among ten, in a vhost with ten thousand queues.
func BenchmarkPolicyPut(b *testing.B) {
	f := newFeed(b)
	for i := range 10_000 {
		f.declare(fmt.Sprintf("queue-%d", i))
	}
	put := func(i, length int) {
		f.do(&command.PolicyPut{
			VHost: "/", Name: fmt.Sprint("policy-", i), Pattern: fmt.Sprintf("^orders\\.%d.*|^queue-.*%d$", i, i), ApplyTo: "queues",
			Definition: wire.Table{{Name: "max-length", Value: int64(length)}},
		})
	}
	for i := range 10 {
		put(i, 1000)
	}
	n := 0
	for b.Loop() {
		n++
		put(3, n)
	}
}

// BenchmarkDeleteVHost deletes a vhost with a million messages in a hundred queues:
// the log stands still for so long.
func BenchmarkDeleteVHost(b *testing.B) {
	for range b.N {
		b.StopTimer()
		f := newFeed(b)
		f.do(&command.VHostPut{Name: "v"})
		for q := range 100 {
			name := fmt.Sprint(q)
			f.do(&command.QueueDeclare{VHost: "v", Name: name, Durable: true},
				&command.Bind{Binding: command.Binding{VHost: "v", Source: "amq.fanout", Destination: name}})
		}
		publish := &command.Publish{VHost: []byte("v"), Exchange: []byte("amq.fanout"), Properties: []byte{0, 0}, Body: []byte("body")}
		for range 10_000 {
			f.do(publish)
		}
		b.StartTimer()
		f.do(&command.VHostDelete{Name: "v"})
		if f.m.HasVHost("v") || f.m.Resident() != 0 {
			b.Fatal("it is there still")
		}
	}
}
