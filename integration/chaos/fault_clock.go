//go:build linux

package chaos

import (
	"errors"
	"time"
)

// clockFaults have the clock of a node jump. No process starts meanwhile: what the clock says then would be believed.
func clockFaults() []Fault {
	return []Fault{
		fault{"clock jumps a little", true, func(s *Strike) error {
			return s.clockOff(time.Duration(s.Random.IntN(16_000)-8_000) * time.Millisecond)
		}},
		fault{"clock jumps far", false, func(s *Strike) error {
			return s.clockOff([]time.Duration{-24 * time.Hour, -time.Hour, time.Hour, 24 * time.Hour}[s.Random.IntN(4)])
		}},
	}
}

func (s *Strike) clockOff(by time.Duration) error {
	n, err := s.TakeLeader() // its clock counts
	if err != nil {
		return err
	}
	s.Logf("the clock of %s jumps by %v", n.Name, by)
	if err := n.SetClock(by); err != nil {
		return err
	}
	s.Hold(s.Between(time.Second, 4*time.Second))
	s.Logf("the clock of %s is right again", n.Name)
	return errors.Join(n.SetClock(0), s.Back(n))
}
