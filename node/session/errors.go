package session

import (
	"warren/fsm/command"
	"warren/protocol"
)

// refused is the machine's refusal of a command, with the method that caused it.
func refused(id protocol.ID, e *command.Error) *protocol.Error {
	return &protocol.Error{Code: e.Code, Text: e.Text, ClassID: id.Class(), MethodID: id.Method()}
}

// lostAnswer is the error of a synchronous method whose result will not come.
// The client has to connect again to know where it stands.
func lostAnswer(id protocol.ID, r *command.Result) *protocol.Error {
	if r.Applied {
		return protocol.Errorf(protocol.ConnectionForced, id,
			"this node caught up by a snapshot and cannot tell the outcome of %s; connect again", id)
	}
	if r.Unsure {
		return protocol.Errorf(protocol.ConnectionForced, id,
			"the cluster had given up this node, which cannot tell whether %s was carried out; connect again", id)
	}
	return protocol.Errorf(protocol.ConnectionForced, id,
		"the cluster had given up this node, so %s was not carried out; connect again", id)
}

// errEpochLost tells a client what it lost when its node was given up.
func errEpochLost() *protocol.Error {
	return protocol.Errorf(protocol.ConnectionForced, 0,
		"the cluster had given up this node: consumers, unacknowledged deliveries and exclusive queues of the connection are gone; connect again")
}

func preconditionFailed(id protocol.ID, format string, args ...any) *protocol.Error {
	return protocol.Errorf(protocol.PreconditionFailed, id, format, args...)
}

func unknownTag(id protocol.ID, tag uint64) *protocol.Error {
	return preconditionFailed(id, "unknown delivery tag %d", tag)
}
