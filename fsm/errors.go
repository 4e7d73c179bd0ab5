package fsm

import (
	"fmt"

	"warren/fsm/command"
)

// AMQP reply codes that the machine itself gives.
const (
	accessRefused      = 403
	notFound           = 404
	resourceLocked     = 405
	preconditionFailed = 406
	commandInvalid     = 503
	notAllowed         = 530
)

func refuse(code uint16, format string, args ...any) *command.Error {
	return &command.Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

func errNoVHost(name string) *command.Error {
	return refuse(notAllowed, "vhost '%s' not found", name)
}

// queueText names a queue as RabbitMQ does in its texts.
func queueText(vhost, name string) string {
	return fmt.Sprintf("queue '%s' in vhost '%s'", name, vhost)
}

func errNoQueue(vhost, name string) *command.Error {
	return refuse(notFound, "no %s", queueText(vhost, name))
}

func errLocked(vhost, name string) *command.Error {
	return refuse(resourceLocked, "cannot obtain exclusive access to locked %s. It could be originally "+
		"declared on another connection or the exclusive property value does not match that of the "+
		"original declaration.", queueText(vhost, name))
}
