package integration

import (
	"context"
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// routingSemantics: where messages go beyond the bindings of one exchange.
var routingSemantics = []semantic{
	// row: 1.4 alternate-exchange
	{"alternate exchange", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		last := r.exchangeOf("fanout")
		middle := r.exchangeWith("topic", amqp.Table{"alternate-exchange": last})
		first := r.exchangeWith("direct", amqp.Table{"alternate-exchange": middle})
		r.exchange = first
		r.bind("here", "k", nil)
		for q, x := range map[string]string{"next": middle, "rest": last} {
			if err := r.ch.QueueBind(r.queue(q), "next.#", x, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		r.want("k", nil, "here")
		r.want("next.one", nil, "next")
		r.want("else", nil, "rest")
		// A message counts as routed when the alternate exchange routes it.
		returns := r.there.NotifyReturn(make(chan amqp.Return, 1))
		mandatory(t, r.there, first, "else")
		if n, err := r.ch.QueuePurge(r.queue("rest"), false); n != 1 || err != nil {
			t.Fatalf("%d messages, %v", n, err)
		}
		if err := r.ch.ExchangeDelete(last, false, false); err != nil {
			t.Fatal(err)
		}
		r.want("else", nil) // one that is not there routes nothing
		mandatory(t, r.there, first, "else again")
		if got := receive(t, "return", returns); got.RoutingKey != "else again" {
			t.Errorf("%q came back", got.RoutingKey)
		}
	}},
	{"alternate exchanges in a circle", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		a, b := unique(t), unique(t)
		for x, ae := range map[string]string{a: b, b: a} {
			if err := r.ch.ExchangeDeclare(x, "direct", true, false, false, false, amqp.Table{"alternate-exchange": ae}); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.ch.ExchangeDelete(x, false, false) }()
		}
		if err := r.ch.QueueBind(r.queue("q"), "k", a, false, nil); err != nil {
			t.Fatal(err)
		}
		r.exchange = b
		r.want("k", nil, "q")
		r.want("nobody", nil)
	}},
	{"alternate exchange is part of what is declared", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		name := r.exchangeWith("direct", amqp.Table{"alternate-exchange": "ae", "other": int32(1)})
		again := func(args amqp.Table) error {
			return open(t, c.node(1)).ExchangeDeclare(name, "direct", true, false, false, false, args)
		}
		if err := again(amqp.Table{"alternate-exchange": "ae", "other": int32(2)}); err != nil {
			t.Fatal(err)
		}
		refusal(t, again(nil), amqp.PreconditionFailed, "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange '"+
			name+"' in vhost '/': received none but current is the value 'ae' of type 'longstr'")
	}},
	// row: 1.2 internal exchange
	{"internal exchange", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "fanout")
		name := unique(t)
		if err := r.ch.ExchangeDeclare(name, "fanout", true, false, true, false, nil); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.ch.ExchangeDelete(name, false, false) }()
		if err := r.ch.ExchangeBind(name, "", r.exchange, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := r.ch.QueueBind(r.queue("q"), "", name, false, nil); err != nil {
			t.Fatal(err)
		}
		r.want("", nil, "q")
		ch := open(t, c.node(1))
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		publishTo(t, ch, name, "", amqp.Publishing{})
		refusal(t, receive(t, "channel.close", closed), amqp.AccessRefused,
			"ACCESS_REFUSED - cannot publish to internal exchange '"+name+"' in vhost '/'")
	}},
	// row: 1.3 CC, BCC
	{"CC and BCC", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		r.bind("a", "a", nil)
		r.bind("b", "b", nil)
		r.bind("c", "c", nil)
		keys := func(all ...any) []any { return all }
		r.want("a", amqp.Table{"CC": keys("b", "a"), "BCC": keys("c", int32(1))}, "a", "b", "c")
		r.want("x", amqp.Table{"CC": keys("b")}, "b")
		r.want("x", amqp.Table{"BCC": keys("y")})
		r.exchange = ""
		r.want(r.queue("a"), amqp.Table{"CC": keys(r.queue("b")), "BCC": keys(r.queue("c"), r.queue("a"))}, "a", "b", "c")

		confirmed(t, r.there, "", "x", amqp.Publishing{Body: []byte("m"), AppId: "app", Headers: amqp.Table{
			"CC": keys(r.queue("a")), "BCC": keys(r.queue("b")), "other": "kept",
		}})
		for _, q := range []string{"a", "b"} {
			d := get(t, r.ch, r.queue(q), "m")
			if _, there := d.Headers["BCC"]; there || d.Headers["other"] != "kept" || d.AppId != "app" ||
				fmt.Sprint(d.Headers["CC"]) != fmt.Sprint(keys(r.queue("a"))) || d.RoutingKey != "x" {
				t.Errorf("queue %s: key %q, headers %v", q, d.RoutingKey, d.Headers)
			}
		}
		for name, v := range map[string]any{"CC": "longstr", "BCC": "signedint"} {
			ch := open(t, c.node(0))
			closed := ch.NotifyClose(make(chan *amqp.Error, 1))
			wrong := any("a")
			if name == "BCC" {
				wrong = int32(1)
			}
			publishTo(t, ch, "", "x", amqp.Publishing{Headers: amqp.Table{name: wrong}})
			refusal(t, receive(t, "channel.close", closed), amqp.PreconditionFailed,
				fmt.Sprintf("PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,%q,%s}", name, v))
		}
	}},
	{"CC and BCC in a transaction", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		tx := open(t, c.node(1))
		if err := tx.Tx(); err != nil {
			t.Fatal(err)
		}
		publishTo(t, tx, "", r.queue("a"), amqp.Publishing{Body: []byte("m"), Headers: amqp.Table{"BCC": []any{r.queue("b")}}})
		wantDepth(t, r.ch, r.queue("b"), 0)
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{"a", "b"} {
			if d := get(t, r.ch, r.queue(q), "m"); len(d.Headers) != 0 {
				t.Errorf("headers %v", d.Headers)
			}
		}
	}},
	{"CC and BCC with direct reply-to", func(t *testing.T, c *cluster) {
		queue := declare(t, open(t, c.node(0)), c.node(0), nil)
		caller, log := newCaller(t, c.node(0), queue), open(t, c.node(1))
		publishTo(t, caller.ch, "", queue, amqp.Publishing{ReplyTo: directReplyTo, Body: []byte("ask")})
		eventually(t, "request", func() error {
			if n, _ := depth(t, log, queue); n != 1 {
				return fmt.Errorf("%d requests", n)
			}
			return nil
		})
		name := get(t, log, queue, "ask").ReplyTo
		copied := declare(t, log, c.node(1), nil)
		if err := log.Confirm(false); err != nil {
			t.Fatal(err)
		}
		for i, m := range []struct {
			key     string
			headers amqp.Table
			copies  int
		}{
			{name, amqp.Table{"BCC": []any{copied}}, 1},
			{copied, amqp.Table{"CC": []any{name}, "BCC": []any{"nobody"}}, 1},
			{name, amqp.Table{"CC": []any{}}, 0},
		} {
			body := fmt.Sprint("answer ", i)
			confirmed(t, log, "", m.key, amqp.Publishing{Headers: m.headers, Body: []byte(body)})
			if d := next(t, caller.replies, body); d.Headers["BCC"] != nil {
				t.Errorf("the reply has headers %v", d.Headers)
			}
			if n, err := log.QueuePurge(copied, false); err != nil || n != m.copies {
				t.Errorf("%s: %d copies, want %d, %v", body, n, m.copies, err)
			}
		}
	}},
	// row: 1.4 x-consistent-hash
	{"consistent hash", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "x-consistent-hash")
		r.bind("a", "1", nil)
		r.bind("b", "1", nil)
		r.bind("c", "2", nil)
		const count = 400
		first := spread(t, r, count)
		for q, want := range map[string]int{"a": count / 4, "b": count / 4, "c": count / 2} {
			if n := len(first[q]); n < want/2 || n > want*2 {
				t.Errorf("queue %s got %d of %d messages", q, n, count)
			}
		}
		if again := spread(t, r, count); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Error("the same keys went elsewhere")
		}
		for key, text := range map[string]string{
			"0": "The binding key must be greater than 0", "many": `The binding key must be an integer: <<"many">>`,
		} {
			err := open(t, c.node(1)).QueueBind(r.queue("a"), key, r.exchange, false, nil)
			refusal(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - "+text)
		}
		err := open(t, c.node(1)).ExchangeDeclare(unique(t), "x-consistent-hash", true, false, false, false,
			amqp.Table{"hash-header": "h", "hash-property": "message_id"})
		refusal(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive")
	}},
	// row: 1.4 x-modulus-hash, x-random, x-local-random
	{"random and modulus exchanges", func(t *testing.T, c *cluster) {
		for _, kind := range []string{"x-random", "x-local-random", "x-modulus-hash"} {
			r := newRouting(t, c, kind)
			r.bind("a", "", nil)
			r.bind("b", "", nil)
			got := spread(t, r, 60)
			if len(got["a"]) == 0 || len(got["b"]) == 0 {
				t.Errorf("%s: %d and %d messages", kind, len(got["a"]), len(got["b"]))
			}
		}
	}},
	// row: 1.2 exchange.declare
	{"unknown exchange type", func(t *testing.T, c *cluster) {
		err := open(t, c.node(0)).ExchangeDeclare(unique(t), "x-unheard-of", true, false, false, false, nil)
		refusal(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - unknown exchange type 'x-unheard-of'")
	}},
}

// exchangeWith declares an exchange with arguments.
func (r *routing) exchangeWith(kind string, args amqp.Table) string {
	r.t.Helper()
	name := unique(r.t)
	if err := r.ch.ExchangeDeclare(name, kind, true, false, false, false, args); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := open(r.t, r.c.node(0)).ExchangeDelete(name, false, false); err != nil {
			r.t.Logf("delete exchange: %v", err)
		}
	})
	return name
}

// spread publishes messages with different keys from two nodes, and returns the
// keys that each queue got. Each message must be in exactly one.
func spread(t *testing.T, r *routing, count int) map[string][]string {
	t.Helper()
	ch := open(t, r.c.node(2))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		from := []*amqp.Channel{r.there, ch}[i%2]
		confirmed(t, from, r.exchange, fmt.Sprint("key ", i), amqp.Publishing{})
	}
	got, total := map[string][]string{}, 0
	for name, q := range r.queues {
		for {
			d, ok, err := r.ch.Get(q, true)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got[name] = append(got[name], d.RoutingKey)
		}
		total += len(got[name])
	}
	if total != count {
		t.Fatalf("%d messages of %d arrived", total, count)
	}
	return got
}

// mandatory publishes a message that is to come back if nobody wants it, and waits
// for its confirm.
func mandatory(t *testing.T, ch *amqp.Channel, exchange, key string) {
	t.Helper()
	conf, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), exchange, key, true, false, amqp.Publishing{})
	if err != nil {
		t.Fatal(err)
	}
	if !receiveConfirm(t, conf) {
		t.Fatal("not confirmed")
	}
}
