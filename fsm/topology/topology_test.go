package topology

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"warren/fsm/command"
	"warren/protocol/wire"
)

func declare(name, kind string, edit ...func(*command.ExchangeDeclare)) *command.ExchangeDeclare {
	d := &command.ExchangeDeclare{VHost: "/", Name: name, Type: kind}
	for _, f := range edit {
		f(d)
	}
	return d
}

func autoDelete(d *command.ExchangeDeclare) { d.AutoDelete = true }
func durable(d *command.ExchangeDeclare)    { d.Durable = true }
func internal(d *command.ExchangeDeclare)   { d.Internal = true }
func passive(d *command.ExchangeDeclare)    { d.Passive = true }

func args(fields ...any) func(*command.ExchangeDeclare) {
	return func(d *command.ExchangeDeclare) { d.Args = table(fields...) }
}

func table(fields ...any) wire.Table {
	var t wire.Table
	for i := 0; i < len(fields); i += 2 {
		t = append(t, wire.Field{Name: fields[i].(string), Value: fields[i+1]})
	}
	return t
}

func toQueue(source, queue, key string, fields ...any) *command.Binding {
	return &command.Binding{VHost: "/", Source: source, Destination: queue, Key: key, Args: table(fields...)}
}

func toExchange(source, exchange, key string, fields ...any) *command.Binding {
	b := toQueue(source, exchange, key, fields...)
	b.ToExchange = true
	return b
}

// check fails the test unless err is want, written as "406 text", or "" for none.
func check(t *testing.T, err *command.Error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = fmt.Sprintf("%d %s", err.Code, err.Text)
	}
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func must(t testing.TB, err *command.Error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%d %s", err.Code, err.Text)
	}
}

func route(t testing.TB, top *Topology, exchange, key string, headers ...any) []string {
	t.Helper()
	var properties []byte
	if headers != nil {
		properties = wire.AppendProperties(nil, &wire.Properties{Present: 1 << 13, Headers: table(headers...)})
	}
	got, err := top.Route(nil, &Message{Exchange: []byte(exchange), Key: []byte(key), Properties: properties})
	must(t, err)
	return got
}

func checkRoute(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("routed to %q, want %q", got, want)
	}
}

func withQueues(names ...string) *Topology {
	top := New("/")
	for _, name := range names {
		top.DeclareQueue(name)
	}
	return top
}

func TestPredeclared(t *testing.T) {
	want := []Exchange{
		{Name: "", Type: "direct", Durable: true},
		{Name: "amq.direct", Type: "direct", Durable: true},
		{Name: "amq.fanout", Type: "fanout", Durable: true},
		{Name: "amq.headers", Type: "headers", Durable: true},
		{Name: "amq.match", Type: "headers", Durable: true},
		{Name: "amq.rabbitmq.trace", Type: "topic", Durable: true, Internal: true},
		{Name: "amq.topic", Type: "topic", Durable: true},
	}
	if got := New("/").Exchanges(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestDeclareRefusals(t *testing.T) {
	top := New("/")
	must(t, top.Declare(declare("x", "direct")))
	must(t, top.Declare(declare("ae", "direct", durable, args("alternate-exchange", "a"))))
	for _, c := range []struct {
		d    *command.ExchangeDeclare
		want string
	}{
		{declare("x", "direct"), ""},
		{declare("x", "direct", args("other", int32(1))), ""},
		{declare("x\r\n", "direct"), ""},
		{declare("x", "nonsense", passive), ""},
		{declare("amq.direct", "direct", durable), ""},
		{declare("y", "nonsense"), "406 unknown exchange type 'nonsense'"},
		{declare("x", "fanout"), "406 inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"},
		{declare("x", "direct", durable), "406 inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{declare("x", "direct", autoDelete), "406 inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{declare("x", "direct", internal), "406 inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{declare("x", "direct", args("alternate-exchange", "b")), "406 inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received the value 'b' of type 'longstr' but current is none"},
		{declare("ae", "direct", durable), "406 inequivalent arg 'alternate-exchange' for exchange 'ae' in vhost '/': received none but current is the value 'a' of type 'longstr'"},
		{declare("ae", "direct", durable, args("alternate-exchange", "b")), "406 inequivalent arg 'alternate-exchange' for exchange 'ae' in vhost '/': received 'b' but current is 'a'"},
		{declare("y", "direct", args("alternate-exchange", int32(4))), "406 invalid type 'signedint' for arg 'alternate-exchange' in exchange 'y' in vhost '/'"},
		{declare("amq.x", "direct"), "403 exchange name 'amq.x' contains reserved prefix 'amq.*'"},
		{declare("", "direct"), "403 operation not permitted on the default exchange"},
		{declare("", "", passive), "403 operation not permitted on the default exchange"},
		{declare("y", "", passive), "404 no exchange 'y' in vhost '/'"},
	} {
		check(t, top.Declare(c.d), c.want)
	}
	if _, ok := top.Exchange("y"); ok {
		t.Error("a refused declare left an exchange")
	}
}

func TestDelete(t *testing.T) {
	top := withQueues("q")
	must(t, top.Declare(declare("x", "direct")))
	must(t, top.Declare(declare("y", "direct")))
	must(t, top.Bind(toQueue("x", "q", "k")))
	must(t, top.Bind(toExchange("y", "x", "k")))
	check(t, top.Delete("", false), "403 operation not permitted on the default exchange")
	check(t, top.Delete("amq.direct", false), "403 deletion of system exchange 'amq.direct' in vhost '/' not allowed")
	check(t, top.Delete("nothing", true), "")
	check(t, top.Delete("x", true), "406 exchange 'x' in vhost '/' in use")
	check(t, top.Delete("x", false), "")
	check(t, top.Delete("y", true), "") // its binding to x went with x
	if got := top.Bindings(); len(got) != 1 || got[0].Destination != "q" {
		t.Errorf("bindings left: %+v", got)
	}
}

func TestBindRefusals(t *testing.T) {
	top := withQueues("q")
	must(t, top.Declare(declare("x", "direct")))
	for _, c := range []struct {
		b    *command.Binding
		want string
	}{
		{toQueue("", "q", "k"), "403 operation not permitted on the default exchange"},
		{toExchange("x", "", "k"), "403 operation not permitted on the default exchange"},
		{toExchange("", "x", "k"), "403 operation not permitted on the default exchange"},
		{toQueue("y", "q", "k"), "404 no exchange 'y' in vhost '/'"},
		{toExchange("x", "y", "k"), "404 no exchange 'y' in vhost '/'"},
		{toQueue("x", "p", "k"), "404 no queue 'p' in vhost '/'"},
		{toQueue("amq.headers", "q", "", "x-match", "some"), `406 Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x`},
		{toQueue("amq.headers", "q", "", "x-match", int32(1)), "406 Invalid x-match field type signedint (value 1); expected longstr"},
	} {
		check(t, top.Bind(c.b), c.want)
	}
	check(t, top.Unbind(toQueue("", "q", "k")), "403 operation not permitted on the default exchange")
	check(t, top.Unbind(toQueue("y", "p", "k")), "")
}

func TestBindTwiceIsOneBinding(t *testing.T) {
	top := withQueues("q")
	must(t, top.Bind(toQueue("amq.direct", "q", "k", "b", "2", "a", "1")))
	must(t, top.Bind(toQueue("amq.direct", "q", "k", "a", "1", "b", "2")))
	want := []Binding{
		{Destination: "q", Key: "q"},
		{Source: "amq.direct", Destination: "q", Key: "k", Args: table("a", "1", "b", "2")},
	}
	if got := top.Bindings(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	must(t, top.Unbind(toQueue("amq.direct", "q", "k", "b", "2", "a", "1")))
	checkRoute(t, route(t, top, "amq.direct", "k"))
}

func TestBindingsSorted(t *testing.T) {
	top := withQueues("b", "a")
	must(t, top.Bind(toExchange("amq.topic", "amq.direct", "k")))
	must(t, top.Bind(toQueue("amq.topic", "b", "k")))
	must(t, top.Bind(toQueue("amq.topic", "a", "l")))
	must(t, top.Bind(toQueue("amq.topic", "a", "k")))
	must(t, top.Bind(toQueue("amq.direct", "a", "k")))
	var got []string
	for _, b := range top.Bindings() {
		got = append(got, fmt.Sprintf("%s>%s %s", b.Source, b.Destination, b.Key))
	}
	want := []string{">a a", ">b b", "amq.direct>a k", "amq.topic>a k", "amq.topic>a l", "amq.topic>b k", "amq.topic>amq.direct k"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if x, b := top.Count(); x != len(predeclared) || b != len(want) {
		t.Errorf("counted %d exchanges, %d bindings", x, b)
	}
}

func TestAutoDelete(t *testing.T) {
	top := withQueues("q")
	for _, name := range []string{"a", "b", "c"} {
		must(t, top.Declare(declare(name, "fanout", autoDelete)))
	}
	must(t, top.Declare(declare("never-bound", "fanout", autoDelete)))
	must(t, top.Bind(toExchange("a", "b", "")))
	must(t, top.Bind(toExchange("b", "c", "")))
	must(t, top.Bind(toExchange("c", "a", ""))) // a cycle
	must(t, top.Bind(toQueue("c", "q", "")))
	top.RemoveQueue("q")
	if _, ok := top.Exchange("c"); !ok {
		t.Fatal("c went while it had a binding")
	}
	must(t, top.Unbind(toExchange("c", "a", "")))
	for _, name := range []string{"a", "b", "c"} {
		if _, ok := top.Exchange(name); ok {
			t.Errorf("%s outlived its last binding", name)
		}
	}
	if _, ok := top.Exchange("never-bound"); !ok {
		t.Error("an auto-delete exchange that was never bound went")
	}
	if got := top.Bindings(); len(got) != 0 {
		t.Errorf("bindings left: %+v", got)
	}
}

func TestAutoDeleteLongChain(t *testing.T) {
	top := withQueues("q")
	const n = 100_000
	for i := range n {
		must(t, top.Declare(declare(fmt.Sprint("x", i), "fanout", autoDelete)))
	}
	for i := range n - 1 {
		must(t, top.Bind(toExchange(fmt.Sprint("x", i), fmt.Sprint("x", i+1), "")))
	}
	must(t, top.Bind(toQueue(fmt.Sprint("x", n-1), "q", "")))
	checkRoute(t, route(t, top, "x0", ""), "q")
	top.RemoveQueue("q")
	if got := len(top.Exchanges()); got != len(predeclared) {
		t.Errorf("%d exchanges left", got)
	}
}

func TestRemoveTransient(t *testing.T) {
	top := withQueues("q")
	must(t, top.Declare(declare("kept", "direct", durable)))
	must(t, top.Declare(declare("transient", "direct")))
	must(t, top.Bind(toQueue("kept", "q", "k")))
	must(t, top.Bind(toQueue("transient", "q", "k")))
	must(t, top.Bind(toExchange("kept", "transient", "k")))
	top.RemoveTransient()
	if _, ok := top.Exchange("transient"); ok {
		t.Error("transient exchange left")
	}
	want := []Binding{{Destination: "q", Key: "q"}, {Source: "kept", Destination: "q", Key: "k"}}
	if got := top.Bindings(); !reflect.DeepEqual(got, want) {
		t.Errorf("bindings %+v", got)
	}
}
