//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/clients"
	"warren/integration/chaos/history"
	"warren/integration/proc"
)

// A Report is what a round came to.
type Report struct {
	Violations []string
	Counts     map[history.Kind]int
	Did        map[string]int // how often each workload went through
	Reconnects int
	Undecided  int // registers of which porcupine could not say anything in time
	// Silences are the longest times between two confirms that a client saw on a node that was not hurt, by step
	// of the plan.
	Silences []time.Duration
	Took     time.Duration
}

// A round is one round as it runs.
type round struct {
	c      *Cluster
	load   *clients.Load
	judges []*clients.Judge
	report Report
	stuck  bool // messages do not come, so it says nothing that they have not come
	logf   func(string, ...any)
}

// Round runs all workloads on a cluster that is well, has a plan happen to it, and judges. An error
// means that it could not be run to its end, which is a failure of the cluster too. What is needed to look into a failure is
// written to files whose names begin with keep.
func (c *Cluster) Round(prefix string, seed uint64, p plan, keep string) (Report, error) {
	stop, cancelStop := context.WithCancel(context.Background())
	leave, cancelLeave := context.WithCancel(context.Background())
	quit, cancelQuit := context.WithCancel(context.Background())
	defer cancelQuit()
	defer cancelLeave()
	defer cancelStop()
	c.unharmed()
	r := &round{c: c, load: clients.New(history.NewRecorder(), c.clientConfig(prefix, seed, stop, leave, quit))}
	r.logf = func(format string, args ...any) {
		r.load.Note(format, args...)
		c.logf("%6.2fs  "+format, append([]any{r.load.Now().Seconds()}, args...)...)
	}
	err := r.start()
	if err == nil {
		err = r.strike(p)
	}
	err = errors.Join(err, c.Heal())
	if err == nil {
		err = r.settle(cancelStop, cancelLeave, cancelQuit)
	}
	cancelStop()
	cancelLeave()
	cancelQuit()
	r.load.In.Wait()
	r.load.Out.Wait()
	r.judge(err == nil && !r.stuck)
	if err != nil || len(r.report.Violations) > 0 {
		err = errors.Join(err, r.write(keep))
	}
	return r.report, err
}

// start starts the workloads, and waits until messages flow.
func (r *round) start() error {
	end, err := r.c.noElection(r.logf)
	if err != nil {
		return err
	}
	for _, w := range clients.Workloads() {
		j, err := w.Start(r.load)
		if err != nil {
			return fmt.Errorf("start workload %s: %w", w.Name, err)
		}
		r.judges = append(r.judges, j)
	}
	return errors.Join(r.flows(200), r.elected(end()))
}

// elected takes what the end of a time without faults said.
func (r *round) elected(err error) error {
	if err != nil && !errors.Is(err, proc.ErrTimeout) {
		r.load.Complain("election", "%v", err)
		return nil
	}
	return err
}

// flows waits for some more confirms.
func (r *round) flows(more int) error {
	count := func() int {
		n := 0
		for _, e := range r.load.Events() {
			if e.Kind == history.Confirmed {
				n++
			}
		}
		return n
	}
	target := count() + more
	err := proc.WaitFor(proc.Patience, func() error {
		if n := count(); n < target {
			return fmt.Errorf("%d of %d confirms", n, target)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("messages flow: %w", err)
	}
	return nil
}

// strike lets the plan happen.
func (r *round) strike(p plan) error {
	r.load.TakeSilence(nil)
	for i, step := range p {
		r.logf("step %d: %v", i+1, plan{step})
		hurt, err := r.c.strike(r.load.Quit, step, r.logf)
		if err != nil {
			return fmt.Errorf("after a fault: %w", err)
		}
		if err := r.flows(100); err != nil {
			return err
		}
		r.report.Silences = append(r.report.Silences, r.load.TakeSilence(hurt))
	}
	return nil
}

// settle ends the workloads in order: what puts something in first, then what takes it out when
// nothing is left.
func (r *round) settle(stop, leave, quit func()) error {
	if err := r.c.WaitReady(); err != nil {
		return err
	}
	if err := r.c.waitVoters(); err != nil {
		return err
	}
	end, err := r.c.noElection(r.logf)
	if err != nil {
		return err
	}
	return errors.Join(r.calmEnd(stop, leave, quit), r.elected(end()))
}

// calmEnd is the part of settle in which nothing happens to the nodes any more.
func (r *round) calmEnd(stop, leave, quit func()) error {
	stop()
	if !ends(&r.load.In, patience) {
		r.load.Complain("answer", "clients that publish do not end, though all is mended")
		quit()
		return nil
	}
	r.logf("all published")
	if err := r.emptied(); err != nil {
		r.load.Complain("stuck", "%v", err)
		r.stuck = true
	}
	leave()
	if !ends(&r.load.Out, patience) {
		r.load.Complain("answer", "clients that consume do not end, though all is mended")
		quit()
		return nil
	}
	r.logf("all consumed")
	if err := r.removed(); err != nil {
		return err
	}
	return r.quiet()
}

// ends says whether clients end within a time.
func ends(clients *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit * proc.Slow):
		return false
	}
}

// emptied waits until nothing is left in any queue.
func (r *round) emptied() error {
	var queues []string
	for _, j := range r.judges {
		queues = append(queues, j.Queues...)
	}
	return proc.WaitFor(proc.Patience, func() error {
		all, err := r.depths()
		if err != nil {
			return err
		}
		for _, q := range queues {
			if n, ok := all[q]; !ok || n > 0 {
				return fmt.Errorf("queue %s (there: %v) holds %d messages", q, ok, n)
			}
		}
		return nil
	})
}

// depths are the messages of this round's queues, ready or not settled, as one node knows them.
func (r *round) depths() (map[string]int, error) {
	var list []struct {
		Name     string `json:"name"`
		Messages int    `json:"messages"`
	}
	node := r.c.Nodes()[0]
	if err := node.api.Get("/api/queues/"+url.PathEscape("/"), &list); err != nil {
		return nil, err
	}
	all := map[string]int{}
	for _, q := range list {
		if strings.HasPrefix(q.Name, r.load.Prefix+".") {
			all[q.Name] = q.Messages
		}
	}
	return all, nil
}

// removed deletes what the round made, and wants nothing else of it to be left.
func (r *round) removed() error {
	err := r.load.SetUp("remove queues", func(ch *amqp.Channel) error {
		for _, j := range r.judges {
			names := j.Queues
			if j.Litter != nil {
				names = slices.Concat(names, j.Litter.All())
			}
			for _, q := range names {
				if _, err := ch.QueueDelete(q, false, false, false); err != nil {
					return err
				}
			}
			for _, x := range j.Exchanges {
				if err := ch.ExchangeDelete(x, false, false); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	left := fmt.Errorf("nothing")
	err = proc.WaitFor(patience, func() error {
		all, err := r.depths()
		if err != nil {
			return err
		}
		if len(all) > 0 {
			left = fmt.Errorf("%v", slices.Sorted(maps.Keys(all)))
			return left
		}
		return nil
	})
	if err != nil {
		r.load.Complain("left over", "queues whose clients are gone: %v", left)
	}
	return nil
}

// judge checks the history. One that was cut short says nothing of what was lost.
func (r *round) judge(whole bool) {
	events := r.load.Events()
	r.report.Counts = map[history.Kind]int{}
	for _, e := range events {
		r.report.Counts[e.Kind]++
	}
	rules := map[string]history.Rules{}
	for _, j := range r.judges {
		maps.Copy(rules, j.Rules)
	}
	found := r.load.Violations()
	if !whole {
		for q, of := range rules {
			of.Final = false
			rules[q] = of
		}
	}
	found = append(found, history.Check(events, rules)...)
	for _, j := range r.judges {
		if whole && j.Check != nil {
			found = append(found, j.Check()...)
		}
		if j.Registers != nil {
			v := j.Registers()
			found = append(found, v.Violations...)
			r.report.Undecided += v.Undecided
		}
	}
	for _, v := range found {
		r.report.Violations = append(r.report.Violations, v.String())
	}
	r.report.Did = r.load.Did()
	for _, w := range clients.Workloads() {
		if whole && r.report.Did[w.Name] == 0 {
			r.report.Violations = append(r.report.Violations, fmt.Sprintf("idle: workload %q did nothing", w.Name))
		}
	}
	r.report.Reconnects = r.load.Reconnects()
	r.report.Took = r.load.Now()
}

// write keeps the history and what is wrong with it.
func (r *round) write(keep string) error {
	if err := os.MkdirAll(filepath.Dir(keep), 0o755); err != nil {
		return err
	}
	f, err := os.Create(keep + "-history.jsonl")
	if err != nil {
		return err
	}
	err = history.Write(f, r.load.Events())
	text := strings.Join(r.report.Violations, "\n") + "\n"
	return errors.Join(err, f.Close(), os.WriteFile(keep+"-violations.txt", []byte(text), 0o644))
}
