package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestRelease makes the archive of this platform twice: the bytes are the same, the checksum is right, and what is in it runs and
// says its version.
func TestRelease(t *testing.T) {
	t.Parallel()
	skipWithPeer(t)
	platform := runtime.GOOS + "/" + runtime.GOARCH
	name := "warren-1.2.3-rc.1-" + strings.ReplaceAll(platform, "/", "-")
	var sums []string
	out := ""
	for range 2 {
		out = t.TempDir()
		cmd := exec.Command("go", "run", "./deploy/release", "-version", "v1.2.3-rc.1", "-out", out, "-platforms", platform)
		cmd.Dir = moduleRoot()
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		archive, err := os.ReadFile(filepath.Join(out, name+".tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, fmt.Sprintf("%x  %s.tar.gz\n", sha256.Sum256(archive), name))
		said, err := os.ReadFile(filepath.Join(out, "warren-1.2.3-rc.1-SHA256SUMS"))
		if err != nil || string(said) != sums[len(sums)-1] {
			t.Errorf("checksums: %v\n%s", err, said)
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds differ:\n%s%s", sums[0], sums[1])
	}
	if said, err := exec.Command("tar", "-xzf", filepath.Join(out, name+".tar.gz"), "-C", out).CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, said)
	}
	for _, file := range []string{"LICENSE", "README.md", "docs/operations.md", "completions/zsh/_warrenctl", "completions/fish/warren.fish"} {
		if info, err := os.Stat(filepath.Join(out, name, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if runtime.GOOS == "linux" {
		if _, err := os.Stat(filepath.Join(out, name, "warren.service")); err != nil {
			t.Error(err)
		}
	}
	for program, args := range map[string]string{"warren": "version", "warrenctl": "--version"} {
		said, err := exec.Command(filepath.Join(out, name, "bin", program), args).CombinedOutput()
		if err != nil || !strings.Contains(string(said), "1.2.3-rc.1") {
			t.Errorf("%s %s: %v %s", program, args, err, said)
		}
	}
}
