package node

import (
	"errors"
	"testing"
	"time"

	"warren/fsm/command"
)

// aSnapshot is one that comes byte by byte, as the test lets it.
type aSnapshot struct {
	asked chan struct{} // somebody waits for the next byte
	next  chan error    // gives it, or ends the snapshot
}

func (s *aSnapshot) Local() (command.RecordReader, error) { return s, nil }
func (s *aSnapshot) Next() (command.Record, error)        { return command.Record{}, errors.New("no record") }
func (s *aSnapshot) Close() error                         { return nil }

func (s *aSnapshot) Read(p []byte) (int, error) {
	s.asked <- struct{}{}
	if err := <-s.next; err != nil {
		return 0, err
	}
	p[0] = 0
	return 1, nil
}

// TestAlive sees a node as alive that takes in a long snapshot, as long as that goes on. One that cannot be read is its end.
func TestAlive(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	n.Alive()
	snapshot := &aSnapshot{asked: make(chan struct{}), next: make(chan error)}
	restored := make(chan error, 1)
	go func() { restored <- n.replica.Restore(snapshot) }()
	<-snapshot.asked
	alive := make(chan struct{})
	go func() {
		n.Alive()
		close(alive)
	}()
	select {
	case <-alive:
		t.Error("a node whose snapshot does not come is alive")
	case <-time.After(5 * aliveLook):
	}
	snapshot.next <- nil
	<-snapshot.asked
	select {
	case <-alive:
	case <-time.After(time.Minute):
		t.Error("a node that takes in a snapshot is not alive")
	}
	unreadable := errors.New("it cannot be read")
	snapshot.next <- unreadable
	if err := <-restored; !errors.Is(err, unreadable) {
		t.Errorf("half a snapshot was taken: %v", err)
	}
	n.Alive()
	if err := n.Wait(); !errors.Is(err, unreadable) {
		t.Errorf("the node ends with %v", err)
	}
	if err := n.Close(t.Context()); !errors.Is(err, unreadable) {
		t.Errorf("closed with %v", err)
	}
}
