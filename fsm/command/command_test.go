package command

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"warren/protocol/wire"
)

// samples is one command of each kind, with all its fields set, and one empty.
func samples() []Command {
	ch := Channel{Conn: 1 << 40, Number: math.MaxUint16}
	args := wire.Table{{Name: "x-a", Value: int32(-1)}, {Name: "x-b", Value: "text"}, {Name: "x-c", Value: true}}
	binding := Binding{VHost: "/", Conn: 7, Source: "s", Destination: "d", ToExchange: true, Key: "k", Args: args}
	full := []Command{
		&EpochOpen{Node: "id", Name: "name", Nonce: math.MaxUint64},
		&EpochRemove{Epoch: 12},
		&Tick{},
		&ConnectionClose{Conn: 3},
		&ChannelClose{Channel: ch},
		&ExchangeDeclare{VHost: "/", Name: "x", Type: "topic", Passive: true, Durable: true, AutoDelete: true, Internal: true, Args: args},
		&ExchangeDelete{VHost: "/", Name: "x", IfUnused: true},
		&Bind{Binding: binding},
		&Unbind{Binding: binding},
		&QueueDeclare{VHost: "/", Conn: 1, Name: "q", Passive: true, Durable: true, Exclusive: true, AutoDelete: true, Generated: true, Args: args},
		&QueueDelete{VHost: "/", Conn: 1, Name: "q", IfUnused: true, IfEmpty: true},
		&QueuePurge{VHost: "/", Conn: 1, Name: "q"},
		&Publish{VHost: []byte("/"), Exchange: []byte("x"), Key: []byte("k"), Mandatory: true, Keyed: true, Properties: []byte{0, 0}, Body: []byte("body")},
		&Settle{Channel: ch, From: 1, To: math.MaxUint64, Outcome: Reject},
		&Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", NoAck: true, Exclusive: true, Prefetch: math.MaxUint32, Limit: math.MaxUint64, Args: args},
		&Cancel{Channel: ch, Tag: "t"},
		&Get{VHost: "/", Channel: ch, Queue: "q", NoAck: true},
		&Credit{Channel: ch, Tag: "t", Limit: 1000},
		&Qos{Channel: ch, Prefetch: 10},
		&Recover{Channel: ch},
		&Commit{VHost: "/", Channel: ch, Commands: AppendCommand(nil, &Tick{})},
		&Upgrade{Version: math.MaxUint64},
		&PolicyPut{VHost: "/", Name: "p", Operator: true, Pattern: "^a", ApplyTo: "queues", Priority: -1, Definition: args},
		&PolicyClear{VHost: "/", Name: "p", Operator: true},
		&DelayedCancel{VHost: "/", ID: math.MaxUint64},
		&UserPut{Name: "u", IfNew: true, IfKnown: true, SetPassword: true, SetTags: true, Hash: "h", Algorithm: "a", Tags: []string{"t", ""}},
		&UserDelete{Name: "u"},
		&PermissionSet{User: "u", VHost: "/", Configure: "c", Write: "w", Read: "r"},
		&PermissionClear{User: "u", VHost: "/"},
		&TopicPermissionSet{User: "u", VHost: "/", Exchange: "x", Write: "w", Read: "r"},
		&TopicPermissionClear{User: "u", VHost: "/", Exchange: "x", All: true},
		&AccessInit{User: "u", Hash: "h", Algorithm: "a", Tags: []string{"t"}, VHost: "/"},
		&VHostPut{
			Name: "v", IfMissing: true, IfThere: true, SetDescription: true, SetTags: true, SetType: true, SetProtected: true,
			Description: "d", Tags: []string{"a", ""}, DefaultType: "quorum", Protected: true,
		},
		&VHostDelete{Name: "v"},
		&VHostLimits{VHost: "v", Limits: Limits{ClearAll: true, Clear: []string{"a"}, Set: []Limit{{"max-queues", -1}, {"b", math.MaxInt64}}}},
		&UserLimits{User: "u", Limits: Limits{ClearAll: true, Clear: []string{"a"}, Set: []Limit{{"max-channels", math.MinInt64}}}},
		&ConnectionOpen{Conn: 1 << 40, VHost: "v", User: "u", Existing: true, Channels: []uint16{1, math.MaxUint16}},
		&ChannelOpen{Channel: ch},
		&Seed{VHost: "v"},
		&Move{
			VHost: "v", Queue: "q", Parked: true, From: math.MaxUint64, Most: math.MaxUint32, To: ToLastDeath, Target: "t", SetKey: true, Key: "k",
			Filter: Filter{ByExchange: true, ByKey: true, Exchange: "x", RoutingKey: "r", Headers: args},
		},
		&Emit{VHost: "v", Exchange: "x", Key: []byte("k"), Properties: []byte{0, 0}, Body: []byte("body")},
		&ParameterPut{VHost: "v", Component: "c", Name: "n", Value: "{}"},
		&ParameterClear{VHost: "v", Component: "c", Name: "n"},
		&GlobalParameterPut{Name: "n", Value: "1", IfMissing: true},
		&GlobalParameterClear{Name: "n"},
	}
	for kind := range Kind(255) {
		if c := New(kind); c != nil {
			full = append(full, c)
		}
	}
	return full
}

// TestEveryKind checks that the samples above and New know all kinds, by number.
func TestEveryKind(t *testing.T) {
	seen := make(map[Kind]int)
	for _, c := range samples() {
		seen[c.Kind()]++
		if got := New(c.Kind()); got == nil || reflect.TypeOf(got) != reflect.TypeOf(c) {
			t.Errorf("New(%d) is %T and not %T", c.Kind(), got, c)
		}
	}
	for kind := range Kind(255) {
		if known := New(kind) != nil; known && seen[kind] != 2 || !known && seen[kind] != 0 {
			t.Errorf("kind %d has %d samples", kind, seen[kind])
		}
	}
	if New(0) != nil || New(255) != nil {
		t.Error("New knows kinds that are not")
	}
}

// TestRoundTrip encodes and decodes each kind, and refuses it with a byte more or less.
func TestRoundTrip(t *testing.T) {
	for _, want := range samples() {
		payload := want.Append(nil)
		got := New(want.Kind())
		if err := Decode(payload, got); err != nil {
			t.Errorf("%T: %v", want, err)
			continue
		}
		if again := got.Append(nil); !bytes.Equal(again, payload) {
			t.Errorf("%T: %x becomes %x", want, payload, again)
		}
		_, isPublish := want.(*Publish)
		_, isEmit := want.(*Emit)
		if !isPublish && !isEmit && !reflect.DeepEqual(got, want) {
			if c, isCommit := want.(*Commit); !isCommit || len(c.Commands) > 0 { // nil and empty bytes are one
				t.Errorf("%+v becomes %+v", want, got)
			}
		}
		if err := Decode(append(payload[:len(payload):len(payload)], 0), New(want.Kind())); !errors.Is(err, ErrTruncated) {
			t.Errorf("%T with a byte more: %v", want, err)
		}
		for n := range payload {
			if err := Decode(payload[:n], New(want.Kind())); err == nil {
				t.Errorf("%T with %d of %d bytes is taken", want, n, len(payload))
			}
		}
	}
}

// TestReuse checks that nothing of an earlier command stays when a struct is used again.
func TestReuse(t *testing.T) {
	for _, full := range samples()[:len(samples())/2] {
		empty := New(full.Kind())
		payload := empty.Append(nil)
		if err := Decode(payload, full); err != nil {
			t.Fatal(err)
		}
		if again := full.Append(nil); !bytes.Equal(again, payload) {
			t.Errorf("%T keeps something: %+v", full, full)
		}
	}
}

// TestBatch reads back a batch command by command.
func TestBatch(t *testing.T) {
	batch := NewBatch(nil, 5, 6)
	Stamp(batch, -7, 8)
	all := samples()
	for i, c := range all {
		if i%2 == 0 {
			batch = AppendToBatch(batch, c)
		} else {
			batch = AppendEncoded(batch, c.Kind(), c.Append(nil))
		}
	}
	h, rest, err := ReadHeader(batch)
	want := Header{Stamp: -7, LeaderEpoch: 8, Epoch: 5, Sequence: 6, Count: len(all)}
	if err != nil || h != want {
		t.Fatalf("header %+v, %v", h, err)
	}
	for _, c := range all {
		kind, payload, next, err := Next(rest)
		if err != nil || kind != c.Kind() || !bytes.Equal(payload, c.Append(nil)) {
			t.Fatalf("%T: kind %d, payload %x, %v", c, kind, payload, err)
		}
		rest = next
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes left", len(rest))
	}
	SetSequence(batch, 9, 10)
	if h, _, _ = ReadHeader(batch); h.Epoch != 9 || h.Sequence != 10 || h.Stamp != -7 {
		t.Errorf("header %+v", h)
	}
}

// TestBatchRefused checks what is no batch.
func TestBatchRefused(t *testing.T) {
	batch := AppendToBatch(NewBatch(nil, 1, 1), &Tick{})
	for n := range commandsAt {
		if _, _, err := ReadHeader(batch[:n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for at, b := range []byte{2, 1} {
		other := bytes.Clone(batch)
		other[at] = b
		if _, _, err := ReadHeader(other); !errors.Is(err, ErrVersion) {
			t.Errorf("byte %d is %d: %v", at, b, err)
		}
	}
	for n := 1; n < commandHeader; n++ {
		if _, _, _, err := Next(batch[commandsAt : commandsAt+n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes of a command: %v", n, err)
		}
	}
	if _, _, _, err := Next([]byte{1, 0xff, 0xff, 0xff, 0xff}); !errors.Is(err, ErrTruncated) {
		t.Errorf("a command longer than the batch: %v", err)
	}
}

// TestDecodeAllocatesNothing checks the frequent kinds.
func TestDecodeAllocatesNothing(t *testing.T) {
	for _, c := range samples() {
		switch c.Kind() {
		case KindPublish, KindSettle, KindCredit:
			payload, into := c.Append(nil), New(c.Kind())
			if n := testing.AllocsPerRun(100, func() {
				if err := Decode(payload, into); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%T: %v allocations", c, n)
			}
		}
	}
}

// FuzzDecode decodes anything as any kind: an error, or a command that encodes
// to bytes that decode to the same.
func FuzzDecode(f *testing.F) {
	for _, c := range samples() {
		f.Add(byte(c.Kind()), c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		c := New(Kind(kind))
		if c == nil || Decode(payload, c) != nil {
			return
		}
		once := c.Append(nil)
		again := New(Kind(kind))
		if err := Decode(once, again); err != nil {
			t.Fatalf("%+v does not decode: %v", c, err)
		}
		if twice := again.Append(nil); !bytes.Equal(once, twice) {
			t.Fatalf("%x becomes %x", once, twice)
		}
	})
}

// FuzzBatch walks through anything as a batch.
func FuzzBatch(f *testing.F) {
	batch := NewBatch(nil, 1, 2)
	for _, c := range samples() {
		batch = AppendToBatch(batch, c)
	}
	f.Add(batch)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, rest, err := ReadHeader(b)
		for err == nil && len(rest) > 0 {
			before := len(rest)
			_, _, rest, err = Next(rest)
			if err == nil && len(rest) >= before {
				t.Fatal("no progress")
			}
		}
	})
}
