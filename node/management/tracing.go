package management

import (
	"encoding/json"

	"warren/fsm"
	"warren/fsm/command"
)

// Whether a vhost is traced is kept as a parameter of a component that is not shown: every node knows it, and it outlives restarts.
const (
	tracingComponent = "internal-tracing"
	tracingName      = "firehose"
)

// ownComponent reports whether parameters of a component are the broker's own.
func ownComponent(component string) bool {
	return component == tracingComponent || component == traceComponent
}

// Traced reports whether the messages of a vhost are copied to its exchange amq.rabbitmq.trace.
func Traced(m *fsm.Machine, vhost string) bool {
	_, on := m.Parameter(vhost, tracingComponent, tracingName)
	return on
}

// trace begins or ends that, if the body of a request says so.
func (c *call) trace(vhost string, raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	var on bool
	var word string
	if json.Unmarshal(raw, &word) == nil { // rabbitmqadmin sends texts
		on = word == "true"
	} else if json.Unmarshal(raw, &on) != nil {
		return errBadRequest("tracing is neither true nor false")
	}
	was := false
	c.view(func(m *fsm.Machine) { was = Traced(m, vhost) })
	if on == was {
		return nil
	}
	var cmd command.Command = &command.ParameterPut{VHost: vhost, Component: tracingComponent, Name: tracingName, Value: "true"}
	if !on {
		cmd = &command.ParameterClear{VHost: vhost, Component: tracingComponent, Name: tracingName}
	}
	_, err := c.propose(cmd)
	return err
}
