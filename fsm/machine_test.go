package fsm_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/fsmtest"
	"warren/protocol/wire"
)

// TestViews reads what the management pages read.
func TestViews(t *testing.T) {
	f := newFeed(t)
	ch := command.Channel{Conn: 4, Number: 2}
	args := wire.Table{{Name: "x-priority", Value: int32(3)}}
	f.declare("b", "a")
	f.do(
		&command.QueueDeclare{VHost: "/", Conn: 4, Name: "mine", Exclusive: true},
		&command.ExchangeDeclare{VHost: "/", Name: "x", Type: "fanout"},
		&command.Bind{Binding: command.Binding{VHost: "/", Source: "x", Destination: "a"}},
		&command.Consume{VHost: "/", Channel: ch, Queue: "a", Tag: "t", Prefetch: 1, Limit: 10, Args: args},
		publishing("a", 5), publishing("a", 6), publishing("b", 7),
		&command.Get{VHost: "/", Channel: ch, Queue: "b"},
	)
	m := f.m
	var names []string
	for _, q := range m.Queues("/") {
		names = append(names, q.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "mine"}) {
		t.Errorf("queues %v", names)
	}
	a, ok := m.Queue("/", "a")
	if !ok || a.Ready != 1 || a.ReadyBytes != 6 || a.Unacked != 1 || a.UnackedBytes != 5 ||
		a.Consumers != 1 || a.Published != 2 || a.Delivered != 1 || !a.Durable {
		t.Errorf("queue %+v", a)
	}
	if mine, _ := m.Queue("/", "mine"); mine.Owner.Epoch != f.epoch || mine.Owner.Conn != 4 || !mine.Exclusive {
		t.Errorf("queue %+v", mine)
	}
	consumers := m.Consumers("/")
	if len(consumers) != 1 || consumers[0].Tag != "t" || consumers[0].Queue != "a" || consumers[0].Priority != 3 ||
		!consumers[0].AckRequired || consumers[0].Unacked != 1 || consumers[0].Owner.Channel != ch {
		t.Errorf("consumers %+v", consumers)
	}
	want := fsm.Totals{
		VHosts: 1, Exchanges: 8, Bindings: 4, Queues: 3, Consumers: 1, Channels: 1, Connections: 1,
		Ready: 1, ReadyBytes: 6, Unacked: 2, UnackedBytes: 12,
	}
	want.Published, want.Delivered, want.Got = 3, 1, 1
	if got := m.Totals(); got != want {
		t.Errorf("totals %+v", got)
	}
	s := m.ConnState(f.epoch, 4)
	if s == nil || !slices.Equal(s.Exclusive, []string{"mine"}) || len(s.Channels) != 1 ||
		s.Channels[0].Ordinal != 2 || len(s.Channels[0].Unsettled) != 2 || s.Channels[0].Unsettled[1].Tag != "" {
		t.Errorf("connection %+v", s)
	}
	if e := m.Epochs(); len(e) != 1 || e[0].Epoch != f.epoch || e[0].Sequence != f.sequence || e[0].Node != "n" {
		t.Errorf("epochs %+v", e)
	}
	if got := m.Connections(f.epoch); !slices.Equal(got, []uint64{4}) {
		t.Errorf("connections %v", got)
	}
	if !m.HasVHost("/") || m.HasVHost("x") || !slices.Equal(m.VHosts(), []string{"/"}) {
		t.Error("vhosts")
	}
}

// TestViewsOfNothing reads what is not there.
func TestViewsOfNothing(t *testing.T) {
	m := fsm.New(nil)
	if m.Queues("x") != nil || m.Exchanges("x") != nil || m.Bindings("x") != nil || m.Consumers("x") != nil ||
		m.ConnState(1, 1) != nil || m.Connections(1) != nil {
		t.Error("an unknown vhost or epoch has something")
	}
	if _, ok := m.Queue("x", "q"); ok {
		t.Error("an unknown vhost has a queue")
	}
	if _, ok := m.Queue("/", "q"); ok {
		t.Error("there is no queue")
	}
}

// TestApplyRefuses checks what stops a node.
func TestApplyRefuses(t *testing.T) {
	batch := func(commands ...command.Command) []byte {
		b := command.NewBatch(nil, 0, 0)
		for _, c := range commands {
			b = command.AppendToBatch(b, c)
		}
		return b
	}
	open := batch(&command.EpochOpen{Node: "n", Nonce: 1})
	unknown := batch(&command.Tick{})
	unknown[38] = 200
	version := batch()
	version[0] = 9
	short := batch(&command.Tick{})
	short[37] = 2 // two commands
	var out fsm.Output
	for name, test := range map[string]struct {
		batch []byte
		want  error
	}{
		"unknown kind":    {unknown, command.ErrKind},
		"unknown version": {version, command.ErrVersion},
		"short":           {open[:20], command.ErrTruncated},
		"a command less":  {short, command.ErrTruncated},
		"bytes behind":    {append(slices.Clone(open), 0), command.ErrTruncated},
		"short command":   {open[:len(open)-1], command.ErrTruncated},
	} {
		m := fsm.New(nil)
		if err := m.Apply(fsm.Meta{Index: 1}, test.batch, &out); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := fsm.New(nil)
	if err := m.Apply(fsm.Meta{Index: 5}, open, &out); err != nil {
		t.Fatal(err)
	}
	if err := m.Apply(fsm.Meta{Index: 5}, open, &out); err == nil {
		t.Error("an entry is applied twice")
	}
}

// TestBadCommit checks that damage within a commit stops the node too.
func TestBadCommit(t *testing.T) {
	f := newFeed(t)
	for _, inner := range [][]byte{{1, 2}, {byte(command.KindPublish), 0, 0, 0, 1, 9}, {byte(command.KindSettle), 0, 0, 0, 1, 9}} {
		b := command.NewBatch(nil, f.epoch, f.sequence+1)
		b = command.AppendToBatch(b, &command.Commit{VHost: "/", Commands: inner})
		other := newFeed(t)
		if err := other.m.Apply(fsm.Meta{Index: other.index + 1}, b, &other.out); !errors.Is(err, command.ErrTruncated) {
			t.Errorf("%x: %v", inner, err)
		}
	}
}

// TestRefusedSnapshots checks the errors for what is no snapshot at all.
func TestRefusedSnapshots(t *testing.T) {
	_, snapshot := busyMachine(t, 1, 10)
	version := bytes.Clone(snapshot)
	version[8] = 1
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":   {nil, fsm.ErrNotSnapshot},
		"other":   {[]byte("something else entirely"), fsm.ErrNotSnapshot},
		"version": {version, fsm.ErrSnapshotVersion},
	} {
		if err := fsm.New(nil).Restore(bytes.NewReader(test.b)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWriteBesideApply writes a snapshot while entries are applied: run with -race.
func TestWriteBesideApply(t *testing.T) {
	g := fsmtest.NewGenerator(9)
	m := fsm.New(nil)
	var out fsm.Output
	index := uint64(0)
	step := func(n int) {
		for range n {
			index++
			if err := m.Apply(fsm.Meta{Index: index, Term: 1}, g.Next(), &out); err != nil {
				t.Fatal(err)
			}
			g.Saw(&out)
		}
	}
	for range 20 {
		step(60)
		want := snapshotOf(t, m)
		s := m.Capture()
		got := make(chan []byte)
		go func() {
			var b bytes.Buffer
			if _, err := s.WriteTo(&b); err != nil {
				t.Error(err)
			}
			got <- b.Bytes()
		}()
		step(60)
		if !bytes.Equal(<-got, want) {
			t.Fatal("the snapshot has changed while it was written")
		}
		s.Release()
	}
}

// TestOneAllocationPerMessage checks that the machine allocates one object per message, whatever
// the queue does with it.
func TestOneAllocationPerMessage(t *testing.T) {
	f := newFeed(t)
	ch := command.Channel{Conn: 1, Number: 1}
	f.declare("q")
	f.do(&command.Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", Limit: 1 << 40})
	const n = 2000
	publish := publishing("q", 10)
	var done uint64
	batches := make([][]byte, 0, 50)
	for range cap(batches) {
		f.sequence++
		b := command.NewBatch(nil, f.epoch, f.sequence)
		for range n {
			b = command.AppendToBatch(b, publish)
		}
		b = command.AppendToBatch(b, &command.Settle{Channel: ch, From: done + 1, To: done + n})
		batches = append(batches, command.AppendToBatch(b, &command.Credit{Channel: ch, Tag: "t", Limit: 1<<40 + done}))
		done += n
	}
	at := 0
	got := testing.AllocsPerRun(len(batches)-1, func() {
		f.apply(batches[at])
		at++
	})
	if got > n*1.05 {
		t.Errorf("%v allocations for %d messages", got, n)
	}
}
