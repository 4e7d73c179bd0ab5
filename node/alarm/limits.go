package alarm

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// Available is how much memory this process may use: that of the machine, or
// less when a control group bounds it, as containers and systemd do. 0 when
// that cannot be found out. root is the root directory of the system.
func Available(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	for _, found := range append(groupLimits(root), machineMemory(root)) {
		if found > 0 {
			least = min(least, found)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// machineMemory reads MemTotal of /proc/meminfo (proc(5)); 0 when it is not there.
func machineMemory(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, "MemTotal:")
		if !ok {
			continue
		}
		kib, ok := strings.CutSuffix(strings.TrimSpace(rest), " kB")
		n, err := strconv.ParseInt(kib, 10, 64)
		if !ok || err != nil || n > math.MaxInt64>>10 {
			return 0
		}
		return n << 10
	}
	return 0
}

// groupLimits returns the limits of the control groups that this process is in,
// and of those around them: cgroup v2's memory.max, v1's memory.limit_in_bytes
// (cgroups(7)). In a container the path that /proc names may lie outside of what
// is mounted; the group itself is then the mounted root, which is always looked at.
func groupLimits(root fs.FS) []int64 {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var limits []int64
	for line := range strings.Lines(string(text)) {
		// hierarchy:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[0] == "0" && parts[1] == "":
			limits = append(limits, upwards(root, "sys/fs/cgroup", parts[2], "memory.max")...)
		case strings.Contains(","+parts[1]+",", ",memory,"):
			limits = append(limits, upwards(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes")...)
		}
	}
	return limits
}

// upwards reads the file in a group and in all groups around it.
func upwards(root fs.FS, mount, group, file string) []int64 {
	var limits []int64
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		if text, err := fs.ReadFile(root, path.Join(mount, dir, file)); err == nil {
			// "max" is no number, and no limit.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				limits = append(limits, n)
			}
		}
		if dir == "/" {
			return limits
		}
	}
}

// residentPages reads what /proc/self/statm says (proc(5)): resident pages less
// those that are shared, that is backed by files. What is left is the process's alone.
func residentPages(statm string) (int64, bool) {
	fields := strings.Fields(statm)
	if len(fields) < 3 {
		return 0, false
	}
	resident, err1 := strconv.ParseInt(fields[1], 10, 64)
	shared, err2 := strconv.ParseInt(fields[2], 10, 64)
	return resident - shared, err1 == nil && err2 == nil && resident >= shared && shared >= 0
}
