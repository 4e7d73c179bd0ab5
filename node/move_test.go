package node

import (
	"fmt"
	"testing"
	"time"

	"warren/fsm/command"
)

// TestMovedBacklogLeavesMemory moves a backlog that is on disk, which takes few bytes of log: what was moved does not
// stay in memory.
func TestMovedBacklogLeavesMemory(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MessageMemory, cfg.SnapshotBytes = 1<<20, 4<<20
	n := start(t, cfg)
	defer stop(t, n)
	const count, size = 2000, 8 << 10
	propose := func(cmd command.Command) command.Result {
		t.Helper()
		r, err := broker{n}.Propose(t.Context(), cmd)
		if err != nil || r.Err != nil {
			t.Fatalf("%T: %v %v", cmd, err, r.Err)
		}
		return r
	}
	for _, name := range []string{"a", "b"} {
		propose(&command.QueueDeclare{VHost: "/", Name: name, Durable: true})
	}
	for range count {
		propose(&command.Publish{VHost: []byte("/"), Key: []byte("a"), Properties: []byte{0, 0}, Body: make([]byte, size)})
	}
	small := func(when string) {
		t.Helper()
		most := cfg.MessageMemory + cfg.SnapshotBytes
		for deadline := time.Now().Add(time.Minute); n.replica.MessageMemory() > most; {
			if time.Now().After(deadline) {
				t.Fatalf("%s messages take %d bytes of memory, want %d at most", when, n.replica.MessageMemory(), most)
			}
			time.Sleep(100 * time.Millisecond)
			propose(&command.Tick{}) // a node that only stands still takes no snapshot
		}
	}
	if err := n.cluster.Snapshot(); err != nil { // no log is left to ask for one
		t.Fatal(err)
	}
	small("at first")
	moved := 0
	for from := uint64(1); from != 0; {
		r := propose(&command.Move{VHost: "/", Queue: "a", From: from, Most: count, Target: "b"})
		moved, from = moved+int(r.Messages), r.Next
	}
	if moved != count {
		t.Fatal(fmt.Sprint(moved, " messages were moved"))
	}
	small("after a move")
}
