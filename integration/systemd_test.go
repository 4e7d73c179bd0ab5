package integration

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSystemd: what a node tells systemd, and the unit that is shipped.
func TestSystemd(t *testing.T) {
	skipWithPeer(t)
	c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 1, options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	socket := filepath.Join(c.dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	n := c.node(0)
	n.proc.Env = []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=100000"}
	n.start(t)
	await := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		eventually(t, "systemd hears "+want, func() error {
			if err := l.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			size, err := l.Read(buf)
			if err == nil && !strings.Contains(string(buf[:size]), want) {
				err = errors.New("it heard " + string(buf[:size]))
			}
			return err
		})
	}
	await("READY=1")
	await("STATUS=serves clients")
	for range 3 {
		await("WATCHDOG=1")
	}
	n.stop(t)
	await("STOPPING=1")

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze: the unit is not checked here")
		return
	}
	unit, err := os.ReadFile(filepath.Join(moduleRoot(), "deploy", "warren.service"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.dir, "warren.service")
	text := strings.ReplaceAll(string(unit), "/usr/bin/warren", executable(t, "warren"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), "warren.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
