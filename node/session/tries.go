package session

import (
	"slices"

	"warren/protocol/wire"
)

// The headers that say how often a message was given out before. They are not there the
// first time (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling).
const (
	deliveryCount = "x-delivery-count"
	acquiredCount = "x-acquired-count"
)

// withTries returns a property list with the counts of what became of the message before,
// and without those that its publisher put there.
func withTries(properties []byte, acquired, failed uint32) []byte {
	if acquired == 0 {
		return properties
	}
	p, err := wire.ParseProperties(properties)
	if err != nil {
		return properties // a session lets none such through
	}
	p.Headers = slices.DeleteFunc(p.Headers, func(f wire.Field) bool {
		return f.Name == deliveryCount || f.Name == acquiredCount
	})
	p.Headers = append(p.Headers,
		wire.Field{Name: deliveryCount, Value: int64(failed)},
		wire.Field{Name: acquiredCount, Value: int64(acquired)})
	p.Present |= wire.FlagHeaders
	return wire.AppendProperties(nil, &p)
}
