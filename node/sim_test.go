package node

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"warren/integration/chaos/clients"
	"warren/integration/chaos/history"
)

// simSeeds is how many histories a plain test run has. Under the race detector each takes some ten times as long.
func simSeeds() uint64 {
	if raceDetector {
		return 8
	}
	return 60
}

// TestSim runs short histories of whole clusters and judges each; see DESIGN.md, "Histories in a bubble". Variables:
//
//	SIM_TIME=10m  run for so long, not a fixed number of histories
//	SIM_SEED=7    the first seed; default 1
//	SIM_RUNS=100  run the seed of SIM_SEED so often, and no other
//	SIM_FAULT=power  only faults with that in their names; SIM_NODES=5  so many nodes
//	SIM_AGAIN=20  run a seed that failed so often again, the first time with all logs
//	SIM_LOG=debug what the nodes log goes to the trace: debug, info (default), warn
//	SIM_DIR=dir   where traces of failures go; default: the system's directory for temporary files
func TestSim(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // a history leaves all of its memory behind
	r := newRunner(t)
	defer r.report()
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed, ok := r.next(); ok; seed, ok = r.next() {
				r.run(seed)
			}
		})
	}
	workers.Wait()
}

// A runner hands out seeds and gathers what comes of them.
type runner struct {
	t     *testing.T
	first uint64
	runs  int           // of the first seed only; 0: seeds follow one another
	limit time.Duration // 0: as many histories as simSeeds says
	again int           // how often a seed that failed is run once more, to see whether it fails again
	level slog.Level
	dir   string
	begun time.Time

	given atomic.Uint64

	mu     sync.Mutex
	done   int
	failed int
	events int
	did    map[string]int
}

func newRunner(t *testing.T) *runner {
	number := func(name string, usual uint64) uint64 {
		n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), fmt.Sprint(usual)), 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	r := &runner{
		t: t, first: number("SIM_SEED", 1), runs: int(number("SIM_RUNS", 0)), again: int(number("SIM_AGAIN", 20)), begun: time.Now(),
		dir: cmp.Or(os.Getenv("SIM_DIR"), os.TempDir()), did: map[string]int{},
	}
	var err error
	if r.limit, err = time.ParseDuration(cmp.Or(os.Getenv("SIM_TIME"), "0")); err != nil {
		t.Fatalf("SIM_TIME: %v", err)
	}
	if err := r.level.UnmarshalText([]byte(cmp.Or(os.Getenv("SIM_LOG"), "info"))); err != nil {
		t.Fatalf("SIM_LOG: %v", err)
	}
	return r
}

// mostFailed is after how many failures there are no more histories.
const mostFailed = 3

// next returns the seed of the next history.
func (r *runner) next() (uint64, bool) {
	n := r.given.Add(1) - 1
	r.mu.Lock()
	over := r.failed >= mostFailed
	r.mu.Unlock()
	switch {
	case over:
		return 0, false
	case r.runs > 0:
		return r.first, n < uint64(r.runs)
	case r.limit > 0:
		return r.first + n, time.Since(r.begun) < r.limit
	}
	return r.first + n, n < simSeeds()
}

// run runs a history, and when it breaks a promise keeps its trace and runs it some more times.
func (r *runner) run(seed uint64) {
	s, found := r.once(seed, r.level)
	r.mu.Lock()
	r.done++
	r.events += len(s.Events())
	for name, n := range s.Did() {
		r.did[name] += n
	}
	if len(found) > 0 {
		r.failed++
	}
	done := r.done
	r.mu.Unlock()
	if r.limit > 0 && done%1000 == 0 {
		r.t.Logf("%d histories, seed %d, %v", done, seed, time.Since(r.begun).Round(time.Second))
	}
	if len(found) == 0 {
		return
	}
	r.t.Errorf("seed %d: %s\ntrace: %s", seed, lines(found), r.keep(s, found, ""))
	if r.runs > 0 || r.again == 0 {
		return
	}
	failed := 0
	for range r.again {
		s, found := r.once(seed, slog.LevelDebug)
		if len(found) == 0 {
			continue
		}
		if failed++; failed == 1 {
			r.t.Logf("seed %d again: %s\ntrace: %s", seed, lines(found), r.keep(s, found, "-again"))
		}
	}
	r.t.Logf("seed %d failed in %d of %d more runs: SIM_SEED=%d SIM_RUNS=100 go test -run '^TestSim$' ./node", seed, failed, r.again, seed)
}

func lines(found []history.Violation) string {
	var b strings.Builder
	for i, v := range found {
		if i == 10 {
			fmt.Fprintf(&b, "\n\tand %d more", len(found)-i)
			break
		}
		fmt.Fprintf(&b, "\n\t%v", v)
	}
	return b.String()
}

// keep writes what happened to a file.
func (r *runner) keep(s *sim, found []history.Violation, what string) string {
	path := filepath.Join(r.dir, fmt.Sprintf("warren-sim-%d%s.jsonl", s.seed, what))
	f, err := os.Create(path)
	if err == nil {
		err = history.Write(f, s.Events())
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return err.Error()
	}
	return path
}

// standsStill is the real time after which a history counts as stuck: some 100 ms are usual.
const standsStill = 3 * time.Minute

// once runs one history in a bubble of its own, and judges it.
func (r *runner) once(seed uint64, level slog.Level) (s *sim, found []history.Violation) {
	stuck := time.AfterFunc(standsStill, func() {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		panic(fmt.Sprintf("sim: seed %d stands still", seed))
	})
	defer stuck.Stop()
	var judges []*clients.Judge
	left := inBubble(r.t, func() {
		s = newSim(seed, level)
		judges = s.play()
		// Goroutines of memberlist end by themselves, but nobody can wait for them.
		time.Sleep(time.Minute)
	})
	if left != "" {
		s.Complain("goroutines", "are left: %s", left)
	}
	found = s.Violations()
	rules := map[string]history.Rules{}
	for _, j := range judges {
		maps.Copy(rules, j.Rules)
		if j.Check != nil {
			found = append(found, j.Check()...)
		}
		if j.Registers != nil {
			v := j.Registers()
			found = append(found, v.Violations...)
			if v.Undecided > 0 {
				found = append(found, history.Violation{Check: "linearizable", Text: fmt.Sprintf("%d registers could not be decided", v.Undecided)})
			}
		}
	}
	return s, append(found, history.Check(s.Events(), rules)...)
}

// inBubble runs f in a bubble, and returns the stacks of the goroutines that are left in it.
func inBubble(t *testing.T, f func()) (left string) {
	var bubble string
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if text := fmt.Sprint(p); !strings.Contains(text, "blocked goroutines remain") {
			panic(p)
		}
		for _, g := range stacksOf(true) {
			if strings.Contains(strings.SplitN(g, "\n", 2)[0], bubble) {
				left += "\n" + g
			}
		}
	}()
	synctest.Test(t, func(*testing.T) {
		_, bubble, _ = strings.Cut(stacksOf(false)[0], "synctest ")
		bubble, _, _ = strings.Cut(bubble, ":") // bubble 7]
		f()
	})
	return left
}

// stacksOf returns the stacks of all goroutines, or of this one.
func stacksOf(all bool) []string {
	buf := make([]byte, 1<<20)
	return strings.Split(string(buf[:runtime.Stack(buf, all)]), "\n\n")
}

// play is a history from beginning to end.
func (s *sim) play() (judges []*clients.Judge) {
	defer s.end()
	defer s.quitNow()
	defer s.leaveNow()
	defer s.stopNow()
	s.Note("seed %d: %+v", s.seed, s.settings)
	if !s.form() {
		return nil
	}
	var queues []string
	for _, w := range s.drawWorkloads() {
		s.Note("workload: %s", w.Name)
		j, err := w.Start(s.Load)
		if err != nil {
			s.Complain("set up", "%v", err)
			return judges
		}
		judges = append(judges, j)
		queues = append(queues, j.Queues...)
	}
	harmed := make(chan struct{})
	go func() {
		defer close(harmed)
		s.harm()
	}()
	time.Sleep(s.load)
	s.stopNow()
	<-harmed
	s.mend()
	s.caughtUp()
	s.finish("clients that put something in", &s.In)
	s.drained(queues)
	s.leaveNow()
	s.finish("clients that take something out", &s.Out)
	s.sameState()
	return judges
}

// report says what was run.
func (r *runner) report() {
	took := time.Since(r.begun)
	r.t.Logf("%d histories from seed %d in %v, %.0f a minute; %d events", r.done, r.first, took.Round(time.Millisecond), float64(r.done)/took.Minutes(), r.events)
	for _, what := range slices.Sorted(maps.Keys(r.did)) {
		r.t.Logf("%6d %s", r.did[what], what)
	}
	for _, w := range clients.Workloads() {
		if r.limit == 0 && r.runs == 0 && !raceDetector && r.did[w.Name] == 0 {
			r.t.Errorf("workload %s did nothing", w.Name)
		}
	}
}
