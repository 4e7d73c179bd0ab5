//go:build unix

// Package proc says what processes of this machine use: processor time and
// resident memory of this one and of others.
package proc

import (
	"syscall"
	"time"
)

// Self returns the processor time that this process has used (getrusage).
func Self() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
