package main

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackup(t *testing.T) {
	content := strings.Repeat("an image of a cluster ", 10_000)
	sum := sha256.Sum256([]byte(content))
	whole := content + string(sum[:])
	f := newFake(t, answers{"GET /api/backup": {200, whole}})
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	f.expect(t, []string{"backup", file}, 0, "Writing a backup of the cluster to \""+file+"\" ...\n", "220032 bytes, checksum right.\n")
	if b, err := os.ReadFile(file); err != nil || string(b) != whole {
		t.Errorf("%d bytes in the file: %v", len(b), err)
	}
	// What an earlier one left behind, readable for all, does not become the backup.
	if err := os.WriteFile(file+".part", []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.expect(t, []string{"backup", "-q", file}, 0, "", "")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has hashes of passwords, and mode %v: %v", info.Mode(), err)
	}
	if err := os.RemoveAll(file + ".part"); err != nil {
		t.Fatal(err)
	}
	f.expect(t, []string{"backup", "-q", "-"}, 0, whole, "")
	f.expect(t, []string{"backup", "-q", filepath.Join(file, "x")}, 65, "", "Error: could not write to file "+filepath.Join(file, "x")+": not a directory\n")

	for what, body := range map[string]string{"changed": "A" + whole[1:], "cut": whole[:len(whole)-1], "empty": ""} {
		f := newFake(t, answers{"GET /api/backup": {200, body}})
		code, _, errs := run("-n", f.URL, "backup", "-q", file+what)
		if code != 70 || !strings.Contains(errs, "came damaged") {
			t.Errorf("%s: exit code %d, %s", what, code, errs)
		}
	}
	for status, want := range map[int]struct {
		code int
		text string
	}{409: {65, "running already"}, 503: {69, "no leader"}, 401: {77, "refused"}} {
		f := newFake(t, answers{"GET /api/backup": {status, `{"error":"not_authorised","reason":"` + want.text + `"}`}})
		code, _, errs := run("-n", f.URL, "backup", "-q", file+"none")
		if code != want.code || !strings.Contains(errs, want.text) {
			t.Errorf("%d: exit code %d, %s", status, code, errs)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("files left: %v, %v", entries, err)
	}
}
