package proc

import (
	"net"
	"os"
	"slices"
	"testing"
)

func TestOurselves(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	pids := Listeners([]string{l.Addr().String(), "192.0.2.1:80", "nonsense"})
	if !slices.Equal(pids, []int{os.Getpid()}) {
		t.Errorf("listeners %v, want %d", pids, os.Getpid())
	}
	for x := 0; Self() == 0; x++ { // until the clock has ticked
		_ = x * x
	}
	for c, err := CPU(os.Getpid()); c == 0; c, err = CPU(os.Getpid()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if r, err := Resident(os.Getpid()); err != nil || r < 1<<20 {
		t.Errorf("resident %d, %v", r, err)
	}
	if _, err := CPU(1 << 30); err == nil {
		t.Error("no error for a process that is not there")
	}
	if _, err := Resident(1 << 30); err == nil {
		t.Error("no error for a process that is not there")
	}
}
