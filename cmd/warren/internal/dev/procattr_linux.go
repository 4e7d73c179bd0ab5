package dev

import "syscall"

// procAttr makes a node die when the thread that started it does, which lasts as
// long as Run (kill -9 of dev must not leave a cluster behind), and keeps a
// Ctrl-C on the terminal from the nodes: Run stops them.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
