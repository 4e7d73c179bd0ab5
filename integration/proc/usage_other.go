//go:build !linux

package proc

import (
	"errors"
	"syscall"
)

// DieWithParent is for Linux only.
func DieWithParent() *syscall.SysProcAttr { return nil }

var errOnlyLinux = errors.New("known on Linux only")

// Memory is for Linux only.
func (p *Process) Memory() (now, peak int64, err error) { return 0, 0, errOnlyLinux }

// OpenFiles is for Linux only.
func (p *Process) OpenFiles() (int, error) { return 0, errOnlyLinux }
