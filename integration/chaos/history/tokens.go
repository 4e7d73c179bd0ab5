package history

import "slices"

// A Move is what a token's message is: the token, and how often it was moved before.
type Move struct {
	Token int
	Hop   int
}

// CheckTokens judges tokens that transactions moved between queues: what is left at the end is each token
// once, and no older than the last move that was committed surely.
func CheckTokens(tokens int, committed []Move, left []Move) []Violation {
	var found []Violation
	complain := func(format string, args ...any) {
		v := Violation{Check: "tokens"}
		found = append(found, v.text(format, args...))
	}
	moved, seen := map[int]int{}, map[Move]bool{}
	for _, m := range committed {
		if seen[m] {
			complain("move %d of token %d was committed twice", m.Hop, m.Token)
		}
		seen[m] = true
		moved[m.Token] = max(moved[m.Token], m.Hop)
	}
	at := map[int][]int{}
	for _, m := range left {
		at[m.Token] = append(at[m.Token], m.Hop)
		if m.Token < 0 || m.Token >= tokens {
			complain("there is a token %d, and never was", m.Token)
		}
	}
	for token := range tokens {
		switch hops := at[token]; {
		case len(hops) == 0:
			complain("token %d is gone", token)
		case len(hops) > 1:
			slices.Sort(hops)
			complain("token %d is there %d times, moved %v times", token, len(hops), hops)
		case hops[0] < moved[token]:
			complain("token %d was moved %d times only, though move %d was committed", token, hops[0], moved[token])
		}
	}
	return found
}
