package fsm

import (
	"cmp"
	"slices"
)

// sortedKeys returns the keys of a map in order. It is the one place in the
// state machine that walks a map: see the purity test in fsmtest.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m { // sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
