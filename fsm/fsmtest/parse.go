package fsmtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// A line is one line of a script: words, and options as name=value or bare names.
type line struct {
	words   []string // the first is who, the second what
	options map[string]string
	args    wire.Table
	used    int
	err     error
}

// flags are the bare words that are options.
var flags = []string{
	"durable", "exclusive", "auto-delete", "passive", "generated", "internal", "mandatory",
	"no-ack", "if-unused", "if-empty", "exchange", "operator",
	"if-new", "if-known", "all",
	"if-missing", "if-there", "clear-all", "existing", "parked",
}

func parseLine(text string) (*line, error) {
	l := &line{options: make(map[string]string)}
	words, err := split(text)
	if err != nil {
		return nil, err
	}
	for _, w := range words {
		name, value, isOption := strings.Cut(w, "=")
		switch {
		case isOption && (strings.HasPrefix(w, "x-") || name == "alternate-exchange" || strings.HasPrefix(w, "hash-")):
			field, err := parseField(name, value)
			if err != nil {
				return nil, err
			}
			l.args = append(l.args, field)
		case isOption && strings.HasPrefix(w, "set:"):
			l.words = append(l.words, strings.TrimPrefix(w, "set:"))
		case isOption:
			l.options[name] = value
		case slices.Contains(flags, w) && len(l.words) > 1:
			l.options[w] = "true"
		case w == `""`:
			l.words = append(l.words, "")
		default:
			l.words = append(l.words, w)
		}
	}
	return l, nil
}

// split cuts a line at spaces; a quoted word keeps them.
func split(text string) ([]string, error) {
	var words []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if text[0] == '"' && !strings.HasPrefix(text, `""`) {
			end := strings.IndexByte(text[1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("quote without end in %q", text)
			}
			words = append(words, text[1:end+1])
			text = text[end+2:]
			continue
		}
		w, rest, _ := strings.Cut(text, " ")
		words = append(words, w)
		text = rest
	}
	return words, nil
}

// parseField reads an argument: NAME=TYPE:VALUE with the type letters of wire.Field.
func parseField(name, text string) (wire.Field, error) {
	kind, value, ok := strings.Cut(text, ":")
	if !ok {
		return wire.Field{}, fmt.Errorf("argument %s lacks a type", name)
	}
	f := wire.Field{Name: name}
	n, err := strconv.ParseInt(value, 10, 64)
	switch kind {
	case "S":
		f.Value, err = value, nil
	case "t":
		f.Value, err = value == "true", nil
	case "I":
		f.Value = int32(n)
	case "l":
		f.Value = n
	case "s":
		f.Value = int16(n)
	default:
		err = fmt.Errorf("argument %s has unknown type %s", name, kind)
	}
	return f, err
}

// word returns the next word.
func (l *line) word() string {
	at := l.used + 2
	if at >= len(l.words) {
		l.fail("a word is missing")
		return ""
	}
	l.used++
	return l.words[at]
}

func (l *line) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

func (l *line) number() uint64 { return l.parse(l.word()) }

func (l *line) parse(text string) uint64 {
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		l.fail("%q is no number", text)
	}
	return n
}

// option returns a numeric option, or what it is without one.
func (l *line) option(name string, otherwise uint64) uint64 {
	text, ok := l.options[name]
	delete(l.options, name)
	if !ok {
		return otherwise
	}
	return l.parse(text)
}

func (l *line) text(name, otherwise string) string {
	text, ok := l.options[name]
	delete(l.options, name)
	if !ok {
		return otherwise
	}
	return text
}

func (l *line) flag(name string) bool {
	_, ok := l.options[name]
	delete(l.options, name)
	return ok
}

func (l *line) vhost() string { return l.text("vhost", "/") }

func (l *line) conn() uint64 { return l.option("conn", 1) }

// channel returns the channel of option ch=CONN/NUMBER, 1/1 without one.
func (l *line) channel() command.Channel {
	conn, number, ok := strings.Cut(l.text("ch", "1/1"), "/")
	if !ok {
		l.fail("a channel is CONN/NUMBER")
		return command.Channel{}
	}
	return command.Channel{Conn: l.parse(conn), Number: uint16(l.parse(number))}
}

// makers build the commands of a script by their verbs.
var makers = map[string]func(l *line) command.Command{
	"open": func(l *line) command.Command {
		return &command.EpochOpen{Node: l.words[0], Name: "name-" + l.words[0], Nonce: l.option("nonce", 1)}
	},
	"remove":  func(l *line) command.Command { return &command.EpochRemove{Epoch: l.number()} },
	"upgrade": func(l *line) command.Command { return &command.Upgrade{Version: l.number()} },
	"tick":    func(*line) command.Command { return &command.Tick{} },
	"policy": func(l *line) command.Command {
		p := &command.PolicyPut{
			VHost: l.vhost(), Operator: l.flag("operator"), Name: l.word(), Pattern: l.word(),
			ApplyTo: l.text("apply-to", ""), Priority: int64(l.option("priority", 0)),
		}
		for len(l.words) > l.used+2 {
			name, value, _ := strings.Cut(l.word(), "=")
			field, err := parseField(name, value)
			if err != nil {
				l.fail("%v", err)
			}
			p.Definition = append(p.Definition, field)
		}
		return p
	},
	"clear-policy": func(l *line) command.Command {
		return &command.PolicyClear{VHost: l.vhost(), Operator: l.flag("operator"), Name: l.word()}
	},
	"close-connection": func(l *line) command.Command { return &command.ConnectionClose{Conn: l.conn()} },
	"close-channel":    func(l *line) command.Command { return &command.ChannelClose{Channel: l.channel()} },
	"declare-exchange": func(l *line) command.Command {
		return &command.ExchangeDeclare{
			VHost: l.vhost(), Name: l.word(), Type: l.word(), Passive: l.flag("passive"), Durable: l.flag("durable"),
			AutoDelete: l.flag("auto-delete"), Internal: l.flag("internal"), Args: l.args,
		}
	},
	"delete-exchange": func(l *line) command.Command {
		return &command.ExchangeDelete{VHost: l.vhost(), Name: l.word(), IfUnused: l.flag("if-unused")}
	},
	"bind":   func(l *line) command.Command { return &command.Bind{Binding: l.binding()} },
	"unbind": func(l *line) command.Command { return &command.Unbind{Binding: l.binding()} },
	"declare": func(l *line) command.Command {
		return &command.QueueDeclare{
			VHost: l.vhost(), Conn: l.conn(), Name: l.word(), Passive: l.flag("passive"), Durable: l.flag("durable"),
			Exclusive: l.flag("exclusive"), AutoDelete: l.flag("auto-delete"), Generated: l.flag("generated"), Args: l.args,
		}
	},
	"delete": func(l *line) command.Command {
		return &command.QueueDelete{
			VHost: l.vhost(), Conn: l.conn(), Name: l.word(), IfUnused: l.flag("if-unused"), IfEmpty: l.flag("if-empty"),
		}
	},
	"purge": func(l *line) command.Command {
		return &command.QueuePurge{VHost: l.vhost(), Conn: l.conn(), Name: l.word()}
	},
	"publish": func(l *line) command.Command {
		properties, keyed := l.properties()
		return &command.Publish{
			VHost: []byte(l.vhost()), Exchange: []byte(l.word()), Key: []byte(l.word()), Body: []byte(l.word()),
			Mandatory: l.flag("mandatory"), Keyed: keyed, Properties: properties,
		}
	},
	"settle": func(l *line) command.Command {
		return &command.Settle{Channel: l.channel(), From: l.number(), To: l.number(), Outcome: l.outcome()}
	},
	"consume": func(l *line) command.Command {
		return &command.Consume{
			VHost: l.vhost(), Channel: l.channel(), Queue: l.word(), Tag: l.word(), NoAck: l.flag("no-ack"),
			Exclusive: l.flag("exclusive"), Prefetch: uint32(l.option("prefetch", 0)), Limit: l.option("limit", 1000), Args: l.args,
		}
	},
	"cancel": func(l *line) command.Command { return &command.Cancel{Channel: l.channel(), Tag: l.word()} },
	"get": func(l *line) command.Command {
		return &command.Get{VHost: l.vhost(), Channel: l.channel(), Queue: l.word(), NoAck: l.flag("no-ack")}
	},
	"credit": func(l *line) command.Command {
		return &command.Credit{Channel: l.channel(), Tag: l.word(), Limit: l.number()}
	},
	"qos": func(l *line) command.Command {
		return &command.Qos{Channel: l.channel(), Prefetch: uint32(l.number())}
	},
	"cancel-delayed": func(l *line) command.Command {
		return &command.DelayedCancel{VHost: l.vhost(), ID: l.number()}
	},
	"recover": func(l *line) command.Command { return &command.Recover{Channel: l.channel()} },
}

func (l *line) binding() command.Binding {
	return command.Binding{
		VHost: l.vhost(), Conn: l.conn(), Source: l.word(), Destination: l.word(), Key: l.word(),
		ToExchange: l.flag("exchange"), Args: l.args,
	}
}

// properties makes the properties of a publish: the headers CC and BCC of options
// cc=KEY,KEY and bcc=KEY,KEY, another one of option header=NAME:TEXT, the x-… words as they
// are; expiration=MS and priority=N.
func (l *line) properties() (list []byte, keyed bool) {
	var p wire.Properties
	for _, name := range [...]string{command.HeaderCC, command.HeaderBCC} {
		text := l.text(strings.ToLower(name), "")
		if text == "" {
			continue
		}
		var keys wire.Array
		for key := range strings.SplitSeq(text, ",") {
			keys = append(keys, key)
		}
		p.Headers = append(p.Headers, wire.Field{Name: name, Value: keys})
		keyed = true
	}
	if text := l.text("header", ""); text != "" {
		name, value, _ := strings.Cut(text, ":")
		p.Headers = append(p.Headers, wire.Field{Name: name, Value: value})
	}
	if p.Headers = append(p.Headers, l.args...); len(p.Headers) > 0 {
		p.Present = wire.FlagHeaders
	}
	if p.Expiration = l.text("expiration", ""); p.Expiration != "" {
		p.Present |= wire.FlagExpiration
	}
	if _, ok := l.options["priority"]; ok {
		p.Present |= wire.FlagPriority
		p.Priority = uint8(l.option("priority", 0))
	}
	return wire.AppendProperties(nil, &p), keyed
}

func (l *line) outcome() command.Outcome {
	names := []string{"ack", "requeue", "reject", "return"}
	i := slices.Index(names, l.word())
	if i < 0 {
		l.fail("an outcome is one of %v", names)
		return command.Ack
	}
	return command.Outcome(i)
}

// command builds the command of a line, all of which must be used up.
func (l *line) command() (command.Command, error) {
	if len(l.words) < 2 {
		return nil, fmt.Errorf("a line is NODE COMMAND …")
	}
	maker := makers[l.words[1]]
	for _, more := range []map[string]func(*line) command.Command{accessMakers, vhostMakers, parameterMakers, moveMakers, eventMakers} {
		if maker == nil {
			maker = more[l.words[1]]
		}
	}
	if maker == nil {
		return nil, fmt.Errorf("unknown command %q", l.words[1])
	}
	cmd := maker(l)
	if l.err == nil && (l.used+2 != len(l.words) || len(l.options) > 0) {
		l.fail("%s does not know %v %v", l.words[1], l.words[2+l.used:], l.options)
	}
	return cmd, l.err
}
