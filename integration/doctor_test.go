package integration

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"warren/integration/proc"
)

// TestDoctor asks for what is wrong: beside a node that runs, before one that would join it, with another secret, on a
// port that is taken, and with a damaged file.
func TestDoctor(t *testing.T) {
	const secret = "0123456789abcdefghij"
	c := startClusterWith(t, 1, options{args: []string{"--cluster-secret", secret}})
	n := c.node(0)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	newcomer := []string{"--data-dir", dir, "--amqp-addr", freeAddr(), "--http-addr", freeAddr(), "--cluster-addr", freeAddr(), "--metrics-addr", "", "--join", n.clust}

	failed, found := doctor(t, n, n.args[1:]...)
	if failed || !strings.Contains(found["data-dir"], "a node runs on it") || !strings.Contains(found["ports"], "the node that runs here") {
		t.Errorf("beside the node: failed %v, %v", failed, found)
	}
	failed, found = doctor(t, n, append(newcomer, "--cluster-secret", secret)...)
	if failed || !strings.Contains(found["peers"], "ok "+n.clust+" answers, and takes the secret") || !strings.Contains(found["ports"], "all are free") ||
		!strings.Contains(found["disk"], "an fsync takes") || !strings.Contains(found["files"], "may be open") {
		t.Errorf("before another one: failed %v, %v", failed, found)
	}
	failed, found = doctor(t, n, append(newcomer, "--cluster-secret", "another-secret-0123456789")...)
	if !failed || !strings.Contains(found["peers"], "fail "+n.clust+" has another cluster secret") {
		t.Errorf("with another secret: failed %v, %v", failed, found)
	}
	failed, found = doctor(t, n, newcomer...)
	if !failed || !strings.Contains(found["peers"], "fail "+n.clust+" has another cluster secret") {
		t.Errorf("with none: failed %v, %v", failed, found)
	}
	if err := os.MkdirAll(filepath.Join(dir, "cluster"), 0o750); err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile(filepath.Join(n.dir, "node-id"))
	if err == nil {
		err = errors.Join(os.WriteFile(filepath.Join(dir, "node-id"), id, 0o600),
			os.WriteFile(filepath.Join(dir, "cluster", "formation.json"), []byte(`{"node": "x`), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	failed, found = doctor(t, n, append(newcomer, "--cluster-secret", secret, "--amqp-addr", n.amqp)...)
	if !failed || !strings.Contains(found["ports"], n.amqp+" (tcp) is taken") || !strings.Contains(found["data-dir"], "formation.json") {
		t.Errorf("with a port that is taken and a damaged file: failed %v, %v", failed, found)
	}
	failed, found = doctor(t, n, "--expect", "3")
	if !failed || !strings.Contains(found["settings"], "join is empty") {
		t.Errorf("with settings that are refused: failed %v, %v", failed, found)
	}
	// The cluster took no harm from the visits.
	n.waitReady(t)
	if info, err := n.info(); err != nil || len(info.Members) != 1 {
		t.Errorf("members: %+v (%v)", info.Members, err)
	}
}

// doctor runs `warren doctor --json` and returns whether something but the disk failed, and what was found, by check.
func doctor(t *testing.T, n *node, args ...string) (failed bool, found map[string]string) {
	t.Helper()
	cmd := exec.Command(n.bin, append([]string{"doctor", "--json"}, args...)...)
	cmd.Env = proc.WithoutSettings(os.Environ())
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	var doc struct {
		Findings []struct{ Check, Level, Text, Next string }
		Failed   int
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	found = map[string]string{}
	for _, f := range doc.Findings {
		found[f.Check] += f.Level + " " + f.Text + "\n"
		failed = failed || f.Level == "fail" && f.Check != "disk" // a disk that others use may be slow
		if (f.Next == "") != (f.Level == "ok") {
			t.Errorf("what to do next about %+v is missing, or needless", f)
		}
	}
	if (doc.Failed > 0) != (err != nil) {
		t.Errorf("%d failed, exit: %v", doc.Failed, err)
	}
	return failed, found
}
