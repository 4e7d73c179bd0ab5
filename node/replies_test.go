package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"warren/node/session"
)

// testReplies are those of a node without a cluster. Its one peer is called by call.
func testReplies(t *testing.T, peer uuid.UUID, call func(ctx context.Context, payload []byte) ([]byte, error)) *replies {
	ctx, cancel := context.WithCancel(context.Background())
	p := &replies{node: uuid.New(), session: func(uint64) (*session.Session, bool) { return nil, false }}
	p.out = &outbox{
		method: callReplies, ctx: ctx, cancel: cancel,
		log:    slog.New(slog.DiscardHandler),
		member: func(id string) bool { return id == peer.String() },
		call: func(ctx context.Context, node, method string, payload []byte) ([]byte, error) {
			if node != peer.String() || method != callReplies {
				t.Errorf("call of %s on %s", method, node)
			}
			return call(ctx, payload)
		},
		links: make(map[uuid.UUID]*outboxLink),
	}
	t.Cleanup(p.close)
	return p
}

// sink notes outcomes in their order.
type sink chan string

func (s sink) reply(to uuid.UUID, body string) *session.Reply {
	a := session.Address{Node: to, Conn: 1, Channel: 1}
	return &session.Reply{
		To: a, VHost: "/", Name: []byte(a.Name()), Properties: []byte{0, 0}, Body: []byte(body),
		Answer: func(r *session.Reply, delivered bool) {
			s <- fmt.Sprintf("%.20s %v", r.Body, delivered)
		},
	}
}

func (s sink) want(t *testing.T, outcomes ...string) {
	t.Helper()
	for _, want := range outcomes {
		select {
		case got := <-s:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("no outcome, want %q", want)
		}
	}
}

func parseAll(t *testing.T, payload []byte) (bodies []string) {
	t.Helper()
	for len(payload) > 0 {
		r, rest, err := parseReply(payload)
		if err != nil {
			t.Fatal(err)
		}
		payload = rest
		bodies = append(bodies, string(r.Body))
	}
	return bodies
}

// What comes while a call is under way goes with the next, in order.
func TestRepliesAreGathered(t *testing.T) {
	peer, done := uuid.New(), make(sink, 100)
	calls, answer := make(chan []string), make(chan []byte)
	p := testReplies(t, peer, func(_ context.Context, payload []byte) ([]byte, error) {
		calls <- parseAll(t, payload)
		return <-answer, nil
	})
	send := func(body string) {
		t.Helper()
		if o := p.Send(done.reply(peer, body)); o != session.Pending {
			t.Fatalf("outcome %d", o)
		}
	}
	send("a")
	if got := <-calls; !slices.Equal(got, []string{"a"}) {
		t.Fatalf("%q", got)
	}
	send("b")
	send("c")
	send("d")
	answer <- []byte{1}
	done.want(t, "a true")
	if got := <-calls; !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Fatalf("%q", got)
	}
	answer <- []byte{1, 0, 1}
	done.want(t, "b true", "c false", "d true")
	send("e") // the goroutine had ended
	<-calls
	answer <- []byte{1, 1} // too many
	done.want(t, "e false")
}

func TestRepliesAreBounded(t *testing.T) {
	peer, done := uuid.New(), make(sink, 100)
	called, free := make(chan struct{}), make(chan struct{})
	p := testReplies(t, peer, func(ctx context.Context, payload []byte) ([]byte, error) {
		called <- struct{}{}
		<-free
		return bytes.Repeat([]byte{1}, len(parseAll(t, payload))), nil
	})
	large := string(make([]byte, outboxBytes/2))
	p.Send(done.reply(peer, "first"))
	<-called
	sent := 0
	for p.Send(done.reply(peer, large)) == session.Pending {
		sent++
	}
	if sent != 1 { // with what they cost, two are more than the bound
		t.Errorf("%d replies of half the bound were taken", sent)
	}
	if o := p.Send(done.reply(peer, "small")); o != session.Pending {
		t.Errorf("outcome %d", o)
	}
	close(free)
	<-called // the large one goes alone
	<-called
	done.want(t, "first true", large[:20]+" true", "small true")
}

// A node that cannot be called loses what waits for it, and is tried again.
func TestRepliesToNodeThatFails(t *testing.T) {
	peer, done := uuid.New(), make(sink, 100)
	called, fail := make(chan struct{}), make(chan error)
	p := testReplies(t, peer, func(_ context.Context, payload []byte) ([]byte, error) {
		called <- struct{}{}
		return bytes.Repeat([]byte{1}, len(parseAll(t, payload))), <-fail
	})
	p.Send(done.reply(peer, "a"))
	<-called
	p.Send(done.reply(peer, "b"))
	p.Send(done.reply(peer, "c"))
	fail <- errors.New("broken")
	done.want(t, "a false", "b false", "c false")
	p.Send(done.reply(peer, "d"))
	<-called
	fail <- nil
	done.want(t, "d true")
	// It leaves the cluster.
	p.out.member = func(string) bool { return false }
	p.Send(done.reply(peer, "e"))
	<-called
	fail <- errors.New("broken")
	done.want(t, "e false")
	for deadline := time.Now().Add(time.Minute); p.Send(done.reply(peer, "f")) != session.Gone; {
		<-called
		fail <- errors.New("broken")
		if time.Now().After(deadline) {
			t.Fatal("the link to a node that left is kept")
		}
	}
}

func TestRepliesToNobody(t *testing.T) {
	peer, done := uuid.New(), make(sink, 100)
	p := testReplies(t, peer, func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	for _, to := range []uuid.UUID{uuid.New(), {}, p.node} {
		if o := p.Send(done.reply(to, "m")); o != session.Gone {
			t.Errorf("outcome %d", o)
		}
	}
	if o := p.Send(done.reply(peer, string(make([]byte, outboxMax)))); o != session.Gone {
		t.Errorf("outcome %d of one that is too large", o)
	}
	delete(p.out.links, peer)
	if len(p.out.links) > 0 {
		t.Error("a name that was made up left a link")
	}
	p.Send(done.reply(peer, "under way"))
	p.close()
	done.want(t, "under way false")
	if o := p.Send(done.reply(peer, "m")); o != session.Gone {
		t.Errorf("after close: %d", o)
	}
}

func TestAnswerReplies(t *testing.T) {
	p := testReplies(t, uuid.New(), nil)
	elsewhere, here := sink(nil).reply(uuid.New(), "a"), sink(nil).reply(p.node, "b")
	payload := replyParcel{here}.Append(replyParcel{elsewhere}.Append(nil))
	if got, err := p.answer(context.Background(), "", payload); err != nil || !bytes.Equal(got, []byte{0, 0}) {
		t.Errorf("%v, %v", got, err)
	}
	for cut := 1; cut < len(payload); cut++ {
		if _, err := p.answer(context.Background(), "", payload[:len(payload)-cut]); err == nil && cut != len(replyParcel{here}.Append(nil)) {
			t.Errorf("%d bytes are missing, and nobody noticed", cut)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	r := sink(nil).reply(uuid.New(), "body")
	f.Add(replyParcel{r}.Append(nil))
	r.Probe = true
	f.Add(replyParcel{r}.Append(replyParcel{r}.Append(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, err := parseReply(b)
		if err != nil {
			return
		}
		again := replyParcel{r}.Append(nil)
		if !bytes.Equal(append(again, rest...), b) {
			t.Errorf("% x is read as % x", b, again)
		}
	})
}

// startPair starts two nodes that form a cluster.
func startPair(t testing.TB) [2]*Node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var nodes [2]*Node
	for i := range nodes {
		cfg := testConfig(t.TempDir())
		cfg.NodeName, cfg.Join, cfg.Expect = fmt.Sprintf("n%d", i+1), []string{first}, len(nodes)
		if i == 0 {
			cfg.ClusterAddr = first
		}
		if nodes[i], err = Open(cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stop(t, nodes[i]) })
	}
	for _, n := range nodes {
		select {
		case <-n.Ready():
		case <-time.After(time.Minute):
			t.Fatal("not ready")
		}
	}
	return nodes
}

func publish(t testing.TB, ch *amqp.Channel, key string, mandatory bool, m amqp.Publishing) {
	t.Helper()
	if err := ch.PublishWithContext(context.Background(), "", key, mandatory, false, m); err != nil {
		t.Fatal(err)
	}
}

func next[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatal("closed")
		}
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

func TestRepliesAcrossNodes(t *testing.T) {
	nodes := startPair(t)
	clientConn, client := dial(t, nodes[0])
	serverConn, server := dial(t, nodes[1])
	defer func() { _ = serverConn.Close() }()
	replies, err := client.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := server.QueueDeclare("requests", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	requests, err := server.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, client, q.Name, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "7"})
	to := next(t, requests).ReplyTo
	if found, err := server.QueueDeclarePassive(to, false, false, false, false, nil); err != nil || found.Consumers != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	if err := server.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirms, returns := server.NotifyPublish(make(chan amqp.Confirmation, 5000)), server.NotifyReturn(make(chan amqp.Return, 10))
	const count = 2000
	for i := range count {
		publish(t, server, to, true, amqp.Publishing{CorrelationId: fmt.Sprint(i)})
	}
	publish(t, server, to, true, amqp.Publishing{Body: make([]byte, 5<<20)})
	for i := range count {
		if d := next(t, replies); d.CorrelationId != fmt.Sprint(i) || d.Redelivered || d.Exchange != "" || d.RoutingKey != to {
			t.Fatalf("reply %d: %+v", i, d)
		}
	}
	if d := next(t, replies); len(d.Body) != 5<<20 {
		t.Errorf("%d bytes came", len(d.Body))
	}
	for range count + 1 {
		next(t, confirms)
	}
	if err := clientConn.Close(); err != nil {
		t.Error(err)
	}
	publish(t, server, to, true, amqp.Publishing{CorrelationId: "late"})
	if r := next(t, returns); r.CorrelationId != "late" || r.RoutingKey != to || r.ReplyCode != 312 {
		t.Errorf("%+v", r)
	}
	next(t, confirms)
	var refused *amqp.Error
	if _, err := server.QueueDeclarePassive(to, false, false, false, false, nil); !errors.As(err, &refused) || refused.Code != 404 {
		t.Errorf("%v", err)
	}
}
