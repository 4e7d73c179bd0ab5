package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ThisMachine is the System of the machine that the program runs on. What knows of nodes is the caller's to add: DiskFree, Damaged,
// Running, Memory, Knock, ErrSecret, CertExpiry, Unknown, Secrets.
func ThisMachine() System {
	return System{
		Root: os.DirFS("/"), UID: os.Getuid, Now: time.Now,
		FileLimit: fileLimit, Owner: owner, FSType: func(dir string) (string, error) { return fsType(Existing(dir)) },
		SyncTimes: syncTimes, Synced: clockSynced,
		Listen: listen, OwnIPs: ownIPs, Lookup: net.DefaultResolver.LookupHost, PeerTime: peerTime,
	}
}

func fileLimit() (soft, hard uint64, err error) {
	var l syscall.Rlimit
	err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), uint64(l.Max), err
}

func owner(path string) (uid int, mode fs.FileMode, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("owner of %s: %w", path, errors.ErrUnsupported)
	}
	return int(s.Uid), info.Mode(), nil
}

// Existing is the directory itself, or the nearest one around it that is there.
func Existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// syncTimes writes some bytes to a file of its own, again and again, and measures how long the disk takes to have them.
func syncTimes(dir string, writes int) (times []time.Duration, err error) {
	f, err := os.CreateTemp(Existing(dir), "doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	for range writes {
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began).Round(time.Microsecond))
	}
	return times, nil
}

func listen(network, addr string) error {
	if network == "udp" {
		c, err := net.ListenPacket(network, addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func ownIPs() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var ips []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP.String())
		}
	}
	return ips
}

// peerTime asks what time it is elsewhere.
func peerTime(ctx context.Context, url string) (time.Time, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return time.Time{}, err
	}
	_ = resp.Body.Close() // there is none
	return http.ParseTime(resp.Header.Get("Date"))
}
