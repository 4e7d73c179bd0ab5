//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A Fault is something bad that can happen to a cluster. All are in the list of faults().
type Fault interface {
	Name() string
	// Mixes says that the fault may happen at the same time as another one that mixes.
	Mixes() bool
	// Strike lets it happen, holds it for a while, and mends it. It returns when the nodes that it hurt serve again, and
	// gives an error when they do not, or when the fault itself could not be done. What it
	// chooses comes from s.Random, so that it can be had again.
	Strike(ctx context.Context, s *Strike) error
}

// A Strike is one time that a fault happens.
type Strike struct {
	*Cluster
	Random *rand.Rand
	// Logf writes into the history and the test's log.
	Logf func(format string, args ...any)

	taken *takings
	mine  []*Node
	ctx   context.Context
}

// faults are all that can happen.
func faults() []Fault {
	return slices.Concat(processFaults(), linkFaults(), memberFaults(), clockFaults(), diskFaults(), damageFaults(),
		[]Fault{calm})
}

// takings are the nodes that a strike of one step hurts: no other one takes them meanwhile.
type takings struct {
	mu    sync.Mutex
	nodes map[*Node]bool
	hurt  map[string]bool // names of all that were taken

	lossy sync.Mutex // see losesData
}

// errBusy says that no node is left to hurt, which is no failure.
var errBusy = errors.New("every node is hurt already")

// take takes a node that is not taken, the first that is fit.
func (s *Strike) take(candidates []*Node) (*Node, error) {
	s.taken.mu.Lock()
	defer s.taken.mu.Unlock()
	for _, n := range candidates {
		if !s.taken.nodes[n] {
			s.taken.nodes[n], s.taken.hurt[n.Name] = true, true
			s.harm(n)
			s.mine = append(s.mine, n)
			return n, nil
		}
	}
	return nil, errBusy
}

// losesData waits until no other strike has a node without its data, and returns what ends the time in which this one
// has: a majority has to keep theirs.
func (s *Strike) losesData() (end func()) {
	s.taken.lossy.Lock()
	return s.taken.lossy.Unlock
}

// release gives back what the strike has taken.
func (s *Strike) release() {
	s.taken.mu.Lock()
	defer s.taken.mu.Unlock()
	for _, n := range s.mine {
		delete(s.taken.nodes, n)
	}
	s.mine = nil
}

// TakeLeader takes the leader, or another node when that is taken.
func (s *Strike) TakeLeader() (*Node, error) {
	leader, err := s.Leader()
	if err != nil {
		return nil, err
	}
	return s.take(append([]*Node{leader}, s.shuffled(leader)...))
}

// TakeFollower takes a node that does not lead.
func (s *Strike) TakeFollower() (*Node, error) {
	leader, err := s.Leader()
	if err != nil {
		return nil, err
	}
	return s.take(append(s.shuffled(leader), leader))
}

// Take takes any node.
func (s *Strike) Take() (*Node, error) { return s.take(s.shuffled()) }

// TakeMinority takes as many nodes as a cluster can do without.
func (s *Strike) TakeMinority() ([]*Node, error) {
	var all []*Node
	for range (len(s.Nodes()) - 1) / 2 {
		n, err := s.Take()
		if err != nil {
			return all, err
		}
		all = append(all, n)
	}
	return all, nil
}

// shuffled are all nodes but some, in an order by chance.
func (s *Strike) shuffled(not ...*Node) []*Node {
	nodes := s.others(not...)
	s.Random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

// Between chooses a time.
func (s *Strike) Between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.Random.Int64N(int64(most-least)+1))
}

// Hold lets time go by, unless the run is over.
func (s *Strike) Hold(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

// Back waits until a node that was hurt serves again.
func (s *Strike) Back(nodes ...*Node) error {
	return s.waitReady(nodes)
}

// fault is a Fault made of a function.
type fault struct {
	name   string
	mixes  bool
	strike func(s *Strike) error
}

func (f fault) Name() string { return f.name }
func (f fault) Mixes() bool  { return f.mixes }
func (f fault) Strike(ctx context.Context, s *Strike) error {
	s.ctx = ctx
	return f.strike(s)
}

// A plan is the faults of one round: steps one after the other, each of one fault or of
// several at once.
type plan [][]planned

type planned struct {
	fault Fault
	seed  uint64 // of what it chooses
	after time.Duration
}

func (p plan) String() string {
	text := ""
	for i, step := range p {
		if i > 0 {
			text += ", then "
		}
		for j, f := range step {
			if j > 0 {
				text += " + "
			}
			text += f.fault.Name()
		}
	}
	return text
}

// makePlan chooses the faults of a round. It follows from the seed, the number of the round and
// the faults there are.
func makePlan(seed uint64, round int, faults []Fault) plan {
	random := rand.New(rand.NewPCG(seed, uint64(round)))
	var mixing []Fault
	for _, f := range faults {
		if f.Mixes() {
			mixing = append(mixing, f)
		}
	}
	choose := func(from []Fault) planned {
		return planned{
			fault: from[random.IntN(len(from))], seed: random.Uint64(),
			after: time.Duration(random.IntN(1000)) * time.Millisecond,
		}
	}
	// All faults come about before one comes again, in another order each time.
	const each = 2
	var p plan
	for position := (round - 1) * each; position < round*each; position++ {
		pass := uint64(position / len(faults))
		order := rand.New(rand.NewPCG(seed, ^pass)).Perm(len(faults))
		first := choose(faults)
		first.fault = faults[order[position%len(faults)]]
		step := []planned{first}
		if first.fault.Mixes() && random.IntN(3) == 0 {
			step = append(step, choose(mixing))
		}
		p = append(p, step)
	}
	return p
}

// strike lets the faults of a step happen, and returns the names of the nodes that were hurt by
// themselves: not those of which only links were.
func (c *Cluster) strike(ctx context.Context, step []planned, logf func(string, ...any)) (map[string]bool, error) {
	taken := &takings{nodes: map[*Node]bool{}, hurt: map[string]bool{}}
	errs := make([]error, len(step))
	var work sync.WaitGroup
	for i, f := range step {
		work.Go(func() {
			s := &Strike{Cluster: c, Random: rand.New(rand.NewPCG(f.seed, 0)), Logf: logf, taken: taken, ctx: ctx}
			if i > 0 {
				s.Hold(f.after)
			}
			defer s.release()
			if err := f.fault.Strike(ctx, s); err != nil && !errors.Is(err, errBusy) {
				errs[i] = fmt.Errorf("%s: %w", f.fault.Name(), err)
			}
		})
	}
	work.Wait()
	return taken.hurt, errors.Join(errs...)
}

// named returns the faults with some names; with none, all.
func named(all []Fault, names []string) ([]Fault, error) {
	if len(names) == 0 {
		return all, nil
	}
	var some []Fault
	for _, name := range names {
		i := slices.IndexFunc(all, func(f Fault) bool { return f.Name() == name })
		if i < 0 {
			text := ""
			for _, f := range all {
				text += "\n  " + f.Name()
			}
			return nil, fmt.Errorf("no fault is called %q; there are:%s", name, text)
		}
		some = append(some, all[i])
	}
	return some, nil
}
