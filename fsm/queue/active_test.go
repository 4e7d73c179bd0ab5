package queue

import (
	"testing"

	"warren/fsm/command"
	"warren/protocol/wire"
)

type nowhere struct{}

func (nowhere) Deliver(*Consumer, uint64, bool, Tries, *command.Message, uint32) {}

// TestChosenOnce checks that it is decided once who is active when many consumers go, and not at all when
// those go that only wait.
func TestChosenOnce(t *testing.T) {
	s := NewStore(nil)
	q := s.NewQueue(1, command.QueueDeclare{Name: "q", Args: wire.Table{{Name: "x-single-active-consumer", Value: true}}})
	q.UseArguments()
	one, other := s.NewChannel(command.Owner{}), s.NewChannel(command.Owner{})
	for id := range uint64(10) {
		ch := one
		if id > 7 {
			ch = other
		}
		s.Consume(id+2, command.Consume{Tag: string(rune('a' + id)), Limit: 10}, 0, q, ch)
	}
	s.Assign(nowhere{})
	one.Consumer("c").Cancel()
	if len(s.unchosen) != 0 || q.active != one.Consumer("a") {
		t.Errorf("it is to be chosen anew among %d queues", len(s.unchosen))
	}
	one.CancelAll(func(*Consumer) {})
	if len(s.unchosen) != 1 {
		t.Errorf("it is to be chosen anew among %d queues", len(s.unchosen))
	}
	s.Assign(nowhere{})
	if q.active != other.Consumer("i") || len(s.unchosen) != 0 {
		t.Errorf("%+v is active", q.active)
	}
	check(t, q, one, other)
}
