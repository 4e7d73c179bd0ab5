package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"warren/integration/proc"
)

// TestMain runs the tests, then stops the clusters that they shared.
func TestMain(m *testing.M) {
	code := m.Run()
	stopShared(code != 0)
	for _, dir := range []string{programs.dir, tutorialGo.dir} {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "remove built programs:", err)
		}
	}
	os.Exit(code)
}

// programs are the binaries that the tests run, built when first asked for.
var programs struct {
	once sync.Once
	dir  string // ours to remove; empty with WARREN_BIN
	bin  string
	err  error
}

// executable returns the path of one of our own programs: warren, warrenctl or warrenperf.
func executable(t testing.TB, name string) string {
	t.Helper()
	programs.once.Do(buildPrograms)
	if programs.err != nil {
		t.Fatalf("build the server: %v", programs.err)
	}
	return filepath.Join(programs.bin, name)
}

func buildPrograms() {
	if programs.bin = os.Getenv("WARREN_BIN"); programs.bin != "" {
		return
	}
	programs.dir, programs.err = os.MkdirTemp("", "warren-bin-")
	programs.bin = programs.dir
	if programs.err == nil {
		programs.err = goBuild(programs.bin, "./cmd/warren", "./cmd/warrenctl", "./cmd/warrenperf")
	}
}

// goBuild builds packages of this module into dir.
func goBuild(dir string, packages ...string) error { return proc.Build(dir, packages...) }

// moduleRoot is the directory that holds go.mod.
func moduleRoot() string { return proc.ModuleRoot() }

// inCI says that this run must not skip anything.
func inCI() bool { return os.Getenv("CI") == "true" }

// needProgram finds an executable of the machine. Without it the test is skipped,
// in CI it fails.
func needProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	missing(t, "%s is not installed: %v", name, err)
	return ""
}

// havePika says whether a Python interpreter has the client library.
func havePika(python string) bool {
	return exec.Command(python, "-c", "import pika").Run() == nil
}

// missing ends a test whose surroundings lack something: a failure in CI, a skip
// with the reason elsewhere.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if inCI() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// peerURLs are the brokers to test instead of Warren; none as a rule.
func peerURLs() []string {
	list := os.Getenv("WARREN_TEST_PEER")
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// skipWithPeer skips a test that starts and stops server processes.
func skipWithPeer(t testing.TB) {
	t.Helper()
	if peerURLs() != nil {
		t.Skip("this test needs Warren's own processes, not a peer's")
	}
}

var errTimeout = proc.ErrTimeout
