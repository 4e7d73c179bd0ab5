package node

import (
	"fmt"
	"strings"
	"testing"

	"warren/fsm/command"
	"warren/node/session"
	"warren/protocol/wire"
)

// TestEmitterBound counts what events of long names take while nobody emits.
func TestEmitterBound(t *testing.T) {
	m := newEmitter(nil)
	name := strings.Repeat("n", 100<<10)
	for range emitMost {
		m.event(session.Event{Key: "connection.created", Headers: wire.Table{{Name: "user_provided_name", Value: name}}})
	}
	all, dropped := m.take()
	if kept := len(all) * len(name); kept > emitBytes || dropped == 0 {
		t.Errorf("%d events of %d bytes wait, %d were dropped", len(all), len(name), dropped)
	}
}

// TestCopyFitsInFrame keeps the header of a copy so small that a client takes it, whatever the message.
func TestCopyFitsInFrame(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
	must := func(cmd command.Command) {
		t.Helper()
		if r, err := (broker{n}).Propose(t.Context(), cmd); err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
	}
	must(&command.QueueDeclare{VHost: "/", Name: "copies", Durable: true})
	must(&command.Bind{Binding: command.Binding{VHost: "/", Source: traceExchange, Destination: "copies", Key: "#"}})
	must(&command.ExchangeDeclare{VHost: "/", Name: "all", Type: "fanout", Durable: true})
	for i := range 600 {
		q := fmt.Sprintf("%0250d", i)
		must(&command.QueueDeclare{VHost: "/", Name: q, Durable: true})
		must(&command.Bind{Binding: command.Binding{VHost: "/", Source: "all", Destination: q}})
	}
	var keys wire.Array
	for range 400 {
		keys = append(keys, strings.Repeat("k", 250))
	}
	properties := wire.Properties{Present: wire.FlagHeaders, Headers: wire.Table{{Name: "CC", Value: keys}}}
	cmds := n.emitter.copyOf(&session.Tapped{VHost: "/", Exchange: "all", Key: "key", Properties: wire.AppendProperties(nil, &properties)})
	if len(cmds) != 1 {
		t.Fatalf("%d copies", len(cmds))
	}
	emit := cmds[0].(*command.Emit)
	const frame, head = session.DefaultFrameMax, 20
	if len(emit.Properties)+head > frame {
		t.Errorf("the header of a copy takes %d bytes", len(emit.Properties))
	}
	p, err := wire.ParseProperties(emit.Properties)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"routing_keys", "routed_queues"} {
		if list, ok := p.Headers.Get(name); !ok || len(list.(wire.Array)) < 100 {
			t.Errorf("%s: %v", name, list)
		}
	}
}
