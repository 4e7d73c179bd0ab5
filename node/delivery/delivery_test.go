package delivery

import (
	"fmt"
	"slices"
	"testing"

	"warren/fsm/command"
)

// recorder notes what it is handed, in order.
type recorder struct{ got []string }

func (r *recorder) Result(token uint64, _ *command.Result) {
	r.got = append(r.got, fmt.Sprintf("result %d", token))
}
func (r *recorder) Effect(e *command.Effect) {
	r.got = append(r.got, fmt.Sprintf("deliver %d", e.Ordinal))
}
func (r *recorder) EpochLost()                  {}
func (r *recorder) Restored(*command.ConnState) {}

func effect(cmd int, epoch, conn, ordinal uint64) command.Effect {
	return command.Effect{Kind: command.EffectDeliver, Command: cmd, Ordinal: ordinal,
		To: command.Owner{Epoch: epoch, Channel: command.Channel{Conn: conn, Number: 1}}}
}

func TestDispatchOrder(t *testing.T) {
	g := NewRegistry[*recorder]()
	one, two := &recorder{}, &recorder{}
	g.Add(1, one)
	g.Add(2, two)
	results := make([]command.Result, 3)
	waiters := []command.Waiter{{To: one, Token: 10}, {}, {To: one, Token: 12}}
	effects := []command.Effect{
		effect(0, 7, 1, 1), effect(0, 7, 2, 1), effect(1, 7, 1, 2),
		effect(2, 7, 1, 3), effect(2, 6, 1, 99), effect(2, 7, 3, 99),
	}
	g.Dispatch(7, waiters, results, effects)
	want := []string{"result 10", "deliver 1", "deliver 2", "result 12", "deliver 3"}
	if !slices.Equal(one.got, want) {
		t.Errorf("got %q, want %q", one.got, want)
	}
	if !slices.Equal(two.got, []string{"deliver 1"}) {
		t.Errorf("the other connection got %q", two.got)
	}
}

// An entry of another node brings effects only; a removed connection gets none.
func TestDispatchForeign(t *testing.T) {
	g := NewRegistry[*recorder]()
	r := &recorder{}
	g.Add(1, r)
	g.Dispatch(7, nil, make([]command.Result, 1), []command.Effect{effect(0, 7, 1, 1)})
	g.Remove(1)
	g.Dispatch(7, nil, make([]command.Result, 1), []command.Effect{effect(0, 7, 1, 2)})
	if !slices.Equal(r.got, []string{"deliver 1"}) || g.Len() != 0 {
		t.Errorf("got %q", r.got)
	}
}

func TestGet(t *testing.T) {
	g := NewRegistry[*recorder]()
	one := &recorder{}
	g.Add(1, one)
	if r, ok := g.Get(1); !ok || r != one {
		t.Error("a connection is not found")
	}
	g.Remove(1)
	if _, ok := g.Get(1); ok {
		t.Error("a connection that is gone is found")
	}
}
