package history

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// An Access is one operation on a register: a queue with room for one message, of which the newest stays
// (x-max-length 1). A put publishes with a confirm; a take is basic.get without acknowledgement. Both are one entry of the log,
// so all of them happen in one order, each between its call and its answer.
type Access struct {
	Client       int
	Put          bool
	Value        uint64        // what was put or taken; 0: a take found nothing
	Call, Answer time.Duration // since the start
	Unknown      bool          // no answer came: it happened at any time after the call, or not at all
}

// A Register is the accesses to one of them, by anyone.
type Register struct {
	Name     string
	Accesses []Access
}

// Verdict is the outcome of CheckRegister.
type Verdict struct {
	Violations []Violation
	Undecided  int // registers with too many possible orders to try them within the time
}

// registerModel is the behaviour of one register; its state is the value in it, 0 for none.
var registerModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(Access), output.(Access)
		switch {
		case in.Put:
			return true, in.Value
		case out.Unknown:
			return true, uint64(0)
		default:
			return out.Value == state.(uint64), uint64(0)
		}
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(Access), output.(Access)
		switch {
		case in.Put:
			return fmt.Sprintf("put %d", in.Value)
		case out.Unknown:
			return "take ?"
		default:
			return fmt.Sprintf("take → %d", out.Value)
		}
	},
}

// CheckRegister looks for an order of the accesses of each register that explains all
// answers, each access between its call and its answer. limit is for each register.
func CheckRegister(registers []Register, limit time.Duration) Verdict {
	var v Verdict
	for _, r := range registers {
		end := time.Duration(0)
		for _, a := range r.Accesses {
			end = max(end, a.Call, a.Answer)
		}
		ops := make([]porcupine.Operation, len(r.Accesses))
		for i, a := range r.Accesses {
			answer := a.Answer
			if a.Unknown {
				answer = end + 1 // may happen last, where nobody sees it
			}
			ops[i] = porcupine.Operation{ClientId: a.Client, Input: a, Output: a, Call: int64(a.Call), Return: int64(answer)}
		}
		switch porcupine.CheckOperationsTimeout(registerModel, ops, limit) {
		case porcupine.Illegal:
			v.Violations = append(v.Violations, Violation{Check: "linearizable", Queue: r.Name}.text("no order of its %d operations explains what they were answered", len(ops)))
		case porcupine.Unknown:
			v.Undecided++
		}
	}
	return v
}
