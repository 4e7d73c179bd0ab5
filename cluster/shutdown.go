package cluster

import (
	"context"
	"errors"
	"time"
)

// Shutdown stops the node. A leader hands leadership over first, as long as
// Timing.Transfer and ctx allow. Batches without an answer get one. When ctx ends
// before all is done, the node stops without waiting for them any longer. Later
// calls wait for the first and return what it returned.
func (c *Cluster) Shutdown(ctx context.Context) error {
	c.closing.Do(func() {
		c.closeErr = c.shutdown(ctx, true)
		close(c.closed)
	})
	<-c.closed
	return c.closeErr
}

// Fail says that the owner cannot go on, as after OnFail: nothing is confirmed or applied any more,
// and Shutdown waits for no answers and not long for the disk.
func (c *Cluster) Fail(err error) { _ = c.stores.disk.fail(err) }

// Kill stops the node as a crash would look to the others, though it answers its
// callers and closes its files: no leadership is handed over, nobody is told. It
// is for tests.
func (c *Cluster) Kill() error {
	c.closing.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.closeErr = c.shutdown(ctx, false)
		close(c.closed)
	})
	<-c.closed
	return c.closeErr
}

// drainTime bounds how long a killed node waits for Raft's answers: a leader
// that hears nobody steps down after its lease.
const drainTime = 2 * time.Second

// shutdown stops everything, from the outside inwards.
func (c *Cluster) shutdown(ctx context.Context, polite bool) error {
	// After a failure of the disk nothing in flight will be answered.
	polite = polite && c.stores.disk.failure() == nil
	if polite {
		c.handOver(ctx)
	}
	// No batch enters from here on. The callers of those in flight hear from Raft,
	// which still runs, when it commits them or steps down.
	c.proposals.stop()
	drained := c.submitter.stop()
	if polite {
		select {
		case <-drained:
		case <-ctx.Done():
		}
		c.gossip.leave()
	}
	c.cancel()
	c.gossip.close()
	err := c.mux.Close()
	c.peers.close()
	if !c.bounded(c.wg.Wait) {
		return errors.Join(err, errStuck)
	}
	c.notices.close()
	c.transport.CloseStreams()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-drained:
		c.proposals.wait()
	case <-timer.C:
		// The state machine stands still, most likely: its batches stay unanswered.
		c.log.Error("stopping although batches are on their way through the state machine")
	}
	var closing error
	if !c.bounded(func() { closing = errors.Join(c.raftNow().Shutdown().Error(), c.saveBook(), c.stores.Close()) }) {
		return errors.Join(err, errStuck)
	}
	c.log.Info("cluster node is down")
	return errors.Join(err, closing)
}

// errStuck is the error of a shutdown that could not wait for the disk. Nothing is lost by
// it: what was confirmed is on disk.
var errStuck = errors.New("files stay open, as the disk does not answer")

// bounded does what may wait for the disk, and reports whether it came to its end. It
// always does, unless the disk has failed: one that stands still holds up nobody for long.
func (c *Cluster) bounded(f func()) bool {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	if c.stores.disk.failure() == nil {
		<-done
		return true
	}
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
