package session

import (
	"math"

	"warren/fsm/command"
	"warren/protocol"
)

func (ch *channel) basicMethod(m protocol.Method) error {
	switch m := m.(type) {
	case *protocol.BasicQos:
		return ch.qos(m)
	case *protocol.BasicConsume:
		return ch.consume(m)
	case *protocol.BasicCancel:
		ch.cancel(m)
		return nil
	case *protocol.BasicGet:
		return ch.get(m)
	case *protocol.BasicRecover:
		return ch.recover(m.ID(), m.Requeue, false)
	case *protocol.BasicRecoverAsync:
		return ch.recover(m.ID(), m.Requeue, true)
	}
	return unimplemented(m)
}

// publish sends on the publish whose content is complete.
func (ch *channel) publish(body []byte) {
	t := &ch.content
	ch.count(CountPublished, 1)
	if ch.confirms.on {
		ch.count(CountPublishedChecked, 1)
	}
	ch.c.sizes.note(len(body))
	if taps := ch.c.tapping(); taps != nil {
		ch.tapPublish(taps, body)
	}
	switch {
	case t.keyed && len(t.exchange) == 0:
		ch.publishKeyed(body)
	case t.isReply():
		ch.publishReply(body)
	case !ch.shortcut(body):
		ch.proposePublish(body)
	}
	ch.time()
	ch.c.charge(-len(t.body))
	kept := t.body[:0]
	if cap(kept) > keepBody {
		kept = nil
	}
	ch.content = content{body: kept}
}

// proposePublish proposes a publish, or adds it to the open transaction.
func (ch *channel) proposePublish(body []byte) {
	t, c := &ch.content, ch.c
	cmd := &c.publish
	*cmd = command.Publish{
		VHost: c.vhostBytes, Exchange: t.exchange, Key: t.key, Mandatory: t.mandatory, Keyed: t.keyed,
		Properties: t.properties, Body: body,
	}
	if ch.tx != nil {
		ch.tx.publishes++
		ch.buffer(cmd)
	} else {
		if ch.gathered.any && ch.gathered.outcome != command.Ack {
			ch.flushSettles()
		}
		ch.sent++
		ch.propose(cmd, newToken(ch.number, ch.incarnation, forPublish, ch.sent))
	}
	*cmd = command.Publish{}
}

// propose proposes a publish whose result comes with the token.
func (ch *channel) propose(cmd *command.Publish, t token) {
	c := ch.c
	ch.logged++
	c.flight.start(len(cmd.Body) + len(cmd.Properties) + frameCost)
	if len(cmd.Body) > roomBytes {
		c.unasked = 0
	}
	c.cfg.Proposer.Propose(cmd, c.s, uint64(t))
}

// publishResult takes the result of a publish that is not simply done.
func (ch *channel) publishResult(t token, r *command.Result) {
	switch {
	case r.Lost && (!r.Applied || r.Unsure):
		ch.c.fail(lostAnswer(protocol.IDBasicPublish, r))
		return
	case r.Err != nil:
		ch.fail(refused(protocol.IDBasicPublish, r.Err))
		return
	}
	if r.Message != nil {
		ch.giveBack(r.Message)
	}
	if r.Rejected {
		ch.rejected(t)
		return
	}
	ch.published(t, 1)
}

// giveBack sends basic.return for a mandatory message that no queue took.
func (ch *channel) giveBack(m *command.Message) {
	ch.count(CountReturned, 1)
	ch.c.out.Return(ch.number, protocol.NoRoute, protocol.CodeName(protocol.NoRoute), m.Exchange, m.Key)
	ch.c.out.Content(ch.number, m.Properties, m.Body)
}

// deliver sends a message to a consumer.
func (ch *channel) deliver(e *event) {
	if e.ordinal > 0 {
		ch.ordinal, ch.more = e.ordinal, e.more
	}
	k := ch.consumers[e.tag]
	switch {
	case e.ordinal > 0 && ch.recovering:
		// It goes back with all others that the Recover finds, but it counts.
		if k != nil {
			ch.topUp(k, len(e.message.Body))
		}
		return
	case e.ordinal > 0 && k == nil:
		ch.sendBack(e.ordinal)
		return
	case k == nil:
		return
	}
	ch.countDelivery(e.ordinal, e.redelivered, CountDelivered, CountDeliveredAuto)
	tag := ch.record(e.ordinal)
	ch.c.out.Deliver(ch.number, k.tag, tag, e.redelivered, e.message.Exchange, e.message.Key)
	ch.c.out.Content(ch.number, withTries(e.message.Properties, e.acquired, e.failed), e.message.Body)
	if taps := ch.c.tapping(); taps != nil {
		ch.tapDeliver(taps, k.queue, e.message.Exchange, e.message.Key, e.message.Properties, e.message.Body, e.redelivered)
	}
	ch.topUp(k, len(e.message.Body))
}

// countDelivery counts a message as one of two kinds: with an ordinal it is to be acknowledged.
func (ch *channel) countDelivery(ordinal uint64, redelivered bool, acknowledged, auto Count) {
	if ordinal > 0 {
		ch.count(acknowledged, 1)
	} else {
		ch.count(auto, 1)
	}
	if redelivered {
		ch.count(CountRedelivered, 1)
	}
}

// sendBack returns a delivery for which there is no consumer any more.
func (ch *channel) sendBack(ordinal uint64) {
	ch.flushSettles()
	ch.c.cfg.Proposer.Propose(&command.Settle{
		Channel: ch.name(), From: ordinal, To: ordinal, Outcome: command.Requeue,
	}, nil, 0)
}

// record gives out the next delivery tag. Deliveries without an ordinal need no
// acknowledgement.
func (ch *channel) record(ordinal uint64) uint64 {
	ch.deliveryTag++
	if ordinal > 0 {
		ch.unacked.push(ch.deliveryTag, ordinal)
	}
	return ch.deliveryTag
}

// qos is basic.qos: the prefetch of consumers to come, or, with global, that of the
// channel (https://www.rabbitmq.com/docs/consumer-prefetch). As in RabbitMQ the former lifts the latter.
func (ch *channel) qos(m *protocol.BasicQos) error {
	if m.PrefetchSize != 0 {
		return protocol.Errorf(protocol.NotImplemented, m.ID(), "prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	n := uint32(m.PrefetchCount)
	if !m.Global && !ch.c.can.channelQos {
		ch.prefetch = n
		if ch.global == 0 {
			ch.send(&protocol.BasicQosOk{})
			return nil
		}
		n = 0
	}
	ch.keeps()
	ch.call(m.ID(), &command.Qos{Channel: ch.name(), Prefetch: n}, func(*command.Result) {
		ch.global = n
		ch.send(&protocol.BasicQosOk{})
	})
	return nil
}

func (ch *channel) consume(m *protocol.BasicConsume) error {
	queue, err := ch.queueName(m.ID(), m.Queue)
	if err != nil {
		return err
	}
	tag := m.ConsumerTag
	if tag == "" {
		tag = generatedName("amq.ctag-")
	}
	if _, taken := ch.consumers[tag]; taken {
		return protocol.Errorf(protocol.NotAllowed, m.ID(), "attempt to reuse consumer tag '%s'", tag)
	}
	if queue == replyQueue {
		return ch.consumeReplies(m, tag)
	}
	if err := ch.mayConsume(m.ID()); err != nil {
		return err
	}
	k := &consumer{tag: tag, queue: queue, noAck: m.NoAck, limit: math.MaxUint64}
	if m.NoAck || ch.prefetch == 0 || ch.prefetch > firstWindow {
		k.windowed, k.limit = true, firstWindow
	}
	cmd := &command.Consume{
		VHost: ch.c.vhost, Channel: ch.name(), Queue: queue, Tag: tag,
		NoAck: m.NoAck, Exclusive: m.Exclusive, Prefetch: ch.prefetch, Limit: k.limit, Args: m.Arguments,
	}
	if m.NoAck {
		cmd.Prefetch = 0
	}
	ch.keeps()
	ch.call(m.ID(), cmd, func(*command.Result) {
		ch.consumers[tag] = k
		ch.c.cfg.Tally.consumers.Add(1)
		ch.reply(m.NoWait, &protocol.BasicConsumeOk{ConsumerTag: tag})
	})
	return nil
}

// cancel is basic.cancel. A tag that is not there is fine.
func (ch *channel) cancel(m *protocol.BasicCancel) {
	ok := &protocol.BasicCancelOk{ConsumerTag: m.ConsumerTag}
	if ch.awaiting != nil && ch.awaiting.tag == m.ConsumerTag {
		ch.awaitNone()
		ch.reply(m.NoWait, ok)
		return
	}
	if ch.consumers[m.ConsumerTag] == nil {
		ch.reply(m.NoWait, ok)
		return
	}
	ch.call(m.ID(), &command.Cancel{Channel: ch.name(), Tag: m.ConsumerTag}, func(*command.Result) {
		ch.removeConsumer(m.ConsumerTag)
		ch.reply(m.NoWait, ok)
	})
}

func (ch *channel) removeConsumer(tag string) {
	if ch.consumers[tag] != nil {
		delete(ch.consumers, tag)
		ch.c.cfg.Tally.consumers.Add(-1)
	}
}

// cancelled takes note that the broker ended a consumer, and tells the client if
// it wants to know (https://www.rabbitmq.com/docs/consumer-cancel).
func (ch *channel) cancelled(tag string) {
	if ch.consumers[tag] == nil {
		return
	}
	ch.removeConsumer(tag)
	if ch.c.can.cancelNotify {
		ch.send(&protocol.BasicCancel{ConsumerTag: tag, NoWait: true})
	}
}

// overdue takes note that a delivery was not settled in time, and that the broker took it back and ended its
// consumer. A client that wants to know of that is told; any other loses its channel, and so does one that has no such
// consumer: the delivery is of basic.get, or the client has ended the consumer itself
// (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout). Settling such a delivery later does nothing.
func (ch *channel) overdue(tag string, ms uint64) {
	if tag != "" && ch.c.can.cancelNotify {
		ch.cancelled(tag)
		return
	}
	ch.fail(preconditionFailed(0, "delivery acknowledgement on channel %d timed out. Timeout value used: %d ms. "+
		"This timeout value can be configured, see consumers doc guide to learn more", ch.number, ms))
}

func (ch *channel) get(m *protocol.BasicGet) error {
	queue, err := ch.queueName(m.ID(), m.Queue)
	if err != nil {
		return err
	}
	if !m.NoAck {
		ch.keeps()
	}
	cmd := &command.Get{VHost: ch.c.vhost, Channel: ch.name(), Queue: queue, NoAck: m.NoAck}
	ch.call(m.ID(), cmd, func(r *command.Result) { ch.got(queue, r) })
	return nil
}

// got takes what basic.get found.
func (ch *channel) got(queue string, r *command.Result) {
	if r.Message == nil {
		ch.count(CountGotEmpty, 1)
		ch.send(&protocol.BasicGetEmpty{})
		return
	}
	ch.countDelivery(r.Ordinal, r.Redelivered, CountGot, CountGotAuto)
	if r.Ordinal > 0 {
		ch.ordinal = r.Ordinal
	}
	tag := ch.record(r.Ordinal)
	ch.c.out.GetOk(ch.number, tag, r.Redelivered, r.Message.Exchange, r.Message.Key, r.Messages)
	ch.c.out.Content(ch.number, withTries(r.Message.Properties, r.Acquired, r.Failed), r.Message.Body)
	if taps := ch.c.tapping(); taps != nil {
		ch.tapDeliver(taps, queue, r.Message.Exchange, r.Message.Key, r.Message.Properties, r.Message.Body, r.Redelivered)
	}
}

// recover is basic.recover and basic.recover-async, which has no answer.
func (ch *channel) recover(id protocol.ID, requeue, async bool) error {
	if !requeue {
		return protocol.Errorf(protocol.NotImplemented, id, "requeue=false")
	}
	done := func(*command.Result) {
		ch.recovering = false
		ch.reply(async, &protocol.BasicRecoverOk{})
	}
	switch {
	case !ch.known:
		done(nil)
	case ch.tx != nil && len(ch.tx.settled) > 0:
		ch.recoverOutsideTx(id, done)
	default:
		ch.unacked.clear()
		ch.recovering = true
		ch.call(id, &command.Recover{Channel: ch.name()}, done)
	}
	return nil
}

// recoverOutsideTx requeues what is unsettled, but not what the open transaction
// has settled: it is neither one nor the other yet.
func (ch *channel) recoverOutsideTx(id protocol.ID, done func(*command.Result)) {
	taken, _ := ch.unacked.takeTo(0)
	var ranges []command.Settle
	for _, u := range taken {
		switch n := len(ranges); {
		case u.settled:
		case n > 0 && ranges[n-1].To+1 == u.ordinal:
			ranges[n-1].To = u.ordinal
		default:
			ranges = append(ranges, command.Settle{
				Channel: ch.name(), From: u.ordinal, To: u.ordinal, Outcome: command.Requeue,
			})
		}
	}
	if len(ranges) == 0 {
		done(nil)
		return
	}
	last := len(ranges) - 1
	for i := range ranges[:last] {
		ch.c.cfg.Proposer.Propose(&ranges[i], nil, 0)
	}
	ch.call(id, &ranges[last], done)
}
