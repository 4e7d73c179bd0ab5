package session

import (
	"bytes"
	"slices"

	"warren/fsm/command"
	"warren/protocol"
)

// checkKeys looks for the headers CC and BCC, which are further routing keys
// (https://www.rabbitmq.com/docs/sender-selected).
func (t *content) checkKeys(properties []byte) error {
	keyed, fault := command.CheckKeys(properties)
	if fault != "" {
		return preconditionFailed(protocol.IDBasicPublish, "invalid message: %s", fault)
	}
	t.keyed = keyed
	return nil
}

// publishKeyed sends on a message for the default exchange that has several keys. Those
// that are names of channels that await direct replies get a copy; the others go to
// the log, and the outcome of the publish is theirs. Where there are no others it is
// that of the first reply.
func (ch *channel) publishKeyed(body []byte) {
	t := &ch.content
	keys := append([][]byte{t.key}, command.FurtherKeys(t.properties)...)
	replies := slices.DeleteFunc(slices.Clone(keys), func(key []byte) bool { return !isReplyName(key) })
	if len(replies) == 0 {
		ch.publishInOrder(body)
		return
	}
	properties := t.properties
	t.properties = command.WithoutBCC(properties)
	first := len(replies) == len(keys)
	for _, key := range replies {
		t.key = key
		if first {
			ch.publishReply(body)
		} else {
			ch.sendCopy(ch.newReply(body))
		}
		first = false
	}
	if len(replies) < len(keys) {
		t.key, t.properties = keys[0], properties
		ch.publishInOrder(body)
	}
}

// sendCopy sends a direct reply that the publish does not wait for.
func (ch *channel) sendCopy(r *Reply) {
	if ch.tx != nil {
		ch.bufferReply(r)
		return
	}
	r.mandatory, r.after = false, func(bool) {}
	r.token = newToken(ch.number, ch.incarnation, forMethod, 0)
	ch.sendReply(r)
}

func isReplyName(key []byte) bool { return bytes.HasPrefix(key, []byte(replyPrefix)) }
