package fsmtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// A Generator makes random log entries: all kinds of command, from several nodes,
// on few names, so that they meet. Some entries are repeats, leave a gap, or come from an
// epoch that is gone. Equal seeds give equal entries, as long as Saw is told equal outputs.
type Generator struct {
	r         *rand.Rand
	stamp     int64
	epochs    map[string]uint64 // by node, also when they are over
	sequences map[uint64]uint64 // last one applied, by epoch
	bodies    int
	started   bool
}

// NewGenerator returns a generator for a seed.
func NewGenerator(seed uint64) *Generator {
	return &Generator{
		r: rand.New(rand.NewPCG(seed, 0)), epochs: make(map[string]uint64), sequences: make(map[uint64]uint64),
	}
}

// Saw tells the generator what became of its last entry.
func (g *Generator) Saw(out *fsm.Output) {
	if out.Verdict == fsm.Applied {
		g.sequences[out.Header.Epoch] = out.Header.Sequence
	}
	for i := range out.Effects {
		if e := &out.Effects[i]; e.Kind == command.EffectEpochOpened {
			g.epochs[e.Node] = e.To.Epoch
		}
	}
}

func (g *Generator) chance(percent int) bool { return g.r.IntN(100) < percent }

func (g *Generator) pick(all ...string) string { return all[g.r.IntN(len(all))] }

func (g *Generator) node() string  { return g.pick("n1", "n2", "n3") }
func (g *Generator) queue() string { return g.pick("a", "b", "c", "d", "amq.gen-x", "") }
func (g *Generator) exchange() string {
	return g.pick("", "", "", "x", "y", "z", "amq.fanout", "amq.topic", "amq.headers")
}
func (g *Generator) key() string { return g.pick("1", "30", "a", "b", "c", "d", "a.b", "#", "*.b", "") }
func (g *Generator) tag() string { return g.pick("s", "t", "u") }

func (g *Generator) vhost() string {
	switch n := g.r.IntN(100); {
	case n < 2:
		return "elsewhere"
	case n < 15:
		return "v"
	default:
		return "/"
	}
}

func (g *Generator) conn() uint64 { return uint64(g.r.IntN(3) + 1) }

func (g *Generator) channel() command.Channel {
	return command.Channel{Conn: g.conn(), Number: uint16(g.r.IntN(2) + 1)}
}

// Next returns the next entry.
func (g *Generator) Next() []byte {
	node := g.node()
	epoch := g.epochs[node]
	g.stamp += int64(g.r.IntN(5)) - 1
	if g.chance(3) {
		g.stamp += int64(g.r.IntN(120)) // deliveries count as lent at multiples of 100 ms
	}
	if !g.started && g.chance(90) {
		g.started = true
		return g.finish(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version})
	}
	if epoch == 0 || g.chance(3) {
		return g.finish(command.NewBatch(nil, 0, 0), g.outside(node))
	}
	sequence := g.sequences[epoch] + 1
	switch g.r.IntN(60) {
	case 0:
		sequence--
	case 1:
		sequence++
	case 2:
		epoch = uint64(g.r.IntN(40))
	}
	var commands []command.Command
	for range 1 + g.r.IntN(6) {
		commands = append(commands, g.command())
	}
	return g.finish(command.NewBatch(nil, epoch, sequence), commands...)
}

func (g *Generator) finish(batch []byte, commands ...command.Command) []byte {
	command.Stamp(batch, g.stamp, g.epochs[g.node()])
	for _, c := range commands {
		batch = command.AppendToBatch(batch, c)
	}
	return batch
}

// outside makes a command that travels in no epoch, now and then one that may not.
func (g *Generator) outside(node string) command.Command {
	switch g.r.IntN(9) {
	case 8:
		return &command.Upgrade{Version: uint64(g.r.IntN(fsm.Version + 1))}
	case 0:
		return &command.EpochRemove{Epoch: g.epochs[g.node()]}
	case 1:
		return &command.Tick{}
	case 2:
		return g.command()
	default:
		return &command.EpochOpen{Node: node, Name: "name of " + node, Nonce: uint64(g.r.IntN(4))}
	}
}

// command makes a command of any kind; publishes and settles are the most frequent.
func (g *Generator) command() command.Command {
	switch n := g.r.IntN(100); {
	case n < 35:
		return g.publish()
	case n < 55:
		return g.settle()
	case n < 64:
		return g.consume()
	case n < 70:
		return g.declare()
	default:
		return g.rare()
	}
}

func (g *Generator) publish() *command.Publish {
	g.bodies++
	return &command.Publish{
		VHost: []byte(g.vhost()), Exchange: []byte(g.exchange()), Key: []byte(g.key()),
		Mandatory: g.chance(30), Keyed: g.chance(20), Properties: g.properties(),
		Body: fmt.Appendf(nil, "%d%s", g.bodies, make([]byte, g.r.IntN(3))),
	}
}

// properties makes a property list, now and then with a header, or broken: a
// session lets none such through, but the machine must bear it.
func (g *Generator) properties() []byte {
	if g.chance(60) {
		return []byte{0, 0}
	}
	p := wire.Properties{Expiration: fmt.Sprint(g.r.IntN(30))}
	if g.chance(40) {
		p.Present = wire.FlagHeaders
		p.Headers = wire.Table{
			{Name: "h", Value: int32(g.r.IntN(2))},
			{Name: g.pick("CC", "BCC", "other"), Value: wire.Array{g.key(), int32(1), g.key()}},
		}
	}
	if g.chance(40) {
		p.Present |= wire.FlagExpiration
	}
	if g.chance(50) {
		p.Present |= wire.FlagPriority
		p.Priority = uint8(g.r.IntN(5))
	}
	if g.chance(20) {
		p.Present |= wire.FlagHeaders
		p.Headers = append(p.Headers, wire.Field{Name: "x-delay", Value: int32(g.r.IntN(60)) - 3})
	}
	if g.chance(40) {
		p.Present |= wire.FlagHeaders
		p.Headers = append(p.Headers, wire.Field{Name: "x-deduplication-header", Value: int32(g.r.IntN(4))})
		if g.chance(30) {
			p.Headers = append(p.Headers, wire.Field{Name: "x-cache-ttl", Value: g.cacheTTL()})
		}
	}
	if g.chance(5) {
		p.Present |= wire.FlagHeaders
		p.Headers = append(p.Headers, wire.Field{Name: "x-recent-history-no-store", Value: g.chance(80)})
	}
	b := wire.AppendProperties(nil, &p)
	if g.chance(20) {
		b = b[:g.r.IntN(len(b))]
	}
	return b
}

// cacheTTL makes a time that a value is to be remembered, now and then one as long as it gets.
func (g *Generator) cacheTTL() int64 {
	if g.chance(20) {
		return [...]int64{1 << 62, math.MaxInt64}[g.r.IntN(2)]
	}
	return int64(g.r.IntN(20))
}

func (g *Generator) settle() *command.Settle {
	from := uint64(g.r.IntN(20))
	to := from + uint64(g.r.IntN(6))
	if g.chance(5) {
		from, to = 0, ^uint64(0)
	}
	return &command.Settle{Channel: g.channel(), From: from, To: to, Outcome: command.Outcome(g.r.IntN(4))}
}

func (g *Generator) consume() *command.Consume {
	c := &command.Consume{
		VHost: g.vhost(), Channel: g.channel(), Queue: g.queue(), Tag: g.tag(), NoAck: g.chance(20),
		Exclusive: g.chance(10), Prefetch: uint32(g.r.IntN(4)), Limit: uint64(g.r.IntN(12)),
	}
	if g.chance(30) {
		c.Args = wire.Table{{Name: "x-priority", Value: int32(g.r.IntN(3))}}
	}
	if g.chance(30) {
		c.Args = append(c.Args, wire.Field{Name: "x-consumer-timeout", Value: int32(g.r.IntN(80) - 1)})
	}
	return c
}

func (g *Generator) declare() *command.QueueDeclare {
	d := &command.QueueDeclare{
		VHost: g.vhost(), Conn: g.conn(), Name: g.queue(), Passive: g.chance(10), Durable: g.chance(70),
		Exclusive: g.chance(15), AutoDelete: g.chance(15), Generated: g.chance(50),
	}
	d.Args = g.queueArguments()
	if g.chance(40) {
		d.Args = append(d.Args, wire.Field{Name: "x-max-priority", Value: int32(g.r.IntN(4))})
	}
	if g.chance(30) {
		d.Args = append(d.Args, wire.Field{Name: "x-single-active-consumer", Value: g.chance(80)})
	}
	if g.chance(30) {
		d.Args = append(d.Args, wire.Field{Name: "x-message-deduplication", Value: true})
		if g.chance(40) {
			d.Args = append(d.Args, g.cache()...)
		}
	}
	return d
}

// queueArguments makes arguments of a queue, now and then some that are refused.
func (g *Generator) queueArguments() (args wire.Table) {
	add := func(percent int, name string, value any) {
		if g.chance(percent) {
			args = append(args, wire.Field{Name: name, Value: value})
		}
	}
	add(20, "x-message-ttl", int32(g.r.IntN(20)-1))
	add(10, "x-expires", int64(g.r.IntN(60)))
	add(30, "x-dead-letter-exchange", g.exchange())
	add(15, "x-dead-letter-routing-key", g.key())
	add(20, "x-max-length", int32(g.r.IntN(6)))
	add(10, "x-max-length-bytes", int32(g.r.IntN(20)))
	add(30, "x-delivery-limit", int32(g.r.IntN(4)-1))
	add(20, "x-consumer-timeout", int32(g.r.IntN(100)-1))
	add(50, "x-delayed-retry-type", g.pick("disabled", "all", "all", "failed", "returned", "odd"))
	add(70, "x-delayed-retry-min", int32(g.r.IntN(60)-1))
	add(30, "x-delayed-retry-max", int32(g.r.IntN(90)))
	add(20, "x-queue-type", g.pick("quorum", "classic"))
	add(20, "x-overflow", g.pick("drop-head", "reject-publish", "reject-publish-dlx"))
	return args
}

func (g *Generator) binding() command.Binding {
	b := command.Binding{
		VHost: g.vhost(), Conn: g.conn(), Source: g.exchange(), Destination: g.queue(), Key: g.key(), ToExchange: g.chance(20),
	}
	if b.ToExchange {
		b.Destination = g.exchange()
	}
	if g.chance(30) {
		b.Args = wire.Table{
			{Name: "x-match", Value: g.pick("all", "any", "odd")}, {Name: "h", Value: int32(g.r.IntN(2))},
		}
	}
	return b
}

func (g *Generator) exchangeArgs() wire.Table {
	switch g.r.IntN(4) {
	case 0:
		return wire.Table{{Name: "alternate-exchange", Value: g.exchange()}}
	case 1:
		return wire.Table{{Name: "hash-header", Value: g.pick("h", "CC", "x")}}
	}
	return nil
}

// policy makes a policy, or removes one.
func (g *Generator) policy() command.Command {
	name, operator := g.pick("p", "q", "r"), g.chance(30)
	if g.chance(40) {
		return &command.PolicyClear{VHost: g.vhost(), Name: name, Operator: operator}
	}
	p := &command.PolicyPut{
		VHost: g.vhost(), Name: name, Operator: operator, Priority: int64(g.r.IntN(3)) - 1,
		Pattern: g.pick("", "^[ab]", "x|c", "^(?!a).*", "amq", "("),
		ApplyTo: g.pick("", "all", "queues", "exchanges", "classic_queues", "quorum_queues", "odd"),
	}
	for _, f := range (wire.Table{
		{Name: "alternate-exchange", Value: g.exchange()},
		{Name: "consumer-timeout", Value: int64(g.r.IntN(60))},
		{Name: "dead-letter-exchange", Value: g.exchange()},
		{Name: "delayed-retry-min", Value: int64(g.r.IntN(60))},
		{Name: "delayed-retry-type", Value: g.pick("disabled", "all", "failed", "returned")},
		{Name: "max-length", Value: int64(g.r.IntN(5)) - 1},
		{Name: "message-ttl", Value: int64(g.r.IntN(20))},
		{Name: "overflow", Value: g.pick("drop-head", "reject-publish", "reject-publish-dlx")},
		{Name: "unheard-of", Value: true},
	}) {
		if g.chance(25) && (f.Name != "unheard-of" || g.chance(20)) {
			p.Definition = append(p.Definition, f)
		}
	}
	return p
}

// cache makes arguments for what is remembered of messages.
func (g *Generator) cache() wire.Table {
	args := wire.Table{{Name: "x-cache-size", Value: int32(g.r.IntN(5))}}
	if g.chance(50) {
		args = append(args, wire.Field{Name: "x-cache-ttl", Value: int32(g.r.IntN(20))})
	}
	return args
}

func (g *Generator) declareExchange() *command.ExchangeDeclare {
	d := &command.ExchangeDeclare{
		VHost: g.vhost(), Name: g.exchange(), Type: g.pick(topology.Types()...),
		Passive: g.chance(10), Durable: g.chance(50), AutoDelete: g.chance(20), Internal: g.chance(10),
		Args: g.exchangeArgs(),
	}
	if d.Type == "x-message-deduplication" || g.chance(10) {
		d.Args = append(append(d.Args, g.cache()...), wire.Field{Name: "x-message-deduplication", Value: g.chance(50)})
	}
	if d.Type == topology.RecentHistory && g.chance(80) {
		d.Args = append(d.Args, wire.Field{Name: "x-recent-history-length", Value: int32(g.r.IntN(6)) - 1})
	}
	if d.Type == "x-delayed-message" {
		d.Args = append(d.Args, wire.Field{Name: "x-delayed-type", Value: g.pick("direct", "topic", "headers", "fanout", "odd")})
	}
	return d
}

func (g *Generator) rare() command.Command {
	if g.chance(6) {
		return g.policy()
	}
	if g.chance(10) {
		return g.aboutVHosts()
	}
	if g.chance(3) {
		return g.parameter()
	}
	if g.chance(8) {
		return g.move()
	}
	if g.chance(8) {
		return g.event()
	}
	switch g.r.IntN(28) {
	case 0, 1, 2:
		return g.declareExchange()
	case 3:
		return &command.ExchangeDelete{VHost: g.vhost(), Name: g.exchange(), IfUnused: g.chance(50)}
	case 4, 5, 6, 7:
		return &command.Bind{Binding: g.binding()}
	case 8:
		return &command.Unbind{Binding: g.binding()}
	case 9:
		return &command.QueueDelete{
			VHost: g.vhost(), Conn: g.conn(), Name: g.queue(), IfUnused: g.chance(50), IfEmpty: g.chance(50),
		}
	case 10:
		return &command.QueuePurge{VHost: g.vhost(), Conn: g.conn(), Name: g.queue()}
	case 11, 12:
		return &command.Cancel{Channel: g.channel(), Tag: g.tag()}
	case 13, 14:
		return &command.Get{VHost: g.vhost(), Channel: g.channel(), Queue: g.queue(), NoAck: g.chance(40)}
	case 15, 16, 17:
		return &command.Credit{Channel: g.channel(), Tag: g.tag(), Limit: uint64(g.r.IntN(60))}
	case 18:
		return &command.Qos{Channel: g.channel(), Prefetch: uint32(g.r.IntN(5))}
	case 19:
		return &command.Recover{Channel: g.channel()}
	case 20:
		return &command.ChannelClose{Channel: g.channel()}
	case 21:
		return &command.ConnectionClose{Conn: g.conn()}
	case 22:
		if g.chance(50) {
			return &command.DelayedCancel{VHost: g.vhost(), ID: 1<<49 + uint64(g.r.IntN(30))}
		}
		return &command.Tick{}
	case 23:
		return &command.Upgrade{Version: uint64(g.r.IntN(fsm.Version + 1))}
	case 24, 25, 26:
		return g.access()
	default:
		return g.commit()
	}
}

func (g *Generator) commit() *command.Commit {
	c := &command.Commit{VHost: g.vhost(), Channel: g.channel()}
	for range g.r.IntN(5) {
		var part command.Command = g.publish()
		switch {
		case g.chance(40):
			part = g.settle()
		case g.chance(3):
			part = &command.Tick{}
		}
		c.Commands = command.AppendCommand(c.Commands, part)
	}
	return c
}
