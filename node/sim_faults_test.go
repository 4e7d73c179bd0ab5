package node

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"
)

// A fault is done to the cluster while clients are at work, and taken back after a while at the latest by mend.
type fault struct {
	name string
	do   func(s *sim, r *rand.Rand, m *member, d time.Duration)
}

// faults are all of them. m is whom they are done to, d how long they last.
var faults = []fault{
	{"crash", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		m.crash()
		sleep(s.Stop, d)
		m.start()
	}},
	{"crash and come back at once", func(_ *sim, _ *rand.Rand, m *member, _ time.Duration) {
		m.crash()
		m.start()
	}},
	{"power loss", func(s *sim, r *rand.Rand, _ *member, d time.Duration) {
		for _, m := range s.all() {
			m.crash()
		}
		sleep(s.Stop, d/2)
		for _, m := range s.all() {
			m.start()
			sleep(s.Stop, upTo(r, 50*time.Millisecond))
		}
	}},
	{"power loss while disks are slow", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		slow, fast := []*member{m}, []*member(nil)
		for _, o := range s.others(m) {
			if r.IntN(2) == 0 {
				slow = append(slow, o)
			} else {
				fast = append(fast, o)
			}
		}
		s.hurt(slow...)
		for _, o := range slow {
			o.slow.Store(int64(10*time.Millisecond + upTo(r, 200*time.Millisecond)))
		}
		sleep(s.Stop, upTo(r, d))
		for _, o := range s.all() {
			o.crash()
		}
		for _, o := range slow {
			o.slow.Store(int64(s.write))
			o.start()
		}
		for _, o := range fast { // those that have more come back later
			sleep(s.Stop, upTo(r, time.Second))
			o.start()
		}
	}},
	{"power loss, and the leader comes back last", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		if l := s.leader(); l != nil {
			m = l
		}
		others := s.others(m)
		s.hurt(others...)
		for _, o := range others { // what they have answered has to be on disks that take their time
			o.slow.Store(int64(10*time.Millisecond + upTo(r, 100*time.Millisecond)))
		}
		sleep(s.Stop, upTo(r, d))
		for _, o := range s.all() {
			o.crash()
		}
		for _, o := range others {
			o.slow.Store(int64(s.write))
			o.start()
		}
		time.Sleep(2 * time.Second)
		m.start()
	}},
	{"stop", func(s *sim, _ *rand.Rand, m *member, d time.Duration) {
		m.shutDown()
		sleep(s.Stop, d)
		m.start()
	}},
	{"cut off", func(s *sim, _ *rand.Rand, m *member, d time.Duration) {
		for _, o := range s.others(m) {
			s.net.Partition([]string{m.ip}, []string{o.ip})
		}
		s.hurt(m)
		sleep(s.Stop, d)
		s.net.Heal()
	}},
	{"minority", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		rest := s.others(m)
		r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		few := (len(rest) - 1) / 2
		if few < 0 {
			return
		}
		group := append([]*member{m}, rest[:few]...)
		for _, a := range group {
			for _, b := range rest[few:] {
				s.net.Partition([]string{a.ip}, []string{b.ip})
			}
		}
		s.hurt(group...)
		sleep(s.Stop, d)
		s.net.Heal()
	}},
	{"cut off, and crash", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		for _, o := range s.others(m) {
			s.net.Partition([]string{m.ip}, []string{o.ip})
		}
		s.hurt(m)
		sleep(s.Stop, upTo(r, d))
		m.crash()
		sleep(s.Stop, upTo(r, d))
		m.start()
		s.net.Heal()
	}},
	{"one way", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		out := r.IntN(2) == 0
		for _, o := range s.others(m) {
			if out {
				s.net.Cut(m.ip, o.ip)
			} else {
				s.net.Cut(o.ip, m.ip)
			}
		}
		s.hurt(m)
		sleep(s.Stop, d)
		s.net.Heal()
	}},
	{"one link", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		if others := s.others(m); len(others) > 0 {
			o := others[r.IntN(len(others))]
			s.net.Partition([]string{m.ip}, []string{o.ip})
			s.hurt(m, o)
			sleep(s.Stop, d)
			s.net.Heal()
		}
	}},
	{"resets", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		if s.trailing < 4<<10 { // so little that who has missed something may get a snapshot
			s.hurt(s.all()...)
		}
		for range 1 + r.IntN(5) {
			for _, o := range s.others(m) {
				s.net.Reset(m.ip, o.ip)
			}
			sleep(s.Stop, upTo(r, d/4))
		}
	}},
	{"delays", func(s *sim, r *rand.Rand, _ *member, d time.Duration) {
		s.hurt(s.all()...)
		before := s.late.Swap(int64(5*time.Millisecond + upTo(r, 80*time.Millisecond)))
		sleep(s.Stop, d)
		s.late.Store(before)
	}},
	{"lost packets", func(s *sim, r *rand.Rand, _ *member, d time.Duration) {
		var mu sync.Mutex
		s.net.Drop(func(string, string) bool {
			mu.Lock()
			defer mu.Unlock()
			return r.IntN(3) == 0
		})
		sleep(s.Stop, d)
		s.net.Drop(nil)
	}},
	{"slow disk", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		s.hurt(m)
		before := m.slow.Swap(int64(10*time.Millisecond + upTo(r, 500*time.Millisecond)))
		sleep(s.Stop, d)
		m.slow.Store(before)
	}},
	{"slow disk, and crash", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		s.hurt(m)
		before := m.slow.Swap(int64(10*time.Millisecond + upTo(r, 200*time.Millisecond)))
		sleep(s.Stop, upTo(r, d))
		m.crash()
		m.slow.Store(before)
		sleep(s.Stop, upTo(r, d))
		m.start()
	}},
	{"leadership", func(s *sim, r *rand.Rand, _ *member, d time.Duration) {
		for range 1 + r.IntN(4) {
			if l := s.leader(); l != nil {
				n := l.running()
				if n == nil {
					continue
				}
				ctx, cancel := context.WithTimeout(s.Stop, time.Second)
				if err := n.cluster.TransferLeadership(ctx, ""); err != nil {
					s.Note("transfer: %v", err)
				}
				cancel()
			}
			sleep(s.Stop, upTo(r, d/4))
		}
	}},
	{"clock", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		steps := []time.Duration{-time.Hour, -5 * time.Second, -100 * time.Millisecond, 100 * time.Millisecond, 5 * time.Second, time.Hour}
		m.offset.Store(steps[r.IntN(len(steps))].Milliseconds())
		sleep(s.Stop, d)
		m.offset.Store(0)
	}},
	{"snapshots", func(s *sim, r *rand.Rand, m *member, d time.Duration) {
		for range 1 + r.IntN(4) {
			if n := m.running(); n != nil {
				if err := n.cluster.Snapshot(); err != nil {
					s.Note("snapshot: %v", err)
				}
			}
			sleep(s.Stop, upTo(r, d/4))
		}
	}},
	{"grow", func(s *sim, _ *rand.Rand, _ *member, _ time.Duration) { s.add(s.addresses(), 1).start() }},
	{"replace", func(s *sim, _ *rand.Rand, m *member, d time.Duration) {
		if len(s.all()) < 3 {
			return
		}
		m.crash()
		s.replace(m, d)
	}},
}

func (s *sim) addresses() []string {
	var all []string
	for _, m := range s.all() {
		all = append(all, m.addr())
	}
	return all
}

func (s *sim) others(m *member) []*member {
	var others []*member
	for _, o := range s.all() {
		if o != m {
			others = append(others, o)
		}
	}
	return others
}

// hurt notes that clients of members may notice what is done.
func (s *sim) hurt(members ...*member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range members {
		m.hurt = true
	}
}

// replace takes a member that has crashed out of the cluster, and lets a new one come in its place.
func (s *sim) replace(m *member, d time.Duration) {
	gone := false
	for end := time.Now().Add(d + 3*time.Second); !gone && s.Stop.Err() == nil && time.Now().Before(end); sleep(s.Stop, 50*time.Millisecond) {
		for _, o := range s.others(m) {
			n := o.running()
			if n == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(s.Stop, time.Second)
			err := n.cluster.Remove(ctx, m.id)
			cancel()
			if gone = err == nil; gone {
				break
			}
			s.Note("remove %s: %v", m.name(), err)
		}
	}
	if !gone {
		return // it comes back, if the cluster still knows it
	}
	s.remove(m)
	s.add(s.addresses(), 1).start()
}

// drawFault chooses one, of those that SIM_FAULT names a part of.
func (s *sim) drawFault(r *rand.Rand) fault {
	for {
		if f := faults[r.IntN(len(faults))]; strings.Contains(f.name, os.Getenv("SIM_FAULT")) {
			return f
		}
	}
}

// harm does what the seed chooses, one fault after another or two at a time, until the load stops.
func (s *sim) harm() {
	var wg sync.WaitGroup
	for range s.settings.faults {
		r := s.source()
		sleep(s.Stop, upTo(r, s.load/2))
		f := s.drawFault(r)
		members := s.all()
		m := members[r.IntN(len(members))]
		if l := s.leader(); l != nil && r.IntN(2) == 0 {
			m = l
		}
		d := 20*time.Millisecond + upTo(r, 1000*time.Millisecond)
		s.Note("%s: %s, for %v", f.name, m.name(), d)
		s.Done("fault: " + f.name)
		work := func() {
			f.do(s, r, m, d)
			s.Note("%s: %s: done", f.name, m.name())
		}
		if r.IntN(3) == 0 {
			wg.Go(work)
		} else {
			work()
		}
	}
	wg.Wait()
}
