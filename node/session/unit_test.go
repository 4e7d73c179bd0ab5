package session

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

// The list of unsettled deliveries against a plain one, with random acks.
func TestUnackedList(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var l unackedList
		var model, taken []uint64 // tags
		next := uint64(0)
		for range 2000 {
			switch n := r.IntN(10); {
			case n < 6:
				next += 1 + uint64(r.IntN(2)) // deliveries without acks use up tags
				l.push(next, next*10)
				if len(l.items) > 4*l.live+200 {
					t.Fatalf("%d items for %d deliveries", len(l.items), l.live)
				}
				model = append(model, next)
			case n < 8:
				tag := uint64(r.Int64N(int64(next) + 2))
				u, ok := l.take(tag)
				i := slices.Index(model, tag)
				if ok != (i >= 0) || ok && (u.tag != tag || u.ordinal != tag*10) {
					t.Fatalf("take(%d) = %+v, %v; have %v", tag, u, ok, model)
				}
				if ok {
					model = slices.Delete(model, i, i+1)
					taken = append(taken, tag)
				}
			case n < 9:
				tag := uint64(r.Int64N(int64(next) + 2))
				if r.IntN(8) > 0 && len(model) > 0 {
					tag = model[r.IntN(min(len(model), 5))]
				}
				var want []uint64
				ok := tag == 0
				end := len(model)
				if i := slices.Index(model, tag); i >= 0 {
					ok, end = true, i+1
				}
				if ok {
					want = append(want, model[:end]...)
					model = model[end:]
				}
				got, found := l.takeTo(tag)
				var tags []uint64
				for _, u := range got {
					if !u.settled {
						tags = append(tags, u.tag)
					}
				}
				if found != ok || !slices.Equal(tags, want) {
					t.Fatalf("takeTo(%d) = %v, %v, want %v, %v", tag, tags, found, want, ok)
				}
				taken = append(taken, want...)
			default: // a rollback
				var back []unacked
				for _, tag := range taken {
					back = append(back, unacked{tag: tag, ordinal: tag * 10})
				}
				l.restore(back)
				model = append(model, taken...)
				slices.Sort(model)
				taken = nil
			}
			if l.len() != len(model) {
				t.Fatalf("len is %d, want %d", l.len(), len(model))
			}
		}
	}
}

// One delivery that is never settled must not keep all that come after it.
func TestUnackedListForgets(t *testing.T) {
	var l unackedList
	l.push(1, 1)
	for tag := uint64(2); tag < 100_000; tag++ {
		l.push(tag, tag)
		if _, ok := l.take(tag); !ok {
			t.Fatal(tag)
		}
	}
	if len(l.items) > 200 || l.len() != 1 {
		t.Errorf("%d items for %d deliveries", len(l.items), l.len())
	}
}

func TestToken(t *testing.T) {
	for _, n := range []uint64{1, 5, publishMask, publishMask + 1, publishMask + 2, 5*publishMask + 77} {
		tok := newToken(65535, 1234, forPublish, n)
		if tok.channel() != 65535 || tok.incarnation() != 1234 || tok.purpose() != forPublish {
			t.Errorf("%x", uint64(tok))
		}
		for _, latest := range []uint64{n, n + 1, n + maxFlight} {
			if got := tok.publish(latest); got != n {
				t.Errorf("publish %d with latest %d is read as %d", n, latest, got)
			}
		}
	}
	if p := newToken(1, 2, forConnectionClose, 0).purpose(); p != forConnectionClose {
		t.Errorf("purpose %d", p)
	}
}

// Results that follow one another are one event; others are not.
func TestInboxCountsPublishes(t *testing.T) {
	s := &Session{inbox: newInbox()}
	for _, n := range []uint64{1, 2, 3, 5, publishMask, publishMask + 1, publishMask + 2} {
		s.Result(uint64(newToken(1, 1, forPublish, n)), &command.Result{})
	}
	s.Result(uint64(newToken(1, 2, forPublish, 4)), &command.Result{})
	s.Result(uint64(newToken(1, 2, forPublish, 5)), &command.Result{Err: &command.Error{Code: 404}})
	s.Result(uint64(newToken(1, 2, forPublish, 6)), &command.Result{Lost: true, Applied: true})
	events, _ := s.inbox.take(nil)
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprint(e.kind, "+", e.count))
	}
	if s := strings.Join(got, " "); s != "0+3 0+1 0+1 0+2 0+1 1+0 0+1" {
		t.Errorf("events: %s", s)
	}
	s.inbox.close()
	s.Effect(&command.Effect{Kind: command.EffectCancel})
	if len(s.inbox.events) != 0 {
		t.Error("a closed inbox took something")
	}
}

// Results out of order are confirmed one by one, and each once.
func TestConfirmsOutOfOrder(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	s := New(Config{Conn: far, Proposer: new(encoder), Logger: quiet()})
	ch := &channel{c: &s.conn, number: 1, open: true, sent: 10, confirms: confirms{on: true, before: 2}}
	for _, first := range []uint64{1, 3, 6, 8, 4, 5, 7, 9, 10} { // 1 was sent before confirm.select
		ch.published(newToken(1, 0, forPublish, first), 1)
	}
	if ch.unconfirmed() != 0 || len(ch.confirms.early) != 0 || ch.confirms.done != 8 {
		t.Errorf("%+v", ch.confirms)
	}
	ch.published(newToken(1, 0, forPublish, 10), 1) // again: nothing
	ch.flushConfirms()
	if ch.confirms.told != 8 {
		t.Errorf("%+v", ch.confirms)
	}
}

func TestFlight(t *testing.T) {
	var f flight
	for i := range 10_000 {
		f.start(10)
		f.start(20)
		if f.bytes != 30+20*min(i, 1) {
			t.Fatalf("%d bytes in flight", f.bytes)
		}
		f.land(2)
		f.start(20)
		f.land(1)
		if i == 0 {
			f.start(20)
		}
	}
	f.land(100)
	if f.bytes != 0 || cap(f.sizes) > 4096 {
		t.Errorf("%d bytes, room for %d", f.bytes, cap(f.sizes))
	}
	if f.start(1000); !f.full(10) {
		t.Error("not full")
	}
}

func TestInfoIsJSON(t *testing.T) {
	properties := wire.Table{
		{Name: "nan", Value: math.NaN()}, {Name: "inf", Value: float32(math.Inf(1))}, {Name: "bad", Value: "\xff"},
		{Name: "bytes", Value: []byte{1}}, {Name: "t", Value: wire.Table{{Name: "a", Value: wire.Array{nil, true, wire.Decimal{Scale: 1, Value: 2}}}}},
		{Name: "time", Value: wire.Timestamp(5)},
	}
	b, err := json.Marshal(Info{ClientProperties: jsonTable(properties)})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"nan":"NaN"`) {
		t.Errorf("%s", b)
	}
}

func TestConnectionName(t *testing.T) {
	addr := &net.TCPAddr{IP: net.ParseIP("::1"), Port: 5672}
	if got := endName(addr); got != "::1:5672" {
		t.Errorf("%q", got)
	}
}

func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		limit     int64 // of the node
		consumers int64 // of the node
		average   int
		want      uint64
	}{
		{0, 1, 0, 2048}, {0, 1, 100, 2048}, {0, 1, 64 << 10, 256}, {0, 1, 16 << 20, 2},
		{1 << 30, 1, 64 << 10, 256}, {1 << 30, 1024, 64 << 10, 16}, {1 << 30, 1 << 20, 1024, 64}, {1 << 30, 0, 1024, 2048},
	} {
		c := &connection{cfg: &Config{Limits: new(Limits), Tally: new(Tally)}}
		c.cfg.Limits.SetBytes(tt.limit)
		c.cfg.Tally.consumers.Store(tt.consumers)
		if got := c.window(&consumer{average: tt.average}); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

// Over TCP bodies go to the socket uncopied, and come out as they were.
func TestOverTCP(t *testing.T) {
	k := newCluster(t)
	defer k.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := k.connectOver(near, far).login().open(1)
	p.declare(1, "q")
	call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
	call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", NoAck: true})
	sizes := []int{0, 1, 1000, 5000, 131064, 1 << 20, 3}
	for i, size := range sizes {
		p.publish(1, "", "q", strings.Repeat(string(rune('a'+i)), size))
	}
	p.flush()
	seen, confirmed := 0, uint64(0)
	for seen < len(sizes) || confirmed < uint64(len(sizes)) {
		f := p.frame()
		m, err := protocol.ParseMethod(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if ack, ok := m.(*protocol.BasicAck); ok {
			confirmed = ack.DeliveryTag
			continue
		}
		if _, body := p.content(1); body != strings.Repeat(string(rune('a'+seen)), sizes[seen]) {
			t.Errorf("message %d came with %d bytes", seen, len(body))
		}
		seen++
	}
	i := p.session.Info()
	if i.ReceivedBytes < 1<<20 || i.SentBytes < 1<<20 || i.PeerHost != "127.0.0.1" || !strings.Contains(i.Name, " -> 127.0.0.1:") {
		t.Errorf("%+v", i)
	}
	p.bye()
}
