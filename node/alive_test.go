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

// TestAlive sees a node as alive that takes in a long snapshot, as long as that goes on.
func TestAlive(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
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
	snapshot.next <- errors.New("it is enough")
	if err := <-restored; err == nil {
		t.Error("half a snapshot was taken")
	}
	n.Alive()
}
