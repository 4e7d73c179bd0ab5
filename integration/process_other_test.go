//go:build !linux

package integration

import "syscall"

// dieWithParent: only Linux can tie a child's life to its parent's.
func dieWithParent() *syscall.SysProcAttr { return nil }

// peakMemory: only Linux tells.
func (n *node) peakMemory() (int64, error) { return 0, nil }
