//go:build linux

package faultdisk

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	gosync "sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A Disk is a mounted directory. Its methods may be called by several goroutines.
type Disk struct {
	// Dir is where it is mounted. The process of the test stays away from it: what it did there it would have to
	// answer itself. Files is where the files are, for it to look at and to damage.
	Dir, Files string

	server *fuse.Server

	mu      gosync.Mutex
	trouble Trouble
	over    chan struct{} // closed when the trouble changes
	met     int
}

// Mount makes both directories, and mounts the first. What is in files already is there.
func Mount(dir, files string) (*Disk, error) {
	if err := sweep(); err != nil {
		return nil, err
	}
	for _, d := range []string{dir, files} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	d := &Disk{Dir: dir, Files: files, over: make(chan struct{})}
	loopback, err := fs.NewLoopbackRoot(files)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", files, err)
	}
	root := &node{LoopbackNode: loopback.(*fs.LoopbackNode), disk: d}
	root.RootData.RootNode = root
	fd, err := mount(dir)
	if err != nil {
		return nil, fmt.Errorf("mount at %s: %w", dir, err)
	}
	var now time.Duration // nothing about names and attributes is kept: a test changes files below
	d.server, err = fs.Mount(fmt.Sprintf("/dev/fd/%d", fd), root, &fs.Options{
		EntryTimeout: &now, AttrTimeout: &now, MountOptions: fuse.MountOptions{MaxWrite: maxWrite},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve %s: %w", dir, err), syscall.Unmount(dir, syscall.MNT_FORCE), syscall.Close(fd))
	}
	return d, nil
}

// source is what the sources of all mounts begin with; the process that made it follows.
const source = "faultdisk-"

// sweep unmounts what test runs have left that were killed.
func sweep() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		owner, ours := strings.CutPrefix(fields[0], source)
		if !ours {
			continue
		}
		if _, err := os.Stat("/proc/" + owner); errors.Is(err, os.ErrNotExist) {
			errs = append(errs, syscall.Unmount(fields[1], syscall.MNT_DETACH))
		}
	}
	return errors.Join(errs...)
}

// maxWrite is the most that one operation reads or writes, in bytes.
const maxWrite = 128 << 10

// mount mounts the directory and returns where the kernel asks. The library would leave that open in the servers
// that a test starts: they could not end when their disk is gone with the test, and wait for it.
func mount(dir string) (fd int, err error) {
	if fd, err = syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0); err != nil {
		return 0, fmt.Errorf("open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d", fd, os.Geteuid(), os.Getegid(), maxWrite)
	if err := syscall.Mount(source+strconv.Itoa(os.Getpid()), dir, "fuse.faultdisk", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return 0, errors.Join(err, syscall.Close(fd))
	}
	return fd, nil
}

// Set begins a trouble, in place of the one that there may be. It returns how many operations met that one.
func (d *Disk) Set(t Trouble) (met int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	met = d.met
	d.trouble, d.met = t, 0
	close(d.over)
	d.over = make(chan struct{})
	return met
}

// Heal ends the trouble.
func (d *Disk) Heal() (met int) { return d.Set(Trouble{}) }

// Met is how many operations have met the present trouble: waited, or got an error.
func (d *Disk) Met() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.met
}

// Unmount ends the trouble and unmounts. No process may use the disk any more.
func (d *Disk) Unmount() error {
	d.Heal()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		// By force: a namespace of somebody else may hold a copy of the mount.
		if err = syscall.Unmount(d.Dir, syscall.MNT_FORCE); err == nil {
			d.server.Wait()
			return nil
		}
	}
	return errors.Join(fmt.Errorf("unmount %s: %w", d.Dir, err), syscall.Unmount(d.Dir, syscall.MNT_DETACH))
}

// meet lets an operation meet the trouble.
func (d *Disk) meet(o op, path string) syscall.Errno {
	counted := false
	for {
		d.mu.Lock()
		stalls, takes, errno := d.trouble.meets(o, path)
		over := d.over
		if !counted && (stalls || takes > 0 || errno != 0) {
			counted = true
			d.met++
		}
		d.mu.Unlock()
		if stalls {
			<-over
			continue
		}
		if takes > 0 {
			select {
			case <-time.After(takes):
			case <-over:
			}
		}
		return errno
	}
}

func (d *Disk) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trouble.Full
}
