//go:build linux

package faultdisk

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disk mounts one for a test.
func disk(t *testing.T) *Disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("mounting needs root")
	}
	dir := t.TempDir()
	d, err := Mount(filepath.Join(dir, "disk"), filepath.Join(dir, "files"))
	if err != nil {
		t.Fatalf("this needs /dev/fuse: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// sh has a shell do something in the directory.
func (d *Disk) sh(line string) (string, error) {
	out, err := exec.Command("sh", "-c", "cd "+d.Dir+" && "+line).CombinedOutput()
	return string(out), err
}

func (d *Disk) want(t *testing.T, what, line, text string) {
	t.Helper()
	if out, err := d.sh(line); err != nil || out != text {
		t.Errorf("%s: %s: %q, %v, want %q", what, line, out, err, text)
	}
}

func (d *Disk) wantErr(t *testing.T, what, line, text string) {
	t.Helper()
	if out, err := d.sh(line); err == nil || !strings.Contains(out, text) {
		t.Errorf("%s: %s: %q, %v, want the error %q", what, line, out, err, text)
	}
}

const (
	writes = "dd if=/dev/zero of=f bs=4k count=1 conv=notrunc status=none" // without a sync
	syncs  = "sync f"
	reads  = "dd if=f of=/dev/null bs=4k status=none"
)

// TestHealthy: files and directories are as anywhere, and are in the other directory.
func TestHealthy(t *testing.T) {
	d := disk(t)
	d.want(t, "well", "mkdir a && echo hello > a/f && cat a/f && mv a/f a/g && truncate -s 3 a/g && cat a/g && sync a/g a", "hello\nhel")
	if b, err := os.ReadFile(filepath.Join(d.Files, "a", "g")); err != nil || string(b) != "hel" {
		t.Errorf("%q, %v", b, err)
	}
	// What changes below is seen at once.
	if err := os.WriteFile(filepath.Join(d.Files, "a", "g"), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.want(t, "changed below", "cat a/g; rm a/g; rmdir a; ls", "other")
	if met := d.Met(); met != 0 {
		t.Errorf("%d operations met a trouble", met)
	}
}

// TestErrors: operations fail as long as they are meant to, and those alone.
func TestErrors(t *testing.T) {
	d := disk(t)
	d.want(t, "well", writes+" && "+reads+" && echo x > other.db", "")
	all := map[string]string{"writes": writes, "syncs": syncs, "reads": reads}
	for _, c := range []struct {
		fails   string
		trouble Trouble
	}{
		{"writes", Trouble{WriteErr: syscall.EIO}},
		{"syncs", Trouble{SyncErr: syscall.EIO}},
		{"reads", Trouble{ReadErr: syscall.EIO}},
	} {
		c.trouble.Only = func(path string) bool { return path == "f" }
		d.Set(c.trouble)
		for what, line := range all {
			if what == c.fails {
				d.wantErr(t, c.fails+" fail", line, "Input/output error")
			} else {
				d.want(t, c.fails+" fail", line, "")
			}
		}
		d.want(t, "a file that it does not concern", "cat other.db && echo y > other.db && sync other.db && echo x > other.db", "x\n")
		if met := d.Heal(); met == 0 {
			t.Errorf("%s fail: nothing met it", c.fails)
		}
		for _, line := range all {
			d.want(t, "well again", line, "")
		}
	}
}

// TestFull: what has its place is written, nothing else is.
func TestFull(t *testing.T) {
	d := disk(t)
	d.want(t, "well", "fallocate -l 1M f", "")
	d.Set(Trouble{Full: true})
	d.want(t, "full", writes+" && "+syncs, "")
	const full = "No space left on device"
	d.wantErr(t, "full", "touch g", full)
	d.wantErr(t, "full", "mkdir g", full)
	d.wantErr(t, "full", "fallocate -l 2M f", full)
	d.wantErr(t, "full", "dd if=/dev/zero of=f bs=4k count=1 seek=10000 conv=notrunc status=none", full)
	d.want(t, "full", "df --output=avail . | tail -1 | tr -d ' '", "0\n")
	d.Set(Trouble{GrowErr: syscall.EDQUOT})
	d.want(t, "no room that it knows of", writes+" && df --output=avail . | tail -1 | tr -d ' ' | grep -v '^0$' >/dev/null", "")
	d.wantErr(t, "no room that it knows of", "touch g", "Disk quota exceeded")
	d.Heal()
	d.want(t, "room again", "mkdir g && touch g/h && fallocate -l 2M f", "")
}

// TestStalls: nobody is answered before the trouble is over, and everybody then.
func TestStalls(t *testing.T) {
	d := disk(t)
	d.want(t, "well", writes, "")
	for what, line := range map[string]string{"writes": writes, "syncs": syncs, "reads": reads} {
		d.Set(Trouble{Stalls: true})
		done := make(chan error, 1)
		go func() {
			_, err := d.sh(line)
			done <- err
		}()
		for d.Met() == 0 {
			time.Sleep(time.Millisecond)
		}
		select {
		case err := <-done:
			t.Errorf("%s do not wait: %v", what, err)
			continue
		case <-time.After(50 * time.Millisecond):
		}
		d.Heal()
		if err := <-done; err != nil {
			t.Errorf("%s after a stall: %v", what, err)
		}
	}
}

// TestEnds: a process that waits for a disk ends when the disk is taken away.
func TestEnds(t *testing.T) {
	d := disk(t)
	d.want(t, "well", writes, "")
	d.Set(Trouble{Stalls: true})
	cmd := exec.Command("sh", "-c", "cd "+d.Dir+" && exec "+reads)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for d.Met() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := syscall.Unmount(d.Dir, syscall.MNT_FORCE); err == nil {
		t.Error("it was unmounted under a process")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it had what it waited for")
	}
	d.Heal()
}

// TestSlow: a sync takes as long as it is to take.
func TestSlow(t *testing.T) {
	d := disk(t)
	d.want(t, "well", writes, "")
	const takes = 100 * time.Millisecond
	d.Set(Trouble{SyncTakes: takes})
	began := time.Now()
	d.want(t, "slow", syncs, "")
	if took := time.Since(began); took < takes {
		t.Errorf("a sync took %v", took)
	}
}
