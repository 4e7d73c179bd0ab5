package topology

import (
	"fmt"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// AMQP reply codes.
const (
	accessRefused      = 403
	notFound           = 404
	preconditionFailed = 406
)

func refuse(code uint16, format string, args ...any) *command.Error {
	return &command.Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

func errDefaultExchange() *command.Error {
	return refuse(accessRefused, "operation not permitted on the default exchange")
}

func (t *Topology) exchangeText(name string) string {
	return fmt.Sprintf("exchange '%s' in vhost '%s'", name, t.vhost)
}

func (t *Topology) errNoExchange(name string) *command.Error {
	return refuse(notFound, "no %s", t.exchangeText(name))
}

func (t *Topology) errNoQueue(name string) *command.Error {
	return refuse(notFound, "no queue '%s' in vhost '%s'", name, t.vhost)
}

func (t *Topology) errInequivalent(name, arg, given, have string) *command.Error {
	return refuse(preconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s",
		arg, t.exchangeText(name), given, have)
}

func quote(s string) string { return "'" + s + "'" }

func quoteBool(b bool) string { return fmt.Sprintf("'%t'", b) }

// argText says what an argument is, as RabbitMQ does where one side lacks it.
func argText(v any, present bool) string {
	if !present {
		return "none"
	}
	return fmt.Sprintf("the value '%s' of type '%s'", valueText(v), wire.TypeName(v))
}

func valueText(v any) string {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case nil:
		return "undefined"
	default:
		return fmt.Sprint(v)
	}
}
