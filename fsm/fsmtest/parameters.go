package fsmtest

import (
	"fmt"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

// parameterMakers build the commands of a script on parameters.
var parameterMakers = map[string]func(l *line) command.Command{
	"put-parameter": func(l *line) command.Command {
		return &command.ParameterPut{VHost: l.vhost(), Component: l.word(), Name: l.word(), Value: l.word()}
	},
	"clear-parameter": func(l *line) command.Command {
		return &command.ParameterClear{VHost: l.vhost(), Component: l.word(), Name: l.word()}
	},
	"put-global": func(l *line) command.Command {
		return &command.GlobalParameterPut{Name: l.word(), Value: l.word(), IfMissing: l.flag("if-missing")}
	},
	"clear-global": func(l *line) command.Command { return &command.GlobalParameterClear{Name: l.word()} },
}

func dumpParameters(b *strings.Builder, all []fsm.Parameter, what string) {
	for _, p := range all {
		fmt.Fprintf(b, "%s %s/%s = %s\n", what, p.Component, p.Name, p.Value)
	}
}

// parameter makes a command on parameters.
func (g *Generator) parameter() command.Command {
	component, name, value := g.pick("shovel", "federation-upstream", ""), g.pick("p", "q", "r"), g.pick("1", "{}", `"text"`)
	switch g.r.IntN(4) {
	case 0:
		return &command.ParameterClear{VHost: g.vhost(), Component: component, Name: name}
	case 1:
		return &command.GlobalParameterPut{Name: name, Value: value, IfMissing: g.chance(30)}
	case 2:
		return &command.GlobalParameterClear{Name: name}
	default:
		return &command.ParameterPut{VHost: g.vhost(), Component: component, Name: name, Value: value}
	}
}
