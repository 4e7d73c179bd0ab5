package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// DieWithParent has the kernel end a child when the test process is gone, so
// that a test run that panics or is killed leaves no servers behind.
func DieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// Memory returns the resident memory of the process now and at its most, in bytes.
func (p *Process) Memory() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		for prefix, into := range map[string]*int64{"VmHWM:": &peak, "VmRSS:": &now} {
			value, ok := strings.CutPrefix(line, prefix)
			if !ok {
				continue
			}
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, 0, err
			}
			*into = kib << 10
		}
	}
	if peak == 0 {
		return 0, 0, fmt.Errorf("process %d has no resident memory", p.PID())
	}
	return now, peak, nil
}

// OpenFiles counts the file descriptors of the process.
func (p *Process) OpenFiles() (int, error) {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	return len(all), err
}
