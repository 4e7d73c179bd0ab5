package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

const (
	// goodFiles is what RabbitMQ's guide and our unit ask for; a connection takes one descriptor.
	goodFiles  = 65536
	leastFiles = 1024
	// slowSync and brokenSync are times of an fsync: each confirm waits for one on a majority of nodes.
	slowSync   = 20 * time.Millisecond
	brokenSync = time.Second
	syncWrites = 20
	lowDisk    = 2 << 30 // bytes
	// besides is what a node needs beside messages, in bytes: docs/operations.md, "Disk and memory".
	besides = 200 << 20
)

// files looks at how many files and sockets the process may open.
func (d *doctor) files() {
	const check = "files"
	soft, hard, err := d.sys.FileLimit()
	next := "raise it: LimitNOFILE=65536 in the systemd unit, or 'ulimit -n 65536' before 'warren serve'"
	switch {
	case err != nil:
		d.warn(check, "look at it yourself: ulimit -n", "the limit of open files cannot be read: %v", err)
	case soft < leastFiles:
		d.fail(check, next, "%d files may be open (%d at most): that is not enough for files and clients", soft, hard)
	case soft < goodFiles:
		d.warn(check, next, "%d files may be open (%d at most): each client takes one", soft, hard)
	default:
		d.ok(check, "%d files may be open", soft)
	}
}

// directory looks at the data directory.
func (d *doctor) directory() {
	const check = "data-dir"
	dir := d.v.DataDir
	uid, mode, err := d.sys.Owner(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.ok(check, "%s is not there yet: the first start makes it", dir)
		return
	case err != nil:
		d.fail(check, "give it to the user that runs the node: chown", "%s cannot be used: %v", dir, err)
		return
	case !mode.IsDir():
		d.fail(check, "name another one with --data-dir", "%s is no directory", dir)
		return
	case uid != d.sys.UID() && d.sys.UID() != 0:
		d.fail(check, "run this as the node's user, or give it the directory: chown -R", "%s belongs to user %d, this is user %d", dir, uid, d.sys.UID())
		return
	case uid != d.sys.UID():
		d.warn(check, "run this as the node's user (sudo -u), to see what it sees", "%s belongs to user %d, this is root", dir, uid)
	case mode.Perm()&0o002 != 0:
		d.fail(check, "chmod 750 "+dir, "anybody may write to %s", dir)
	case mode.Perm()&0o004 != 0:
		d.warn(check, "chmod 750 "+dir, "anybody may list %s", dir)
	}
	if d.running, err = d.sys.Running(dir); err != nil {
		d.warn(check, "run this as the node's user", "it cannot be told whether a node runs on %s: %v", dir, err)
	}
	damaged := d.sys.Damaged(dir)
	for _, err := range damaged {
		d.fail(check, "'warren verify --data-dir "+dir+"' lists all that is damaged; 'warren reset' lets the node join anew", "%v", err)
	}
	if len(damaged) == 0 {
		state := "no node runs on it"
		if d.running {
			state = "a node runs on it"
		}
		d.ok(check, "%s: %s, who it is can be read", dir, state)
	}
}

// risky are file systems that do not keep what a node promises, or not for long.
var risky = map[string]string{
	"nfs":     "a network may be gone when a write is due, and its locks do not always hold",
	"smb":     "a network may be gone when a write is due",
	"fuse":    "not all of them sync when they are told to",
	"tmpfs":   "it is memory: all is lost when the machine restarts",
	"ramfs":   "it is memory: all is lost when the machine restarts",
	"overlay": "it is a layer of a container: all is lost with it",
}

// disk looks at the file system of the data directory.
func (d *doctor) disk() {
	const check = "disk"
	dir := d.v.DataDir
	kind, err := d.sys.FSType(dir)
	if why, bad := risky[kind]; err == nil && bad {
		d.warn(check, "put --data-dir on a local disk (a volume, in a container)", "%s is on %s: %s", dir, kind, why)
	}
	free, err := d.sys.DiskFree(dir)
	switch {
	case err != nil:
		d.warn(check, "look at it yourself: df", "free space cannot be told: %v", err)
	case free < d.v.DiskFreeLimit:
		d.fail(check, "make room, or lower --disk-free-limit", "%s free, below --disk-free-limit (%s): publishers of the whole cluster are blocked", size(free), size(d.v.DiskFreeLimit))
	case free < d.v.DiskFreeLimit+lowDisk:
		d.warn(check, "make room: a loaded node writes a gigabyte in seconds", "%s free, near --disk-free-limit (%s)", size(free), size(d.v.DiskFreeLimit))
	default:
		d.ok(check, "%s free", size(free))
	}
	times, err := d.sys.SyncTimes(dir, syncWrites)
	if err != nil {
		d.fail(check, "look into the log of the system (dmesg) and at the rights of the directory", "a test write failed: %v", err)
		return
	}
	slices.Sort(times)
	median, worst := times[len(times)/2], times[len(times)-1]
	text := "an fsync takes %v in the middle, %v at worst, of %d"
	switch {
	case worst >= brokenSync:
		d.fail(check, "use another disk: a node hands leadership over after a tenth of --disk-stall-timeout, and stops after it", text, median, worst, len(times))
	case median >= slowSync:
		d.warn(check, "use a faster disk, or find out who else writes to it (iostat -x 1): each confirm waits for it on a majority of nodes", text, median, worst, len(times))
	default:
		d.ok(check, text, median, worst, len(times))
	}
}

// memory compares what there is with what the settings need.
func (d *doctor) memory() {
	const check = "memory"
	available := d.sys.Memory()
	if available == 0 {
		d.warn(check, "set --memory-high-watermark to an amount, like 2GB", "it cannot be told how much memory a process may use")
		return
	}
	mark := d.v.MemoryHighWatermark
	limit := mark.Bytes
	if limit == 0 {
		limit = int64(mark.Fraction * float64(available))
	}
	need := d.v.MessageMemory + 3*d.v.SnapshotBytes + besides
	switch {
	case limit > available:
		d.fail(check, "set --memory-high-watermark to 0.6 or so", "the watermark (%s) is above what the process may use (%s): it is killed before publishers are blocked", size(limit), size(available))
	case limit > available/10*9:
		d.warn(check, "set --memory-high-watermark to 0.6 or so", "the watermark (%s) is almost all that the process may use (%s): garbage alone may have it killed", size(limit), size(available))
	case limit < need:
		d.warn(check, "give the node more memory, or lower --message-memory and --snapshot-bytes", "the watermark is %s, and a loaded node needs about %s: publishers will be blocked now and then", size(limit), size(need))
	default:
		d.ok(check, "%s may be used, publishers are blocked above %s", size(available), size(limit))
	}
	if swaps, err := fs.ReadFile(d.sys.Root, "proc/swaps"); err == nil && strings.Count(string(swaps), "\n") > 1 {
		d.warn("swap", "swapoff -a, or vm.swappiness=1", "swap is in use on this machine: a node whose memory is on disk stands still for seconds")
	}
	if thp, err := fs.ReadFile(d.sys.Root, "sys/kernel/mm/transparent_hugepage/enabled"); err == nil && strings.Contains(string(thp), "[always]") {
		d.warn("hugepages", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", "transparent huge pages are always on: memory that the node has given back may stay resident, and count")
	}
}

// clock looks whether anything keeps this machine's clock right.
func (d *doctor) clock() {
	synced, known := d.sys.Synced()
	switch {
	case !known:
	case !synced:
		d.warn("clock", "run chrony, ntpd or systemd-timesyncd", "nothing keeps this machine's clock right: what expires or is delayed goes by the leader's clock")
	default:
		d.ok("clock", "it is kept right")
	}
}

// size writes bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
