package fsm

import (
	"warren/fsm/queue"
	"warren/protocol/wire"
)

// maxMilliseconds bounds times that clients give, so that sums with the clock cannot
// overflow: some hundred thousand years.
const maxMilliseconds = 1 << 52

// effectsSince is the version of the machine from which on arguments of queues and
// the expiration of messages have their effects.
const effectsSince = 2

// retriesSince is the version of the machine from which on a message that comes back may have to wait.
const retriesSince = 3

// retries are the values of x-delayed-retry-type (https://www.rabbitmq.com/docs/quorum-queues#delayed-retry).
var retries = map[string]queue.Retry{
	"disabled": queue.AtOnce, "all": queue.AllWait, "failed": queue.FailedWait, "returned": queue.ReturnedWait,
}

// quorumDeliveryLimit is the delivery limit of a queue that was asked for as a quorum
// queue, where it sets none itself (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling).
const quorumDeliveryLimit = 20

// settings returns what holds for a queue by its arguments and policies.
func (s *state) settings(q *queue.Queue) queue.Settings {
	if s.version < effectsSince {
		return queue.DefaultSettings()
	}
	args := s.vhosts[q.Spec.VHost].arguments(&q.Spec)
	made := settingsOf(args)
	if s.version >= timeoutsSince {
		made.AckTimeout = ackTimeout(args)
	}
	if s.version >= retriesSince {
		made.Retry = retries[text(args, "x-delayed-retry-type")]
		made.RetryMin = min(number(args, "x-delayed-retry-min"), maxMilliseconds)
		made.RetryMax = min(number(args, "x-delayed-retry-max"), maxMilliseconds)
	}
	return made
}

// settingsOf reads the arguments of a queue, which checkArguments has accepted.
func settingsOf(args wire.Table) queue.Settings {
	s := queue.DefaultSettings()
	if len(args) == 0 {
		return s
	}
	s.TTL = min(number(args, "x-message-ttl"), maxMilliseconds)
	s.Expires = min(number(args, "x-expires"), maxMilliseconds)
	s.MaxLength = number(args, "x-max-length")
	s.MaxBytes = number(args, "x-max-length-bytes")
	s.DeliveryLimit = number(args, "x-delivery-limit")
	if _, given := args.Get("x-delivery-limit"); !given && text(args, "x-queue-type") == "quorum" {
		s.DeliveryLimit = quorumDeliveryLimit
	}
	switch text(args, "x-overflow") {
	case "reject-publish":
		s.Overflow = queue.RejectPublish
	case "reject-publish-dlx":
		s.Overflow = queue.RejectPublishDead
	}
	if _, s.DeadLetters = args.Get("x-dead-letter-exchange"); s.DeadLetters {
		s.DeadExchange = text(args, "x-dead-letter-exchange")
		_, s.HasDeadKey = args.Get("x-dead-letter-routing-key")
		s.DeadKey = text(args, "x-dead-letter-routing-key")
	}
	return s
}

func number(args wire.Table, name string) int64 {
	v, ok := args.Get(name)
	if !ok {
		return queue.None
	}
	n, ok := wire.Int(v)
	if !ok || n < 0 {
		return queue.None
	}
	return n
}

func text(args wire.Table, name string) string {
	v, _ := args.Get(name)
	s, _ := v.(string)
	return s
}

// configure makes the settings of a queue anew. It is to be called when something changed that they
// are made of.
func (s *state) configure(q *queue.Queue) {
	if now := s.settings(q); now != *q.Settings() {
		q.SetSettings(now)
	}
}

// configureAll makes the settings of all queues anew.
func (s *state) configureAll() {
	s.eachQueue(func(_ *vhost, q *queue.Queue) { s.configure(q) })
}
