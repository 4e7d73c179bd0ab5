package doctor

import "syscall"

// Numbers of file systems, from statfs(2).
var fsNames = map[int64]string{
	0x6969: "nfs", 0x517b: "smb", 0xff534d42: "smb", 0xfe534d42: "smb", 0x65735546: "fuse",
	0x01021994: "tmpfs", 0x858458f6: "ramfs", 0x794c7630: "overlay",
	0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x2fc12fc1: "zfs",
}

func fsType(dir string) (string, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "", err
	}
	return fsNames[int64(uint32(s.Type))], nil
}

// staUnsync is STA_UNSYNC of adjtimex(2): nobody disciplines the clock.
const staUnsync = 0x40

func clockSynced() (synced, known bool) {
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		return false, false // not allowed in some containers
	}
	return t.Status&staUnsync == 0, true
}
