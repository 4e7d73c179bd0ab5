//go:build !linux

package proc

import "syscall"

// DieWithParent: only Linux can tie a child's life to its parent's.
func DieWithParent() *syscall.SysProcAttr { return nil }

// Memory is known on Linux only; elsewhere it is 0.
func (p *Process) Memory() (now, peak int64, err error) { return 0, 0, nil }

// OpenFiles is known on Linux only; elsewhere it is 0.
func (p *Process) OpenFiles() (int, error) { return 0, nil }
