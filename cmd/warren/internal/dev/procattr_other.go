//go:build unix && !linux

package dev

import "syscall"

// procAttr keeps a Ctrl-C on the terminal from the nodes: Run stops them. Only
// Linux can end them with a dev that was killed.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
