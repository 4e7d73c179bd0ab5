//go:build linux

package chaos

import "testing"

// TestPlan: a plan follows from seed and round, and in a pass every fault has its turn.
func TestPlan(t *testing.T) {
	all := faults()
	const seed = 7
	if a, b := makePlan(seed, 3, all), makePlan(seed, 3, all); a.String() != b.String() || a[0][0].seed != b[0][0].seed {
		t.Errorf("one seed gave %v and %v", a, b)
	}
	same := true
	for round := 1; round <= 5; round++ {
		same = same && makePlan(seed, round, all).String() == makePlan(seed+1, round, all).String()
	}
	if same {
		t.Error("two seeds gave the same faults")
	}
	first, mixed := map[string]int{}, 0
	for round := 1; round <= len(all); round++ { // two passes, as a round has two steps
		for _, step := range makePlan(seed, round, all) {
			first[step[0].fault.Name()]++
			if len(step) > 1 {
				mixed++
			}
			for _, f := range step {
				if len(step) > 1 && !f.fault.Mixes() {
					t.Errorf("%v: %s does not mix", step, f.fault.Name())
				}
			}
		}
	}
	for _, f := range all {
		if first[f.Name()] != 2 {
			t.Errorf("%s happens %d times in two passes", f.Name(), first[f.Name()])
		}
	}
	if mixed == 0 {
		t.Error("no faults come together")
	}
}

func TestNamed(t *testing.T) {
	some, err := named(faults(), []string{"wipe", "kill leader"})
	if err != nil || len(some) != 2 || some[1].Name() != "kill leader" {
		t.Errorf("got %v, %v", some, err)
	}
	if _, err := named(faults(), []string{"flood"}); err == nil {
		t.Error("a fault that there is not was found")
	}
}
