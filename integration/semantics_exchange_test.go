package integration

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// exchangeSemantics: exchanges, and how they route.
var exchangeSemantics = []semantic{
	// row: 1.2 predeclared exchanges
	{"predeclared", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(1))
		for name, kind := range map[string]string{
			"amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic",
			"amq.headers": "headers", "amq.match": "headers",
		} {
			if err := ch.ExchangeDeclarePassive(name, kind, true, false, false, false, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := ch.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
				t.Errorf("declare %s as it is: %v", name, err)
			}
		}
	}},
	// row: 1.4 exchange types
	{"direct", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		r.bind("q1", "orange", nil)
		r.bind("q2", "black", nil)
		r.bind("q2", "green", nil)
		r.bind("q3", "black", nil)
		r.want("orange", nil, "q1")
		r.want("black", nil, "q2", "q3")
		r.want("green", nil, "q2")
		r.want("Green", nil)
		r.want("", nil)
	}},
	// row: 1.4 exchange types
	{"fanout", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "fanout")
		r.bind("q1", "any", nil)
		r.bind("q1", "other", nil) // still one copy
		r.bind("q2", "", nil)
		r.want("x", nil, "q1", "q2")
	}},
	// row: 1.4 exchange types
	{"topic", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "topic")
		r.bind("star", "a.*.c", nil)
		r.bind("hash", "a.#", nil)
		r.bind("middle", "a.#.c", nil)
		r.bind("all", "#", nil)
		r.bind("one", "*", nil)
		r.bind("two", "#.*.#.*", nil)
		r.want("a", nil, "hash", "all", "one")
		r.want("a.c", nil, "hash", "middle", "all", "two")
		r.want("a.b.c", nil, "star", "hash", "middle", "all", "two")
		r.want("a..c", nil, "star", "hash", "middle", "all", "two") // an empty word is a word
		r.want("a.b.b.c", nil, "hash", "middle", "all", "two")
		r.want("b", nil, "all", "one")
		r.want("a.*.c", nil, "star", "hash", "middle", "all", "two")
		r.want("", nil, "all")
	}},
	// row: 1.4 exchange types
	{"headers", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "headers")
		r.bind("all", "", amqp.Table{"x-match": "all", "a": "1", "n": int32(2)})
		r.bind("any", "", amqp.Table{"x-match": "any", "a": "1", "n": int32(2)})
		r.bind("default", "", amqp.Table{"a": "1"}) // no x-match means all
		r.bind("withx", "", amqp.Table{"x-match": "all-with-x", "a": "1", "x-b": "2"})
		r.bind("anywithx", "", amqp.Table{"x-match": "any-with-x", "z": "0", "x-b": "2"})
		r.bind("presence", "", amqp.Table{"a": nil}) // any value will do
		r.bind("empty", "", amqp.Table{})
		r.want("", amqp.Table{"a": "1", "n": int32(2)}, "all", "any", "default", "presence", "empty")
		r.want("", amqp.Table{"a": "1"}, "any", "default", "presence", "empty")
		r.want("", amqp.Table{"a": "2"}, "presence", "empty")
		r.want("", amqp.Table{"n": int64(2)}, "any", "empty") // widths of integers are equal
		r.want("", amqp.Table{"n": "2"}, "empty")
		r.want("", amqp.Table{"a": "1", "x-b": "2"}, "any", "default", "withx", "anywithx", "presence", "empty")
		r.want("", amqp.Table{"x-b": "2"}, "anywithx", "empty")
		r.want("", nil, "empty")
	}},
	// row: 1.2 exchange.bind, exchange.unbind
	{"exchange to exchange", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "topic")
		inner := r.exchangeOf("fanout")
		r.queue("direct-hit")
		if err := r.ch.ExchangeBind(inner, "in.#", r.exchange, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := r.ch.QueueBind(r.queue("behind"), "", inner, false, nil); err != nil {
			t.Fatal(err)
		}
		// A circle is safe: a message visits an exchange once.
		if err := r.there.ExchangeBind(r.exchange, "", inner, false, nil); err != nil {
			t.Fatal(err)
		}
		r.bind("direct-hit", "in.a", nil)
		r.bind("behind", "in.a", nil) // two ways, one copy
		r.want("in.a", nil, "behind", "direct-hit")
		r.want("in.b", nil, "behind")
		r.want("out", nil)
		if err := r.ch.ExchangeUnbind(inner, "in.#", r.exchange, false, nil); err != nil {
			t.Fatal(err)
		}
		r.want("in.b", nil)
		r.want("in.a", nil, "behind", "direct-hit")
	}},
	// row: 1.2 auto-delete exchange
	{"auto-delete goes with its last binding", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		q := r.queue("q")
		name := unique(t)
		if err := r.ch.ExchangeDeclare(name, "direct", false, true, false, false, nil); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "b"} {
			if err := r.there.QueueBind(q, key, name, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.there.QueueUnbind(q, "a", name, nil); err != nil {
			t.Fatal(err)
		}
		if err := open(t, c.node(2)).ExchangeDeclarePassive(name, "direct", false, true, false, false, nil); err != nil {
			t.Fatalf("it went before its last binding: %v", err)
		}
		if err := r.there.QueueUnbind(q, "b", name, nil); err != nil {
			t.Fatal(err)
		}
		err := open(t, c.node(2)).ExchangeDeclarePassive(name, "direct", false, true, false, false, nil)
		refusal(t, err, amqp.NotFound, "NOT_FOUND - no exchange '"+name+"' in vhost '/'")
	}},
	// row: 1.2 exchange.delete
	{"delete", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		r.bind("q", "k", nil)
		if err := r.there.ExchangeDelete(r.exchange, false, false); err != nil {
			t.Fatal(err)
		}
		if err := r.ch.ExchangeDelete(r.exchange, false, false); err != nil {
			t.Fatalf("delete an exchange that is gone: %v", err)
		}
		// Its bindings went with it.
		if err := r.ch.ExchangeDeclare(r.exchange, "direct", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		r.want("k", nil)
	}},
	{"a deleted queue takes its bindings along", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "fanout")
		r.bind("q", "", nil)
		if _, err := r.there.QueueDelete(r.queues["q"], false, false, false); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ch.QueueDeclare(r.queues["q"], true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		r.want("", nil)
		if err := r.ch.ExchangeDelete(r.exchange, true, false); err != nil {
			t.Fatalf("delete if unused: %v", err)
		}
	}},
}

// A routing is an exchange with queues, named by what they stand for. Bindings
// are made on one node, messages published on another.
type routing struct {
	t         *testing.T
	c         *cluster
	ch, there *amqp.Channel
	exchange  string
	queues    map[string]string
}

func newRouting(t *testing.T, c *cluster, kind string) *routing {
	t.Helper()
	r := &routing{t: t, c: c, ch: open(t, c.node(0)), there: open(t, c.node(1)), queues: map[string]string{}}
	if err := r.there.Confirm(false); err != nil {
		t.Fatal(err)
	}
	r.exchange = r.exchangeOf(kind)
	return r
}

func (r *routing) exchangeOf(kind string) string {
	r.t.Helper()
	name := unique(r.t)
	if err := r.ch.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
		r.t.Fatalf("declare exchange: %v", err)
	}
	r.t.Cleanup(func() {
		if err := open(r.t, r.c.node(0)).ExchangeDelete(name, false, false); err != nil {
			r.t.Logf("delete exchange: %v", err)
		}
	})
	return name
}

func (r *routing) queue(name string) string {
	r.t.Helper()
	if r.queues[name] == "" {
		r.queues[name] = declare(r.t, r.ch, r.c.node(0), nil)
	}
	return r.queues[name]
}

func (r *routing) bind(queue, key string, args amqp.Table) {
	r.t.Helper()
	if err := r.ch.QueueBind(r.queue(queue), key, r.exchange, false, args); err != nil {
		r.t.Fatalf("bind: %v", err)
	}
}

// want publishes a message and wants one copy in each of the queues, none elsewhere.
func (r *routing) want(key string, headers amqp.Table, queues ...string) {
	r.t.Helper()
	confirmed(r.t, r.there, r.exchange, key, amqp.Publishing{Headers: headers, Body: []byte(key)})
	expected := map[string]int{}
	for _, q := range queues {
		expected[q] = 1
	}
	for name, q := range r.queues {
		n, err := r.ch.QueuePurge(q, false)
		if err != nil {
			r.t.Fatalf("purge: %v", err)
		}
		if n != expected[name] {
			r.t.Errorf("key %q headers %v: %d copies in queue %q, want %d", key, headers, n, name, expected[name])
		}
	}
}
