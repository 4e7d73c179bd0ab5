package session

import (
	"warren/fsm/command"
	"warren/protocol"
)

// epochLost handles that the machine has forgotten this connection: its consumers,
// unsettled deliveries and exclusive queues. A connection that had none of them
// goes on.
func (c *connection) epochLost() {
	if c.state != stateRunning {
		return
	}
	if len(c.exclusive) > 0 {
		c.fail(errEpochLost())
		return
	}
	for _, ch := range c.channels {
		if !ch.open {
			continue
		}
		if len(ch.consumers) > 0 || ch.unacked.len() > 0 || ch.settling > 0 || ch.gathered.any || ch.tx != nil && len(ch.tx.settled) > 0 {
			c.fail(errEpochLost())
			return
		}
	}
	if c.counted {
		c.count()
	}
	for _, ch := range c.channels {
		ch.newEpoch()
	}
}

// newEpoch makes a channel that had nothing in the machine ready for the next epoch.
func (ch *channel) newEpoch() {
	if !ch.open {
		return
	}
	ch.ordinal = 0 // the machine counts anew
	ch.gathered = gathered{}
	if ch.global != 0 {
		ch.keeps()
		ch.c.cfg.Proposer.Propose(&command.Qos{Channel: ch.name(), Prefetch: ch.global}, nil, 0)
	}
}

// restored brings the connection up to what the machine holds of it, after a
// snapshot took the place of entries whose effects were not seen.
func (c *connection) restored(state *command.ConnState) {
	if c.state != stateRunning {
		return
	}
	states := make(map[uint16]*command.ChannelState, len(state.Channels))
	for i := range state.Channels {
		states[state.Channels[i].Number] = &state.Channels[i]
	}
	for _, ch := range c.channels {
		if !ch.open {
			continue
		}
		s := states[ch.number]
		if s == nil {
			s = new(command.ChannelState)
		}
		ch.restored(s)
		if c.state != stateRunning {
			return
		}
	}
}

// restored delivers what the channel was given meanwhile, and cancels the consumers
// that ended. A consumer without acknowledgements that was given something ends the connection: it must not miss
// messages without hearing of it. Deliveries that were settled meanwhile need nothing: settling them
// again does no harm.
func (ch *channel) restored(s *command.ChannelState) {
	there := make(map[string]*command.ConsumerState, len(s.Consumers))
	for i := range s.Consumers {
		there[s.Consumers[i].Tag] = &s.Consumers[i]
	}
	seen := ch.ordinal
	for i := range s.Unsettled {
		if e := &s.Unsettled[i]; e.Ordinal > seen {
			if e.Tag == "" {
				// What basic.get took: its answer is lost, so the client cannot settle it.
				ch.c.fail(protocol.Errorf(protocol.ConnectionForced, protocol.IDBasicGet,
					"this node caught up by a snapshot and cannot tell what basic.get took; connect again"))
				return
			}
			ch.deliver(&event{
				kind: evDeliver, channel: ch.number, tag: e.Tag,
				ordinal: e.Ordinal, redelivered: e.Redelivered, acquired: e.Acquired, failed: e.Failed, message: e.Message,
			})
			if !ch.open {
				return
			}
		}
	}
	ch.ordinal = max(ch.ordinal, s.Ordinal)
	for tag, k := range ch.consumers {
		state := there[tag]
		if state == nil {
			ch.cancelled(tag)
			continue
		}
		if k.noAck && state.Delivered > k.delivered {
			// They were gone as they were given to it.
			ch.c.fail(protocol.Errorf(protocol.ConnectionForced, protocol.IDBasicDeliver,
				"this node caught up by a snapshot and cannot deliver what consumer '%s' was given meanwhile; connect again", tag))
			return
		}
		k.delivered = max(k.delivered, state.Delivered)
		k.limit = max(k.limit, state.Limit)
		if k.windowed && k.limit < k.delivered+ch.c.window(k) {
			k.limit = k.delivered + ch.c.window(k)
			ch.c.cfg.Proposer.Propose(&command.Credit{Channel: ch.name(), Tag: tag, Limit: k.limit}, nil, 0)
		}
	}
}
