package fsmtest

import (
	"slices"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// moveTargets are the words for where messages are moved, in the order of command.MoveTo.
var moveTargets = []string{"queue", "exchange", "first-death", "last-death"}

// moveMakers build the command of a script that moves messages: move SOURCE to=WHERE target=NAME, with key=, most=, from=,
// parked, and by-exchange=, by-key= and x-… words for what messages have to be like.
var moveMakers = map[string]func(l *line) command.Command{
	"move": func(l *line) command.Command {
		c := &command.Move{
			VHost: l.vhost(), Queue: l.word(), Parked: l.flag("parked"), From: l.option("from", 0), Most: uint32(l.option("most", 100)),
			Target: l.text("target", ""),
		}
		to := slices.Index(moveTargets, l.text("to", "queue"))
		if to < 0 {
			l.fail("messages are moved to one of %v", moveTargets)
			return c
		}
		c.To = command.MoveTo(to)
		_, c.SetKey = l.options["key"]
		_, c.ByExchange = l.options["by-exchange"]
		_, c.ByKey = l.options["by-key"]
		c.Key, c.Exchange, c.RoutingKey = l.text("key", ""), l.text("by-exchange", ""), l.text("by-key", "")
		c.Headers = l.args
		return c
	},
}

// move makes a command that moves messages.
func (g *Generator) move() *command.Move {
	c := &command.Move{
		VHost: g.vhost(), Queue: g.queue(), Parked: g.chance(40), Most: uint32(g.r.IntN(6)), To: command.MoveTo(g.r.IntN(4)),
		SetKey: g.chance(50), Key: g.key(),
	}
	if g.chance(20) {
		c.From = uint64(g.r.IntN(40))
	}
	switch {
	case c.To == command.ToQueue, c.To >= command.ToFirstDeath && g.chance(30):
		c.Target = g.queue()
	case c.To == command.ToExchange:
		c.Target = g.exchange()
	}
	if g.chance(15) {
		c.ByExchange, c.Exchange = true, g.exchange()
	}
	if g.chance(15) {
		c.ByKey, c.RoutingKey = true, g.key()
	}
	if g.chance(15) {
		c.Headers = wire.Table{{Name: "h", Value: int64(g.r.IntN(2))}}
	}
	return c
}
