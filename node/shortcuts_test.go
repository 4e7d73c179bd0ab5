package node

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"warren/cluster"
	"warren/fsm"
	"warren/node/session"
)

// exclusive declares an exclusive queue on a node and consumes it.
func exclusive(t testing.TB, ch *amqp.Channel, noAck bool) (string, <-chan amqp.Delivery) {
	t.Helper()
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ch.Consume(q.Name, "", noAck, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Name, got
}

// published is how many messages went through the log to a queue.
func (n *Node) published(queue string) (count uint64) {
	n.replica.View(func(m *fsm.Machine) {
		q, _ := m.Queue("/", queue)
		count = q.Published
	})
	return count
}

// Between two nodes whose link loses questions and answers every message comes once,
// in order, and is confirmed.
func TestShortcutsOverBadLink(t *testing.T) {
	nodes := startPair(t)
	_, client := dial(t, nodes[0])
	_, server := dial(t, nodes[1])
	queue, got := exclusive(t, client, true)
	if err := server.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirms := server.NotifyPublish(make(chan amqp.Confirmation, 10))
	returns := server.NotifyReturn(make(chan amqp.Return, 10))
	r := rand.New(rand.NewPCG(1, 2))
	var calls, lost, unsent int
	real := nodes[1].shortcuts.out.call
	// One link, so one goroutine at a time.
	nodes[1].shortcuts.out.call = func(ctx context.Context, node, method string, payload []byte) ([]byte, error) {
		calls++
		switch r.IntN(8) {
		case 0:
			unsent++
			return nil, cluster.ErrTooLarge
		case 1:
			lost++
			_, _ = real(ctx, node, method, payload)
			return nil, cluster.ErrUnreachable
		case 2: // it was sent, and never arrived
			lost++
			return nil, context.DeadlineExceeded
		}
		return real(ctx, node, method, payload)
	}
	const count = 500
	for i := range count {
		publish(t, server, queue, true, amqp.Publishing{CorrelationId: fmt.Sprint(i)})
		if c := next(t, confirms); !c.Ack || c.DeliveryTag != uint64(i+1) {
			t.Fatalf("%+v", c)
		}
		if d := next(t, got); d.CorrelationId != fmt.Sprint(i) || d.Exchange != "" || d.RoutingKey != queue || d.DeliveryTag != uint64(i+1) {
			t.Fatalf("message %d: %+v", i, d)
		}
	}
	select {
	case d := <-got:
		t.Errorf("came once more: %+v", d)
	case r := <-returns:
		t.Errorf("%+v", r)
	default:
	}
	logged := nodes[1].published(queue)
	t.Logf("%d calls, %d lost, %d not sent; %d of %d messages went through the log", calls, lost, unsent, logged, count)
	if logged == 0 || logged == count || lost == 0 || unsent == 0 {
		t.Error("not much of a test")
	}
}

// What became of a message is found out when its answer was lost, or its queue is gone.
func TestShortcutAnswers(t *testing.T) {
	var answer atomic.Value // func() ([]byte, error)
	p := &shortcuts{node: uuid.New(), replica: machineOnly{fsm.New(nil)}}
	ctx, cancel := context.WithCancel(context.Background())
	p.out = &outbox{
		method: callShortcuts, ctx: ctx, cancel: cancel, log: testConfig("").Logger,
		member: func(string) bool { return true },
		call: func(context.Context, string, string, []byte) ([]byte, error) {
			return answer.Load().(func() ([]byte, error))()
		},
		links: make(map[uuid.UUID]*outboxLink),
	}
	defer p.close()
	for name, test := range map[string]struct {
		answer func() ([]byte, error)
		want   session.Answer
	}{
		"taken":        {func() ([]byte, error) { return []byte{1}, nil }, session.Taken},
		"not taken":    {func() ([]byte, error) { return []byte{0}, nil }, session.NotTaken},
		"old version":  {func() ([]byte, error) { return nil, cluster.ErrNoMethod }, session.NotTaken},
		"not a member": {func() ([]byte, error) { return nil, cluster.ErrNotMember }, session.NotTaken},
		"queue gone":   {func() ([]byte, error) { return nil, cluster.ErrUnreachable }, session.Taken}, // there is none in the machine
		"broken reply": {func() ([]byte, error) { return []byte{0, 0}, nil }, session.Taken},
	} {
		answer.Store(test.answer)
		peer := uuid.New() // of its own: what waits while a call fails is not sent at all
		got := make(chan session.Answer, 1)
		s := &session.Shortcut{
			To: session.Place{Node: peer, Queue: 1}, VHost: "/", Key: []byte("q"),
			Answer: func(_ *session.Shortcut, a session.Answer) { got <- a },
		}
		if p.Send(s) != session.Pending {
			t.Fatal(name)
		}
		if a := next(t, got); a != test.want {
			t.Errorf("%s: answer %d, want %d", name, a, test.want)
		}
	}
}

// machineOnly is a replica that applies nothing.
type machineOnly struct{ m *fsm.Machine }

func (r machineOnly) View(f func(*fsm.Machine))          { f(r.m) }
func (r machineOnly) Between(f func(*fsm.Machine))       { f(r.m) }
func (r machineOnly) Handed() uint64                     { return r.m.Index() }
func (r machineOnly) Reach(context.Context, uint64) bool { return true }

func TestShortcutOutcomes(t *testing.T) {
	var o outcomes
	calls := 0
	take := func(taken bool) func() bool {
		return func() bool { calls++; return taken }
	}
	a, b := shortcutSender{process: 1}, shortcutSender{process: 2}
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		from        shortcutSender
		number      uint64
		take, want  bool
		calls, last int
	}{
		{from: a, number: 5, take: true, want: true, calls: 1},
		{from: a, number: 5, take: false, want: true, calls: 1}, // asked again
		{from: b, number: 5, take: false, want: false, calls: 2},
		{from: b, number: 5, take: true, want: false, calls: 2},
		{from: a, number: 7, take: false, want: false, calls: 3},
		{from: a, number: 5, take: true, want: false, calls: 3}, // late, after its sender went on
	} {
		if got := o.once(step.from, step.number, now, take(step.take)); got != step.want || calls != step.calls {
			t.Errorf("step %d: %v after %d calls", i, got, calls)
		}
	}
	for i := range uint64(shortcutSenders + 100) {
		o.once(shortcutSender{process: 3, conn: i}, 1, now, take(true))
	}
	if n := len(o.last); n != shortcutSenders {
		t.Errorf("%d senders are remembered", n)
	}
	if o.once(shortcutSender{process: 4}, 1, now, take(true)) {
		t.Error("taken, though it could not be remembered")
	}
	// When all are young they are not looked through for each message.
	full := now.Add(shortcutMemory)
	if o.once(shortcutSender{process: 4}, 1, full, take(true)) || o.once(shortcutSender{process: 4}, 1, full.Add(pruneEvery-1), take(true)) {
		t.Error("looked through twice in a second")
	}
	if !o.once(shortcutSender{process: 4}, 1, full.Add(pruneEvery), take(true)) || len(o.last) != 1 {
		t.Errorf("%d senders are remembered that nobody asks for", len(o.last))
	}
}

func FuzzParseShortcut(f *testing.F) {
	p := &shortcuts{process: 7}
	s := &shortcutParcel{p: p, index: 9, Shortcut: &session.Shortcut{
		To: session.Place{Queue: 1, Epoch: 2, Conn: 3}, VHost: "/", Key: []byte("q"), Properties: []byte{0, 0},
		Body: []byte("body"), From: 4, Channel: 5, Incarnation: 6, Number: 8,
	}}
	f.Add(s.Append(nil))
	f.Add(s.Append(s.Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, rest, err := parseShortcut(b)
		if err != nil {
			return
		}
		again := (&shortcutParcel{Shortcut: a.m, p: &shortcuts{process: a.sender.process}, index: a.index}).Append(nil)
		if !bytes.Equal(append(again, rest...), b) {
			t.Errorf("% x is read as % x", b, again)
		}
	})
}

// BenchmarkReply measures a publish on one node until it is delivered on the other.
func BenchmarkReply(b *testing.B) {
	nodes := startPair(b)
	for _, kind := range []string{"direct reply-to", "exclusive queue", "through the log"} {
		for i, where := range []string{"same node", "other node"} {
			b.Run(kind+"/"+where, func(b *testing.B) {
				client, err := amqp.Dial("amqp://guest:guest@" + nodes[0].AMQPAddr())
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				server, err := amqp.Dial("amqp://guest:guest@" + nodes[i].AMQPAddr())
				if err != nil {
					b.Fatal(err)
				}
				defer server.Close()
				in, err := client.Channel()
				if err != nil {
					b.Fatal(err)
				}
				out, err := server.Channel()
				if err != nil {
					b.Fatal(err)
				}
				var queue string
				var got <-chan amqp.Delivery
				if kind == "direct reply-to" {
					if got, err = in.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil); err != nil {
						b.Fatal(err)
					}
					var requests <-chan amqp.Delivery
					queue, requests = exclusive(b, in, true)
					publish(b, in, queue, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to"})
					queue = next(b, requests).ReplyTo
				} else {
					queue, got = exclusive(b, in, kind == "exclusive queue")
				}
				for b.Loop() {
					publish(b, out, queue, false, amqp.Publishing{Body: []byte("pong")})
					if d := next(b, got); kind == "through the log" {
						if err := d.Ack(false); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
