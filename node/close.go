package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// closeTransfer, closeSessions and closeEpoch bound the steps of Close, so
	// that all of it stays well below the ten seconds that `docker stop` gives.
	closeTransfer = 3 * time.Second
	closeSessions = 3 * time.Second
	closeEpoch    = time.Second
)

// Close stops the node: leadership is handed over, clients are told (320), and
// what they held is given back to the cluster before the node goes.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	if n.closing {
		n.mu.Unlock()
		return errors.New("node is closing already")
	}
	n.closing = true
	n.mu.Unlock()
	n.log.Info("node is stopping")
	if err := n.failed(); err != nil {
		n.cluster.Fail(err) // it does not wait for what will not come
		n.closeHTTP()       // whoever asks for its health hears that it is gone
	}

	// No new clients.
	n.amqp.Close()
	if n.amqps != nil {
		n.amqps.Close()
	}
	// Leadership first: the others go on while our clients say good-bye.
	if n.cluster.IsLeader() {
		tctx, cancel := context.WithTimeout(ctx, closeTransfer)
		if err := n.cluster.TransferLeadership(tctx, ""); err != nil {
			n.log.Info("leadership was not handed over", "err", err)
		}
		cancel()
	}
	// Clients get 320; their sessions propose the end of what they held.
	n.stop()
	wait(ctx, closeSessions, &n.clients)
	n.replies.close()
	n.shortcuts.close()
	// The epoch ends here, not when somebody notices.
	if epoch := n.proposer.Epoch(); epoch != 0 {
		select {
		case <-n.removeEpoch(epoch):
		case <-time.After(closeEpoch):
		case <-ctx.Done():
		}
	}
	n.proposer.Close()
	err := n.cluster.Shutdown(ctx)
	n.closeHTTP()
	n.work.Wait()
	if err != nil {
		// Raft may still be at work on the files: they stay open.
		err = fmt.Errorf("close cluster: %w", err)
	} else if err = n.disk.Close(); err != nil {
		err = fmt.Errorf("close message store: %w", err)
	} else {
		n.log.Info("node stopped")
	}
	n.end(err)
	return err
}

func (n *Node) closeHTTP() {
	if n.http == nil {
		for _, l := range []net.Listener{n.web, n.webs, n.scrape} {
			if l != nil {
				l.Close()
			}
		}
		return
	}
	n.http.Close()
	if n.metricsHTTP != nil {
		n.metricsHTTP.Close()
	}
}

// abandon undoes a start that failed.
func (n *Node) abandon() {
	n.stop()
	for _, l := range []net.Listener{n.amqp, n.amqps, n.web, n.webs, n.scrape} {
		if l != nil {
			l.Close()
		}
	}
	n.replies.close()
	n.shortcuts.close()
	if n.proposer != nil {
		n.proposer.Close()
	}
	if n.disk != nil {
		if err := n.disk.Close(); err != nil {
			n.log.Error("close message store", "err", err)
		}
	}
	n.work.Wait()
}

// wait waits for wg, d at most.
func wait(ctx context.Context, d time.Duration, wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(d):
	case <-ctx.Done():
	}
}
