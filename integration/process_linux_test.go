package integration

import "syscall"

// dieWithParent has the kernel end a child when the test process is gone, so
// that a test run that panics or is killed leaves no servers behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
