package fsm_test

import (
	"fmt"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol/wire"
)

// at applies a tick at a time.
func (f *feed) at(ms int64) {
	b := command.NewBatch(nil, 0, 0)
	command.Stamp(b, ms, 0)
	f.apply(command.AppendToBatch(b, &command.Tick{}))
}

// TestFanOutHasItsPrice checks that one entry does not send all that is due to many queues, be it
// dead or delayed, and that the next ones do the rest.
func TestFanOutHasItsPrice(t *testing.T) {
	const queues, messages = 200, 1000
	for _, delayed := range []bool{false, true} {
		f := newFeed(t)
		f.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
		for i := range queues {
			name := fmt.Sprint("to", i)
			f.declare(name)
			f.do(&command.Bind{Binding: command.Binding{VHost: "/", Source: "amq.fanout", Destination: name}})
		}
		p := publishing("q", 10)
		if delayed {
			p.Exchange = []byte("amq.fanout")
			p.Properties = wire.AppendProperties(nil, &wire.Properties{
				Present: wire.FlagHeaders, Headers: wire.Table{{Name: "x-delay", Value: int32(5)}},
			})
		} else {
			f.do(&command.QueueDeclare{VHost: "/", Name: "q", Args: wire.Table{
				{Name: "x-message-ttl", Value: int32(5)}, {Name: "x-dead-letter-exchange", Value: "amq.fanout"},
			}})
		}
		for range messages {
			f.do(p)
		}
		before := f.m.Totals().Published
		f.at(5)
		got := f.m.Totals().Published - before
		if got == 0 || got > 8192+64*queues || !f.out.AnyDue || f.out.Due > 5 {
			t.Errorf("delayed %v: %d published by one entry, due %v", delayed, got, f.out.AnyDue)
		}
		for range messages {
			if f.out.AnyDue {
				f.at(5)
			}
		}
		if got := f.m.Totals().Published - before; got != queues*messages {
			t.Errorf("delayed %v: %d published", delayed, got)
		}
	}
}

// TestOverdueHasItsPrice checks that one entry does not take back all that a client kept for too long, that the
// next ones do the rest, and that the client is told once.
func TestOverdueHasItsPrice(t *testing.T) {
	const messages = 20_000
	f := newFeed(t)
	f.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
	f.do(&command.QueueDeclare{VHost: "/", Name: "q", Args: wire.Table{{Name: "x-consumer-timeout", Value: int32(5)}}})
	ch := command.Channel{Conn: 1, Number: 1}
	f.do(&command.Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", Limit: 1 << 62})
	p := publishing("q", 10)
	for range messages / 100 {
		var all []command.Command
		for range 100 {
			all = append(all, p)
		}
		f.do(all...)
	}
	told, entries := 0, 0
	for f.m.Totals().Unacked > 0 && entries < 10 {
		before := f.m.Totals().Unacked
		f.at(105)
		entries++
		if got := before - f.m.Totals().Unacked; got > 8192 {
			t.Errorf("%d were taken back by one entry", got)
		}
		for i := range f.out.Effects {
			if f.out.Effects[i].Kind == command.EffectOverdue {
				told++
			}
		}
	}
	if told != 1 || entries != 3 || f.m.Totals().Ready != messages {
		t.Errorf("told %d times in %d entries, %d are ready", told, entries, f.m.Totals().Ready)
	}
}

// TestFilterHasItsPrice checks that one entry, or one look, does not compare very many headers of all messages of a queue, and that the
// next ones do the rest.
func TestFilterHasItsPrice(t *testing.T) {
	const headers, messages = 500, 100
	f := newFeed(t)
	f.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
	f.declare("from", "to")
	var all wire.Table
	for i := range headers {
		all = append(all, wire.Field{Name: fmt.Sprint("header-", i), Value: "value"})
	}
	p := publishing("from", 10)
	p.Properties = wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagHeaders, Headers: all})
	for range messages {
		f.do(p)
	}
	wanted := append(all[:headers-1:headers-1], wire.Field{Name: "last", Value: "another"})
	most := 2*8192<<12/(headers*len(p.Properties)) + 1

	c := &command.Move{VHost: "/", Queue: "from", Target: "to", Most: 10, Filter: command.Filter{Headers: wanted}}
	entries := 0
	for entries = 1; entries < 2*messages; entries++ {
		f.do(c)
		r := &f.out.Results[0]
		if r.Next != 0 && (r.Next <= c.From || r.Next > max(c.From, 1)+uint64(most)) {
			t.Fatalf("an entry looked at the messages from %d to %d, with %d headers of %d bytes", c.From, r.Next, headers, len(p.Properties))
		}
		if c.From = r.Next; c.From == 0 {
			break
		}
	}
	if entries < messages/most {
		t.Errorf("%d entries looked at all", entries)
	}

	q := &fsm.BrowseQuery{States: fsm.BrowseReady, Most: 10, Filter: c.Filter}
	looks := 0
	for looks = 1; looks < 2*messages; looks++ {
		_, next, ok, err := f.m.Browse("/", "from", q)
		if !ok || err != nil || next != 0 && (next <= q.From || next > max(q.From, 1)+uint64(4*most)) {
			t.Fatalf("from %d to %d: %v", q.From, next, err)
		}
		if q.From = next; next == 0 {
			break
		}
	}
	if looks < messages/(4*most) {
		t.Errorf("%d looks saw all", looks)
	}
}

// TestReplayIsBounded binds an exchange with a long history to one that leads to many queues: that is one entry, so only the newest
// messages come.
func TestReplayIsBounded(t *testing.T) {
	const queues, messages = 1000, 1500
	f := newFeed(t)
	f.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
	for i := range queues {
		name := fmt.Sprint("to", i)
		f.declare(name)
		f.do(&command.Bind{Binding: command.Binding{VHost: "/", Source: "amq.fanout", Destination: name}})
	}
	f.do(&command.ExchangeDeclare{VHost: "/", Name: "h", Type: "x-recent-history", Args: wire.Table{{Name: "x-recent-history-length", Value: int32(messages)}}})
	p := publishing("k", 1)
	p.Exchange = []byte("h")
	for range messages {
		f.do(p)
	}
	f.do(&command.Bind{Binding: command.Binding{VHost: "/", Source: "h", Destination: "amq.fanout", ToExchange: true}})
	if got := f.m.Totals().Ready; got > 1<<20 || got < 1<<19 {
		t.Errorf("a binding put %d messages in queues", got)
	}
	f.declare("late")
	f.do(&command.Bind{Binding: command.Binding{VHost: "/", Source: "h", Destination: "late"}})
	if q, _ := f.m.Queue("/", "late"); q.Ready != messages {
		t.Errorf("a binding to a queue gave %d messages", q.Ready)
	}
}
