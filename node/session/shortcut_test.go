package session

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

// paths hands messages to the sessions of a cluster, at once, or, while it is held,
// when it is told to: then they are another node's.
type paths struct {
	k *cluster

	mu    sync.Mutex
	held  []*Shortcut
	hold  bool
	taken int
}

func (x *paths) plug(c *Config) { c.Shortcuts = x }

func (x *paths) Place(vhost, queue string) (Place, bool) {
	x.k.mu.Lock()
	defer x.k.mu.Unlock()
	s, ok := x.k.machine.Shortcut(vhost, queue)
	return Place{Queue: s.Queue, Epoch: s.Consumer.Epoch, Conn: s.Consumer.Conn}, ok
}

func (x *paths) Send(s *Shortcut) Outcome {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hold {
		x.held = append(x.held, s)
		return Pending
	}
	if x.take(s) {
		return Delivered
	}
	return Gone
}

// take does what the node does: nothing is applied meanwhile.
func (x *paths) take(m *Shortcut) bool {
	x.k.mu.Lock()
	defer x.k.mu.Unlock()
	s, ok := x.k.machine.Shortcut(m.VHost, string(m.Key))
	if !ok || s.Queue != m.To.Queue {
		return false
	}
	owner := x.k.sessions[s.Consumer.Conn]
	if owner == nil || !owner.TakeShortcut(m, s.Consumer.Number, s.Tag) {
		return false
	}
	x.taken++
	return true
}

func (x *paths) setHold(hold bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hold = hold
}

// answer answers the message that waits longest: with refused it never arrived.
func (x *paths) answer(refused bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.held) == 0 {
		return false
	}
	m := x.held[0]
	x.held = x.held[1:]
	a := NotTaken
	if !refused && x.take(m) {
		a = Taken
	}
	m.Done(a)
	return true
}

func (x *paths) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.taken
}

func withPaths(t *testing.T, f func(t *testing.T, k *cluster, x *paths)) {
	inBubble(t, func(t *testing.T, k *cluster) { f(t, k, &paths{k: k}) })
}

// owner declares an exclusive queue and consumes it without acknowledgements.
func (k *cluster) owner(x *paths, queue string, args wire.Table) *peer {
	p := k.connect(x.plug).login().open(1)
	call[*protocol.QueueDeclareOk](p, 1, &protocol.QueueDeclare{Queue: queue, Exclusive: true, Arguments: args})
	call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: queue, ConsumerTag: "c", NoAck: true})
	return p
}

// sender is a client with a channel in confirm mode.
func (k *cluster) sender(x *paths) *peer {
	p := k.connect(x.plug).login().open(1)
	call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
	return p
}

func (p *peer) publishes(channel uint16, key string, bodies ...string) {
	p.t.Helper()
	for _, body := range bodies {
		p.publish(channel, "", key, body)
	}
	p.flush()
}

func (p *peer) gets(channel uint16, key, body string) {
	p.t.Helper()
	d := receive[*protocol.BasicDeliver](p, channel)
	if _, got := p.content(channel); got != body || d.RoutingKey != key || d.Exchange != "" || d.Redelivered || d.ConsumerTag != "c" {
		p.t.Errorf("got %q %+v, want %q", got, d, body)
	}
}

func (p *peer) confirmed(channel uint16, tag uint64) {
	p.t.Helper()
	if a := receive[*protocol.BasicAck](p, channel); a.DeliveryTag != tag {
		p.t.Errorf("confirm of %d, want %d", a.DeliveryTag, tag)
	}
}

func TestShortcut(t *testing.T) {
	withPaths(t, func(t *testing.T, k *cluster, x *paths) {
		owner, sender := k.owner(x, "q", nil), k.sender(x)
		for n := range 3 {
			sender.publishes(1, "q", fmt.Sprint(n))
			owner.gets(1, "q", fmt.Sprint(n))
			sender.confirmed(1, uint64(n+1))
		}
		if logged := k.count(command.KindPublish); logged != 0 || x.count() != 3 {
			t.Errorf("%d went through the log, %d past it", logged, x.count())
		}
		// A burst goes through the log, in order with what comes before and behind.
		sender.publishes(1, "q", "a", "b", "c")
		for _, body := range []string{"a", "b", "c"} {
			owner.gets(1, "q", body)
		}
		synctest.Wait()
		sender.publishes(1, "q", "d")
		owner.gets(1, "q", "d")
		if logged := k.count(command.KindPublish); logged != 3 || x.count() != 4 {
			t.Errorf("%d went through the log, %d past it", logged, x.count())
		}
		owner.bye()
		sender.hangUp()
	})
}

// What has to be queued, or may have to, goes through the log.
func TestNoShortcut(t *testing.T) {
	headers := func(name string) []byte {
		return wire.AppendProperties(nil, &wire.Properties{
			Present: wire.FlagHeaders, Headers: wire.Table{{Name: "other", Value: int32(1)}, {Name: name, Value: wire.Array{"x"}}},
		})
	}
	for name, test := range map[string]struct {
		args    wire.Table
		arrange func(owner *peer)
		send    func(sender *peer)
		want    bool // it takes the shortcut
	}{
		"plain":   {want: true},
		"passive": {args: wire.Table{{Name: "x-expires", Value: int32(60000)}, {Name: "x-message-ttl", Value: int32(60000)}}, want: true},
		"headers": {send: func(p *peer) {
			p.w.Method(1, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Content(1, headers("x"), []byte("m"))
		}, want: true},
		"CC": {send: func(p *peer) {
			p.w.Method(1, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Content(1, headers("CC"), []byte("m"))
		}},
		"delay": {send: func(p *peer) {
			p.w.Method(1, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Content(1, headers("x-delay"), []byte("m"))
		}},
		"limit":       {args: wire.Table{{Name: "x-max-length", Value: int32(1)}}},
		"transaction": {arrange: func(*peer) {}, send: func(p *peer) { p.publish(2, "", "q", "m"); p.send(2, &protocol.TxCommit{}) }},
		"two consumers": {arrange: func(p *peer) {
			call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "d", NoAck: true})
		}},
		"acknowledges": {arrange: func(p *peer) {
			call[*protocol.BasicCancelOk](p, 1, &protocol.BasicCancel{ConsumerTag: "c"})
			call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "c"})
		}},
		"no consumer": {arrange: func(p *peer) {
			call[*protocol.BasicCancelOk](p, 1, &protocol.BasicCancel{ConsumerTag: "c"})
		}},
		"large": {send: func(p *peer) { p.publish(1, "", "q", string(make([]byte, maxShortcut+1))) }},
	} {
		t.Run(name, func(t *testing.T) {
			withPaths(t, func(t *testing.T, k *cluster, x *paths) {
				owner, sender := k.owner(x, "q", test.args), k.sender(x).open(2)
				call[*protocol.TxSelectOk](sender, 2, &protocol.TxSelect{})
				if test.arrange != nil {
					test.arrange(owner)
				}
				if test.send == nil {
					test.send = func(p *peer) { p.publish(1, "", "q", "m") }
				}
				test.send(sender)
				sender.flush()
				sender.frame() // confirm or commit-ok
				if x.count() == 1 != test.want || k.count(command.KindPublish)+k.count(command.KindCommit) == 1 == test.want {
					t.Errorf("%d took the shortcut", x.count())
				}
				_ = owner.hangUp()
				_ = sender.hangUp()
			})
		})
	}
}

// What a channel sends behind a message that is under way waits for it; other
// channels do not, and a close of the connection does.
func TestShortcutPending(t *testing.T) {
	for _, refused := range []bool{false, true} {
		withPaths(t, func(t *testing.T, k *cluster, x *paths) {
			owner, sender := k.owner(x, "q", nil), k.sender(x).open(2)
			x.setHold(true)
			sender.publishes(1, "q", "first")
			synctest.Wait()
			sender.publishes(1, "q", "second", "third")
			sender.send(1, &protocol.QueueDeclare{Queue: "later"})
			call[*protocol.QueueDeclareOk](sender, 2, &protocol.QueueDeclare{Queue: "other"})
			sender.send(0, &protocol.ConnectionClose{ReplyCode: 200})
			sender.silent()
			x.setHold(false)
			x.answer(refused)
			for _, body := range []string{"first", "second", "third"} {
				owner.gets(1, "q", body)
			}
			for { // confirms, declare-ok
				f := sender.frame()
				if m, err := protocol.ParseMethod(f.Payload); err != nil {
					t.Fatal(err)
				} else if _, ok := m.(*protocol.ConnectionCloseOk); ok {
					break
				}
			}
			sender.ends(nil)
			if want := map[bool]int{false: 2, true: 3}[refused]; k.count(command.KindPublish) != want {
				t.Errorf("%d went through the log, want %d", k.count(command.KindPublish), want)
			}
			owner.bye()
		})
	}
}

// A channel whose message has no answer for long goes on, but for what might overtake
// it on the way to the queue.
func TestShortcutLate(t *testing.T) {
	for _, refused := range []bool{false, true} {
		withPaths(t, func(t *testing.T, k *cluster, x *paths) {
			owner, other, sender := k.owner(x, "q", nil), k.owner(x, "p", nil), k.sender(x)
			x.setHold(true)
			sender.publishes(1, "q", "first")
			sender.publishes(1, "p", "waits")
			sender.silent()
			time.Sleep(2 * holdTime)
			other.gets(1, "p", "waits")
			sender.confirmed(1, 2)
			sender.publishes(1, "q", "second")
			sender.publishes(1, "p", "overtakes")
			other.gets(1, "p", "overtakes")
			sender.confirmed(1, 4)
			sender.publish(1, "amq.fanout", "", "to nobody")
			sender.flush()
			sender.publishes(1, "p", "waits")
			sender.silent()
			owner.silent()
			x.setHold(false)
			x.answer(refused)
			owner.gets(1, "q", "first")
			owner.gets(1, "q", "second")
			other.gets(1, "p", "waits")
			synctest.Wait()
			if n := sender.session.Info().ChannelInfos[0].Unconfirmed; n != 0 {
				t.Errorf("%d are not confirmed", n)
			}
			for _, p := range []*peer{owner, other, sender} {
				_ = p.hangUp()
			}
		})
	}
}

// A message with further keys that is kept behind one without an answer comes to all of
// its queues, in order with what follows, and without BCC.
func TestShortcutKeepsFurtherKeys(t *testing.T) {
	withPaths(t, func(t *testing.T, k *cluster, x *paths) {
		owner, other, sender := k.owner(x, "q", nil), k.owner(x, "p", nil), k.sender(x)
		x.setHold(true)
		sender.publishes(1, "q", "first")
		time.Sleep(2 * holdTime)
		for _, header := range []string{"CC", "BCC"} {
			sender.w.Method(1, &protocol.BasicPublish{RoutingKey: "q"})
			sender.w.Content(1, wire.AppendProperties(nil, &wire.Properties{
				Present: wire.FlagHeaders, Headers: wire.Table{{Name: header, Value: wire.Array{"p"}}},
			}), []byte(header))
			sender.publishes(1, "p", "behind "+header)
		}
		sender.silent()
		other.silent()
		x.setHold(false)
		x.answer(true)
		owner.gets(1, "q", "first")
		for _, p := range []*peer{owner, other} {
			for _, header := range []string{"CC", "BCC"} {
				receive[*protocol.BasicDeliver](p, 1)
				properties, body := p.content(1)
				if body != header || wire.AnyHeader(properties, "CC") != (header == "CC") || wire.AnyHeader(properties, "BCC") {
					t.Errorf("%q came with properties %q, want %s", body, properties, header)
				}
				if p == other {
					p.gets(1, "p", "behind "+header)
				}
			}
			p.bye()
		}
		_ = sender.hangUp()
	})
}

// A client that hangs up loses nothing of what it sent.
func TestShortcutPendingAtHangUp(t *testing.T) {
	withPaths(t, func(t *testing.T, k *cluster, x *paths) {
		owner, sender := k.owner(x, "q", nil), k.sender(x)
		x.setHold(true)
		sender.publishes(1, "q", "first")
		synctest.Wait()
		sender.publishes(1, "q", "second")
		synctest.Wait()
		_ = sender.conn.Close()
		synctest.Wait()
		x.answer(true)
		owner.gets(1, "q", "first")
		owner.gets(1, "q", "second")
		<-sender.served
		// And when the session has ended before the answer came.
		sender = k.sender(x)
		sender.publishes(1, "q", "third")
		synctest.Wait()
		sender.session.Close(protocol.ConnectionForced, "bye")
		sender.dies(protocol.ConnectionForced, "CONNECTION_FORCED - bye", 0)
		x.answer(true)
		owner.gets(1, "q", "third")
		owner.bye()
	})
}

// An answer that a session has, but does not come to handle before it ends, because its
// client does not read, is not lost: neither in the inbox nor among what was taken from it.
func TestShortcutAnswerUnhandled(t *testing.T) {
	for name, taken := range map[string]bool{"in the inbox": false, "taken": true} {
		t.Run(name, func(t *testing.T) {
			// The loop may have come to the answer before its client stopped reading: then once more.
			for range 50 {
				if t.Failed() || answerUnhandled(t, taken) {
					return
				}
			}
			t.Error("the answer was always handled: not much of a test")
		})
	}
}

// answerUnhandled reports whether the session ended before it had handled the answer, in
// the inbox or taken from it. Nothing may be lost either way.
func answerUnhandled(t *testing.T, taken bool) (unhandled bool) {
	withPaths(t, func(t *testing.T, k *cluster, x *paths) {
		owner, sender := k.owner(x, "q", nil), k.sender(x).open(2, 3)
		call[*protocol.QueueDeclareOk](sender, 2, &protocol.QueueDeclare{Queue: "slow", Exclusive: true})
		call[*protocol.BasicConsumeOk](sender, 2, &protocol.BasicConsume{Queue: "slow", ConsumerTag: "c", NoAck: true})
		x.setHold(true)
		sender.publishes(1, "q", "first")
		time.Sleep(2 * holdTime)
		sender.publishes(1, "q", "second")
		synctest.Wait()

		slow := make(chan struct{})
		sender.slow.Store(&slow)
		other := k.connect().login().open(1)
		for range 64 {
			other.publishes(1, "slow", strings.Repeat("x", 32<<10))
		}
		synctest.Wait()
		x.answer(true)
		s := sender.session
		for taken && len(s.inbox.events) > 0 { // the client reads frame by frame until the loop takes them
			last := slow
			slow = make(chan struct{})
			sender.slow.Store(&slow)
			close(last)
			synctest.Wait()
		}
		holds := s.inbox.events
		if taken {
			holds = s.conn.events[s.conn.handled:]
		}
		unhandled = slices.ContainsFunc(holds, func(e event) bool { return e.kind == evShortcut })
		if unhandled {
			owner.silent()
		}
		_ = sender.conn.Close()
		<-sender.served
		sender.slow.Store(nil)
		close(slow)
		owner.gets(1, "q", "first")
		owner.gets(1, "q", "second")
		owner.bye()
		other.bye()
	})
	return unhandled
}

// When nobody can tell what became of a message, the client is told that.
func TestShortcutUnknown(t *testing.T) {
	withPaths(t, func(t *testing.T, k *cluster, x *paths) {
		owner, sender := k.owner(x, "q", nil), k.sender(x)
		x.setHold(true)
		sender.publishes(1, "q", "m")
		synctest.Wait()
		x.held[0].Done(Unknown)
		sender.dies(protocol.ConnectionForced,
			"CONNECTION_FORCED - nobody can tell whether a message reached queue 'q', whose node cannot be reached; connect again",
			protocol.IDBasicPublish)
		owner.silent()
		owner.bye()
	})
}

// A client that does not read is not sent more than there is room for; the rest
// waits in the queue, and comes in order.
func TestShortcutsAreBounded(t *testing.T) {
	withPaths(t, func(t *testing.T, k *cluster, x *paths) {
		owner, sender := k.owner(x, "q", nil), k.sender(x)
		synctest.Wait()
		slow := make(chan struct{})
		owner.slow.Store(&slow)
		const count, size = 200, 32 << 10
		pad := strings.Repeat("x", size)
		for n := range count {
			sender.publishes(1, "q", fmt.Sprintf("%d %s", n, pad))
			sender.confirmed(1, uint64(n+1))
		}
		most := (maxTaken+2*maxUnwritten)/size + 8
		if got := x.count(); got == 0 || got > most {
			t.Errorf("%d messages took the shortcut, want %d at most", got, most)
		}
		owner.slow.Store(nil)
		close(slow)
		for n := range count {
			owner.gets(1, "q", fmt.Sprintf("%d %s", n, pad))
		}
		owner.bye()
		sender.hangUp()
	})
}

// A queue without a shortcut is not looked at for each message, and is found later.
func TestShortcutIsFoundLater(t *testing.T) {
	withPaths(t, func(t *testing.T, k *cluster, x *paths) {
		sender := k.sender(x)
		sender.publishes(1, "q", "nobody")
		sender.confirmed(1, 1)
		owner := k.owner(x, "q", nil)
		for n := range uint64(2 * placeRest) {
			sender.publishes(1, "q", "m")
			sender.confirmed(1, n+2)
			owner.gets(1, "q", "m")
		}
		if got := x.count(); got < placeRest || got > 2*placeRest-1 {
			t.Errorf("%d took the shortcut", got)
		}
		owner.bye()
		sender.hangUp()
	})
}

// A shortSender publishes at random to the queues of others.
type shortSender struct {
	*peer
	id   string
	sent map[string]int // by queue and channel
}

// A receiver takes what comes to its queue.
type receiver struct {
	*peer
	queue string
	on    bool // consumes
	last  map[string]int
	got   int
}

// drain takes what has come: each sender's messages once, and in order.
func (r *receiver) drain() error {
	synctest.Wait()
	for {
		select {
		case f, ok := <-r.frames:
			if !ok {
				return errors.New("the receiver was hung up on")
			}
			if f.Type == protocol.FrameHeartbeat {
				continue
			}
			m, err := protocol.ParseMethod(f.Payload)
			if err != nil {
				return err
			}
			if _, ok := m.(*protocol.BasicDeliver); !ok {
				continue
			}
			_, body := r.content(1)
			var from string
			var n int
			if _, err := fmt.Sscan(body, &from, &n); err != nil {
				return fmt.Errorf("%q: %w", body, err)
			}
			if n != r.last[from]+1 {
				return fmt.Errorf("%s: message %d of %s comes after %d", r.queue, n, from, r.last[from])
			}
			r.last[from] = n
			r.got++
		default:
			return nil
		}
	}
}

// Messages that go through the log and past it come once and in the order in which
// their channel sent them, whatever is slow, refused, cancelled or hung up meanwhile.
func TestRandomShortcuts(t *testing.T) {
	shortcuts, logged := 0, 0
	for seed := range uint64(40) {
		withPaths(t, func(t *testing.T, k *cluster, x *paths) {
			r := rand.New(rand.NewPCG(seed, 11))
			var receivers []*receiver
			for i := range 3 {
				q := fmt.Sprint("q", i)
				receivers = append(receivers, &receiver{peer: k.owner(x, q, nil), queue: q, on: true, last: map[string]int{}})
			}
			var senders []*shortSender
			join := func(i int) {
				s := &shortSender{peer: k.connect(x.plug).login().open(1, 2), id: fmt.Sprint("s", seed, "-", i, "-", k.lastConn), sent: map[string]int{}}
				if i == len(senders) {
					senders = append(senders, s)
				}
				senders[i] = s
			}
			total := 0
			for i := range 3 {
				join(i)
			}
			for range 300 {
				s, q := senders[r.IntN(3)], receivers[r.IntN(3)]
				switch what := r.IntN(20); {
				case what < 10:
					channel := uint16(1 + r.IntN(2))
					for range 1 + max(0, r.IntN(6)-3) {
						from := fmt.Sprintf("%s-%d-%s", s.id, channel, q.queue)
						s.sent[from]++
						total++
						s.publish(channel, "", q.queue, fmt.Sprint(from, " ", s.sent[from]))
					}
					s.flush()
				case what < 12:
					k.setHold(r.IntN(2) == 0)
				case what < 14:
					x.setHold(r.IntN(2) == 0)
				case what < 16:
					x.answer(r.IntN(3) == 0)
				case what == 16:
					if q.on {
						q.send(1, &protocol.BasicCancel{ConsumerTag: "c", NoWait: true})
					} else {
						q.send(1, &protocol.BasicConsume{Queue: q.queue, ConsumerTag: "c", NoAck: true, NoWait: true})
					}
					q.on = !q.on
				case what == 17 && r.IntN(2) == 0:
					if err := q.drain(); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
				case what == 18 && r.IntN(3) == 0:
					time.Sleep(2 * holdTime) // the bubble's time
				case what == 19 && r.IntN(4) == 0:
					synctest.Wait() // all that it wrote is read
					i := slices.Index(senders, s)
					_ = s.conn.Close()
					join(i)
				default:
					synctest.Wait()
				}
			}
			x.setHold(false)
			k.setHold(false)
			for synctest.Wait(); x.answer(false); synctest.Wait() {
			}
			got := 0
			for _, q := range receivers {
				if !q.on {
					q.send(1, &protocol.BasicConsume{Queue: q.queue, ConsumerTag: "c", NoAck: true, NoWait: true})
				}
				if err := q.drain(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				got += q.got
			}
			if got != total {
				t.Errorf("seed %d: %d of %d messages came", seed, got, total)
			}
			shortcuts, logged = shortcuts+x.count(), logged+k.count(command.KindPublish)
			for _, s := range senders {
				_ = s.hangUp()
			}
			for _, q := range receivers {
				_ = q.hangUp()
			}
		})
	}
	if shortcuts < 500 || logged < 500 {
		t.Errorf("%d messages took shortcuts, %d went through the log: not much of a test", shortcuts, logged)
	}
	t.Logf("%d past the log, %d through it", shortcuts, logged)
}
