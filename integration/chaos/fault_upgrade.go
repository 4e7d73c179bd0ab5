//go:build linux

package chaos

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// upgradeTo is a step in which the processes of a cluster are replaced one by one by those of another binary, while two other
// faults happen: of processes and links only, as what an earlier version does with a broken disk is not promised.
func (c *Cluster) upgradeTo(bin *build, seed uint64, round int) []planned {
	random := rand.New(rand.NewPCG(seed, ^uint64(round)))
	others := slices.DeleteFunc(slices.Concat(processFaults(), linkFaults()), func(f Fault) bool { return !f.Mixes() })
	step := []planned{{fault: fault{"rolling upgrade", true, func(s *Strike) error { return s.upgrade(bin) }}, seed: random.Uint64()}}
	for range 2 {
		step = append(step, planned{
			fault: others[random.IntN(len(others))], seed: random.Uint64(), after: time.Duration(random.IntN(3000)) * time.Millisecond,
		})
	}
	c.bin = bin // for nodes that join
	return step
}

// upgrade replaces the processes that are of another binary, in an order by chance.
func (s *Strike) upgrade(bin *build) error {
	for {
		old := slices.DeleteFunc(s.shuffled(), func(n *Node) bool { return n.bin == bin })
		if len(old) == 0 {
			return nil
		}
		n, err := s.take(old)
		if errors.Is(err, errBusy) {
			s.Hold(100 * time.Millisecond) // until the other faults are over
			continue
		}
		if err != nil {
			return err
		}
		end := Stop
		if s.Random.IntN(3) == 0 {
			end = Kill
		}
		s.Logf("upgrade %s", n.Name)
		if err := end(n); err != nil {
			return err
		}
		n.use(bin)
		if err := s.startAgain(n); err != nil {
			return err
		}
		s.release()
		s.Hold(s.Between(0, time.Second))
	}
}
