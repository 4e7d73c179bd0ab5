package fsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/protocol/wire"
)

// A rule checks one argument of queue.declare. It returns RabbitMQ's reason,
// "" when the value is fine.
type rule struct {
	name  string
	check func(value any, args wire.Table) string
	since uint64 // version of the machine
}

// queueRules are the arguments that the broker knows, with RabbitMQ's checks
// (declare_args of rabbit_amqqueue.erl in rabbitmq-server). Unknown ones are kept and not looked at.
var queueRules = []rule{
	{"x-queue-type", checkQueueType, 0},
	{"x-expires", checkExpires, 0},
	{"x-message-ttl", checkNotNegative, 0},
	{"x-dead-letter-exchange", checkString, 0},
	{"x-dead-letter-routing-key", checkDeadLetterKey, 0},
	{"x-dead-letter-strategy", oneOf("invalid_dlx_strategy", "at-most-once", "at-least-once"), 0},
	{"x-max-length", checkNotNegative, 0},
	{"x-max-length-bytes", checkNotNegative, 0},
	{"x-max-in-memory-length", checkNotNegative, 0},
	{"x-max-in-memory-bytes", checkNotNegative, 0},
	{"x-max-priority", checkMaxPriority, 0},
	{"x-overflow", oneOf("invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx"), 0},
	{"x-queue-version", checkQueueVersion, 0},
	{"x-single-active-consumer", checkBool, 0},
	{"x-quorum-initial-group-size", checkPositive, 0},
	{"x-delivery-limit", checkInteger, 0},
	{"x-queue-leader-locator", oneOf("invalid_queue_locator_arg", "client-local", "balanced"), 0},
	{queue.TimeoutArgument, checkPositive, timeoutsSince},
	{"x-delayed-retry-type", oneOf("invalid_delayed_retry_type", "disabled", "all", "failed", "returned"), retriesSince},
	{"x-delayed-retry-min", checkNotNegative, retriesSince},
	{"x-delayed-retry-max", checkNotNegative, retriesSince},
}

// checkArguments refuses arguments that a queue cannot have.
func (m *Machine) checkArguments(c *command.QueueDeclare) *command.Error {
	if len(c.Args) == 0 {
		return nil
	}
	for _, rule := range queueRules {
		v, ok := c.Args.Get(rule.name)
		if !ok || m.version < rule.since {
			continue
		}
		if reason := rule.check(v, c.Args); reason != "" {
			return errInvalidArgument(rule.name, c.VHost, c.Name, reason)
		}
	}
	return nil
}

func errInvalidArgument(name, vhost, queue, reason string) *command.Error {
	return refuse(preconditionFailed, "invalid arg '%s' for %s: %s", name, queueText(vhost, queue), reason)
}

// unacceptable is RabbitMQ's reason for a value of the wrong type.
func unacceptable(v any) string { return "{unacceptable_type," + wire.TypeName(v) + "}" }

func checkInteger(v any, _ wire.Table) string {
	if _, ok := wire.Int(v); !ok {
		return strconv.Quote("expected integer, got " + wire.TypeName(v))
	}
	return ""
}

func checkNotNegative(v any, args wire.Table) string {
	if reason := checkInteger(v, args); reason != "" {
		return reason
	}
	if n, _ := wire.Int(v); n < 0 {
		return fmt.Sprintf("{value_negative,%d}", n)
	}
	return ""
}

func checkPositive(v any, args wire.Table) string {
	if reason := checkNotNegative(v, args); reason != "" {
		return reason
	}
	if n, _ := wire.Int(v); n == 0 {
		return "{value_zero,0}"
	}
	return ""
}

func checkExpires(v any, args wire.Table) string { return checkPositive(v, args) }

func checkMaxPriority(v any, args wire.Table) string {
	if reason := checkNotNegative(v, args); reason != "" {
		return reason
	}
	if n, _ := wire.Int(v); n > 255 {
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	return ""
}

func checkQueueVersion(v any, args wire.Table) string {
	if reason := checkNotNegative(v, args); reason != "" {
		return reason
	}
	if n, _ := wire.Int(v); n != 1 && n != 2 {
		return strconv.Quote(fmt.Sprintf("unsupported queue version '%d'", n))
	}
	return ""
}

func checkBool(v any, _ wire.Table) string {
	if _, ok := v.(bool); !ok {
		return unacceptable(v)
	}
	return ""
}

func checkString(v any, _ wire.Table) string {
	if _, ok := v.(string); !ok {
		return unacceptable(v)
	}
	return ""
}

func checkDeadLetterKey(v any, args wire.Table) string {
	if reason := checkString(v, args); reason != "" {
		return reason
	}
	if _, ok := args.Get("x-dead-letter-exchange"); !ok {
		return "routing_key_but_no_dlx_defined"
	}
	return ""
}

// oneOf checks that a value is one of some strings.
func oneOf(reason string, known ...string) func(any, wire.Table) string {
	return func(v any, args wire.Table) string {
		if reason := checkString(v, args); reason != "" {
			return reason
		}
		if !slices.Contains(known, v.(string)) {
			return reason
		}
		return ""
	}
}

// checkQueueType accepts the types whose contract every queue of this broker
// keeps: all queues are replicated, so classic and quorum mean the same.
func checkQueueType(v any, args wire.Table) string {
	if reason := checkString(v, args); reason != "" {
		return reason
	}
	switch name := v.(string); name {
	case "classic", "quorum":
		return ""
	case "stream":
		return strconv.Quote("queue type 'stream' is not supported by this broker")
	default:
		return strconv.Quote(fmt.Sprintf("unsupported queue type '%s'", name))
	}
}

// checkSameArguments compares the known arguments of two declarations of one
// queue. Integers are equal whatever their width; classic and quorum are one type.
func (m *Machine) checkSameArguments(have, given *command.QueueDeclare) *command.Error {
	for _, rule := range queueRules {
		name := rule.name
		if name == "x-queue-type" {
			if err := checkSameType(have, given); err != nil {
				return err
			}
			continue
		}
		old, isOld := have.Args.Get(name)
		v, isNew := given.Args.Get(name)
		switch {
		case m.version < rule.since:
		case isOld && isNew && !wire.EqualValue(old, v):
			return errInequivalent(given, name, "'"+valueText(v)+"'", "'"+valueText(old)+"'")
		case isOld != isNew:
			return errInequivalent(given, name, argumentText(v, isNew), argumentText(old, isOld))
		}
	}
	return nil
}

// checkSameType accepts any of the types that are one to us.
func checkSameType(_, given *command.QueueDeclare) *command.Error {
	v, ok := given.Args.Get("x-queue-type")
	if !ok {
		return nil
	}
	if reason := checkQueueType(v, given.Args); reason != "" {
		return errInvalidArgument("x-queue-type", given.VHost, given.Name, reason)
	}
	return nil
}

func errInequivalent(c *command.QueueDeclare, arg, given, have string) *command.Error {
	return refuse(preconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s",
		arg, queueText(c.VHost, c.Name), given, have)
}

func quoteBool(b bool) string { return "'" + strconv.FormatBool(b) + "'" }

// argumentText says what an argument is, as RabbitMQ does where one side lacks it.
func argumentText(v any, present bool) string {
	if !present {
		return "none"
	}
	return fmt.Sprintf("the value '%s' of type '%s'", valueText(v), wire.TypeName(v))
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "undefined"
	case []byte:
		return string(v)
	default:
		return strings.TrimSpace(fmt.Sprint(v))
	}
}

// consumerPriority returns the x-priority of a consumer, 0 without one
// (https://www.rabbitmq.com/docs/consumer-priority).
func consumerPriority(c *command.Consume) (int64, *command.Error) {
	v, ok := c.Args.Get("x-priority")
	if !ok {
		return 0, nil
	}
	n, ok := wire.Int(v)
	if !ok {
		return 0, errInvalidArgument("x-priority", c.VHost, c.Queue, checkInteger(v, nil))
	}
	return n, nil
}
