package fsm

import (
	"cmp"
	"slices"
)

// sortedKeys returns the keys of a map in order. It is the one place in the
// state machine that walks a map, but for unsortedKeys: see the purity test in fsmtest.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m { // sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// unsortedKeys returns the keys of a map in any order. It is for views only: nothing that
// the machine does may depend on it.
func unsortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}
