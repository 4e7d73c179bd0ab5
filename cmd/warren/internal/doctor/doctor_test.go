package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"warren/cmd/warren/internal/settings"
)

var errSecret = errors.New("another secret")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// healthy is a machine on which nothing is wrong, and good are settings that suit it.
func healthy() System {
	return System{
		Root:      fstest.MapFS{"proc/swaps": {Data: []byte("Filename Type Size\n")}, "sys/kernel/mm/transparent_hugepage/enabled": {Data: []byte("always [madvise] never\n")}},
		FileLimit: func() (uint64, uint64, error) { return 1 << 20, 1 << 20, nil },
		Owner:     func(string) (int, fs.FileMode, error) { return 7, fs.ModeDir | 0o750, nil },
		UID:       func() int { return 7 },
		FSType:    func(string) (string, error) { return "ext4", nil },
		DiskFree:  func(string) (int64, error) { return 100 << 30, nil },
		SyncTimes: func(_ string, n int) ([]time.Duration, error) { return make([]time.Duration, n), nil },
		Damaged:   func(string) []error { return nil },
		Running:   func(string) (bool, error) { return false, nil },
		Memory:    func() int64 { return 8 << 30 },
		Synced:    func() (bool, bool) { return true, true },
		Now:       func() time.Time { return noon },
		Listen:    func(string, string) error { return nil },
		OwnIPs:    func() []string { return []string{"10.0.0.1"} },
		Lookup: func(_ context.Context, host string) ([]string, error) {
			return []string{map[string]string{"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}[host]}, nil
		},
		Knock:      func(context.Context, string) error { return nil },
		PeerTime:   func(context.Context, string) (time.Time, error) { return noon, nil },
		CertExpiry: func() (time.Time, error) { return noon.Add(100 * 24 * time.Hour), nil },
		Unknown:    func() []string { return nil },
		ErrSecret:  errSecret,
		Secrets:    func() ([]string, error) { return []string{"0123456789abcdef0123"}, nil },
	}
}

func good() settings.Values {
	return settings.Values{
		DataDir: "/var/lib/warren", AMQPAddr: ":5672", HTTPAddr: ":15672", MetricsAddr: ":15692", ClusterAddr: ":7900", AMQPSAddr: ":5671",
		ClusterAdvertise: "a:7900", Join: []string{"a:7900", "b:7900", "c:7900"}, Expect: 3,
		DefaultUser: "ops", DefaultPass: "secret", NodeGrace: 10 * time.Second, ElectionTimeout: 500 * time.Millisecond,
		SnapshotBytes: 64 << 20, MessageMemory: 128 << 20,
		MemoryHighWatermark: settings.Watermark{Fraction: 0.6}, DiskFreeLimit: 50e6, DiskStallTimeout: 20 * time.Second,
	}
}

func TestNothingWrong(t *testing.T) {
	for _, f := range Examine(t.Context(), healthy(), good()) {
		if f.Level != OK || f.Next != "" {
			t.Errorf("%+v", f)
		}
	}
}

// The secrets of the examples are known, and a file of the secret that the node's group reads, as in a pod, is in order: chmod 600 could
// lock the node out.
func TestSecretsOfExamples(t *testing.T) {
	for i, file := range []string{"docker-compose.yml", "kubernetes/warren.yaml"} {
		text, err := os.ReadFile("../../../../deploy/" + file)
		if err != nil || !strings.Contains(string(text), exampleSecrets[i]) {
			t.Errorf("%s has another secret than %s (%v)", file, exampleSecrets[i], err)
		}
	}
	sys, v := healthy(), good()
	v.ClusterSecretFile = "/s"
	sys.Owner = func(path string) (int, fs.FileMode, error) {
		if path == "/s" {
			return 0, 0o440, nil
		}
		return 7, fs.ModeDir | 0o750, nil
	}
	for _, f := range Examine(t.Context(), sys, v) {
		if f.Level != OK {
			t.Errorf("%+v", f)
		}
	}
}

// Each fault is found by its own check, and says what to do next.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(*System, *settings.Values)
		check  string
		level  Level
		text   string
	}{
		{"few files", func(s *System, _ *settings.Values) {
			s.FileLimit = func() (uint64, uint64, error) { return 4096, 4096, nil }
		}, "files", Warn, "4096 files"},
		{"hardly any files", func(s *System, _ *settings.Values) {
			s.FileLimit = func() (uint64, uint64, error) { return 256, 512, nil }
		}, "files", Fail, "256 files"},
		{"unknown limit", func(s *System, _ *settings.Values) {
			s.FileLimit = func() (uint64, uint64, error) { return 0, 0, errors.New("no") }
		}, "files", Warn, "cannot be read"},
		{"another's directory", func(s *System, _ *settings.Values) { s.UID = func() int { return 8 } }, "data-dir", Fail, "belongs to user 7"},
		{"as root", func(s *System, _ *settings.Values) { s.UID = func() int { return 0 } }, "data-dir", Warn, "this is root"},
		{"open to all", func(s *System, _ *settings.Values) {
			s.Owner = func(string) (int, fs.FileMode, error) { return 7, fs.ModeDir | 0o777, nil }
		}, "data-dir", Fail, "anybody may write"},
		{"listed by all", func(s *System, _ *settings.Values) {
			s.Owner = func(string) (int, fs.FileMode, error) { return 7, fs.ModeDir | 0o755, nil }
		}, "data-dir", Warn, "anybody may list"},
		{"a file in its place", func(s *System, _ *settings.Values) {
			s.Owner = func(string) (int, fs.FileMode, error) { return 7, 0o600, nil }
		}, "data-dir", Fail, "no directory"},
		{"no way in", func(s *System, _ *settings.Values) {
			s.Owner = func(string) (int, fs.FileMode, error) { return 0, 0, fs.ErrPermission }
		}, "data-dir", Fail, "cannot be used"},
		{"not there", func(s *System, _ *settings.Values) {
			s.Owner = func(string) (int, fs.FileMode, error) { return 0, 0, &fs.PathError{Err: fs.ErrNotExist} }
		}, "data-dir", OK, "not there yet"},
		{"damaged", func(s *System, _ *settings.Values) {
			s.Damaged = func(string) []error { return []error{errors.New("formation.json: damaged")} }
		}, "data-dir", Fail, "formation.json"},
		{"runs", func(s *System, _ *settings.Values) { s.Running = func(string) (bool, error) { return true, nil } }, "data-dir", OK, "a node runs"},
		{"no look at the lock", func(s *System, _ *settings.Values) {
			s.Running = func(string) (bool, error) { return false, fs.ErrPermission }
		}, "data-dir", Warn, "cannot be told"},
		{"nfs", func(s *System, _ *settings.Values) { s.FSType = func(string) (string, error) { return "nfs", nil } }, "disk", Warn, "is on nfs"},
		{"tmpfs", func(s *System, _ *settings.Values) { s.FSType = func(string) (string, error) { return "tmpfs", nil } }, "disk", Warn, "it is memory"},
		{"full", func(s *System, _ *settings.Values) { s.DiskFree = func(string) (int64, error) { return 40e6, nil } }, "disk", Fail, "38 MiB free"},
		{"nearly full", func(s *System, _ *settings.Values) { s.DiskFree = func(string) (int64, error) { return 1 << 30, nil } }, "disk", Warn, "near"},
		{"slow", func(s *System, _ *settings.Values) {
			s.SyncTimes = func(string, int) ([]time.Duration, error) { return []time.Duration{1, 5e7, 6e7}, nil }
		}, "disk", Warn, "50ms in the middle, 60ms at worst"},
		{"stalls", func(s *System, _ *settings.Values) {
			s.SyncTimes = func(string, int) ([]time.Duration, error) { return []time.Duration{1, 1, 2e9}, nil }
		}, "disk", Fail, "2s at worst"},
		{"read-only", func(s *System, _ *settings.Values) {
			s.SyncTimes = func(string, int) ([]time.Duration, error) { return nil, syscall.EROFS }
		}, "disk", Fail, "read-only"},
		{"watermark above the container", func(s *System, v *settings.Values) {
			v.MemoryHighWatermark = settings.Watermark{Bytes: 9 << 30}
		}, "memory", Fail, "8192 MiB"},
		{"watermark near it", func(s *System, v *settings.Values) { v.MemoryHighWatermark.Fraction = 0.95 }, "memory", Warn, "almost all"},
		{"small", func(s *System, _ *settings.Values) { s.Memory = func() int64 { return 256 << 20 } }, "memory", Warn, "a loaded node needs"},
		{"unknown memory", func(s *System, _ *settings.Values) { s.Memory = func() int64 { return 0 } }, "memory", Warn, "cannot be told"},
		{"swap", func(s *System, _ *settings.Values) {
			s.Root = fstest.MapFS{"proc/swaps": {Data: []byte("Filename\n/swap file 1 1\n")}}
		}, "swap", Warn, "stands still"},
		{"huge pages", func(s *System, _ *settings.Values) {
			s.Root = fstest.MapFS{"sys/kernel/mm/transparent_hugepage/enabled": {Data: []byte("[always] madvise never\n")}}
		}, "hugepages", Warn, "always on"},
		{"no NTP", func(s *System, _ *settings.Values) { s.Synced = func() (bool, bool) { return false, true } }, "clock", Warn, "nothing keeps"},
		{"port taken", func(s *System, _ *settings.Values) {
			s.Listen = func(network, addr string) error {
				if network == "udp" {
					return &os.SyscallError{Syscall: "bind", Err: syscall.EADDRINUSE}
				}
				return nil
			}
		}, "ports", Fail, "--cluster-addr :7900 (udp) is taken"},
		{"low port", func(s *System, _ *settings.Values) { s.Listen = func(string, string) error { return syscall.EACCES } }, "ports", Fail, "may not be used"},
		{"foreign address", func(s *System, _ *settings.Values) {
			s.Listen = func(string, string) error { return syscall.EADDRNOTAVAIL }
		}, "ports", Fail, "no address of this machine"},
		{"name", func(s *System, v *settings.Values) {
			s.Lookup = func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
		}, "names", Warn, "b does not resolve"},
		{"loopback told to others", func(_ *System, v *settings.Values) { v.ClusterAdvertise = "127.0.0.1:7900" }, "names", Fail, "their own machine"},
		{"zero told to others", func(_ *System, v *settings.Values) { v.ClusterAdvertise = "0.0.0.0:7900" }, "names", Fail, "their own machine"},
		{"no secret", func(s *System, _ *settings.Values) { s.Secrets = func() ([]string, error) { return nil, nil } }, "secret", Warn, "whoever reaches"},
		{"short secret", func(s *System, _ *settings.Values) {
			s.Secrets = func() ([]string, error) { return []string{"0123456789abcdef0", "short"}, nil }
		}, "secret", Fail, "number 2 has 5 bytes"},
		{"dull secret", func(s *System, _ *settings.Values) {
			s.Secrets = func() ([]string, error) { return []string{"aaaaaaaaaaaaaaaaaaaa"}, nil }
		}, "secret", Warn, "few different"},
		{"example's secret", func(s *System, _ *settings.Values) {
			s.Secrets = func() ([]string, error) { return []string{"only-for-trying-things-out"}, nil }
		}, "secret", Warn, "everybody knows"},
		{"example's secret for Kubernetes", func(s *System, _ *settings.Values) {
			s.Secrets = func() ([]string, error) { return []string{"replace-me-with-openssl-rand-hex-32"}, nil }
		}, "secret", Warn, "everybody knows"},
		{"secret's file", func(s *System, _ *settings.Values) {
			s.Secrets = func() ([]string, error) { return nil, errors.New("cluster secret: /s is empty") }
		}, "secret", Fail, "/s is empty"},
		{"secret for all to read", func(s *System, v *settings.Values) {
			v.ClusterSecretFile = "/s"
			s.Owner = func(path string) (int, fs.FileMode, error) {
				if path == "/s" {
					return 7, 0o644, nil
				}
				return 7, fs.ModeDir | 0o750, nil
			}
		}, "secret", Warn, "anybody may read /s"},
		{"secrets differ", func(s *System, _ *settings.Values) {
			s.Knock = func(_ context.Context, addr string) error {
				if addr == "b:7900" {
					return fmt.Errorf("%w: x", errSecret)
				}
				return nil
			}
		}, "peers", Fail, "b:7900 has another"},
		{"peer away", func(s *System, _ *settings.Values) {
			s.Knock = func(context.Context, string) error { return syscall.ECONNREFUSED }
		}, "peers", Warn, "c:7900 cannot be reached"},
		{"clocks differ", func(s *System, _ *settings.Values) {
			s.PeerTime = func(context.Context, string) (time.Time, error) { return noon.Add(10 * time.Second), nil }
		}, "clock", Warn, "b is 10s off"},
		{"clocks differ much", func(s *System, _ *settings.Values) {
			s.PeerTime = func(context.Context, string) (time.Time, error) { return noon.Add(-time.Hour), nil }
		}, "clock", Fail, "b is 59m59s off"},
		{"certificate", func(s *System, _ *settings.Values) {
			s.CertExpiry = func() (time.Time, error) { return noon.Add(-time.Hour), nil }
		}, "tls", Fail, "has ended on 2026-01-02 11:00:00"},
		{"certificate soon", func(s *System, _ *settings.Values) {
			s.CertExpiry = func() (time.Time, error) { return noon.Add(time.Hour), nil }
		}, "tls", Warn, "ends on"},
		{"no certificate", func(s *System, _ *settings.Values) {
			s.CertExpiry = func() (time.Time, error) { return time.Time{}, errors.New("no such file") }
		}, "tls", Fail, "no such file"},
		{"variables", func(s *System, _ *settings.Values) { s.Unknown = func() []string { return []string{"WARREN_JOINN"} } }, "settings", Warn, "WARREN_JOINN"},
		{"even", func(_ *System, v *settings.Values) { v.Expect = 4 }, "settings", Warn, "than one of 3"},
		{"many", func(_ *System, v *settings.Values) { v.Expect = 7 }, "settings", Warn, "7 nodes"},
		{"guest", func(_ *System, v *settings.Values) { v.DefaultUser, v.DefaultPass = "guest", "guest" }, "settings", Warn, "guest/guest"},
		{"no limit of the disk", func(_ *System, v *settings.Values) { v.DiskFreeLimit = 0 }, "settings", Warn, "full disk"},
		{"no limit of a stall", func(_ *System, v *settings.Values) { v.DiskStallTimeout = 0 }, "settings", Warn, "stands still"},
		{"short grace", func(_ *System, v *settings.Values) { v.ElectionTimeout = 5 * time.Second }, "settings", Warn, "--node-grace"},
		{"messages above the watermark", func(_ *System, v *settings.Values) {
			v.MemoryHighWatermark = settings.Watermark{Bytes: 100 << 20}
		}, "settings", Fail, "--message-memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sys, v := healthy(), good()
			c.damage(&sys, &v)
			found := Examine(t.Context(), sys, v)
			for _, f := range found {
				if f.Check == c.check && f.Level == c.level && strings.Contains(f.Text, c.text) {
					if (f.Next == "") != (f.Level == OK) {
						t.Errorf("what to do next is %q", f.Next)
					}
					return
				}
			}
			t.Errorf("not found: %s %s %q in %+v", c.check, c.level, c.text, found)
		})
	}
}

func TestPrint(t *testing.T) {
	findings := []Finding{{"disk", OK, "fine", ""}, {"clock", Warn, "no <NTP>", "run chrony"}, {"ports", Fail, "taken", "move"}}
	var b bytes.Buffer
	if err := Print(&b, findings); err != nil {
		t.Fatal(err)
	}
	want := "ok    disk       fine\nwarn  clock      no <NTP>\n                 -> run chrony\nfail  ports      taken\n                 -> move\n3 checks: 1 failed, 1 warnings\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := PrintJSON(&b, findings); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Findings         []Finding
		Failed, Warnings int
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil || len(doc.Findings) != 3 || doc.Findings[1] != findings[1] || doc.Failed != 1 || doc.Warnings != 1 {
		t.Errorf("%v %+v", err, doc)
	}
}

// The real machine can be looked at, and what is written is taken away again.
func TestThisMachine(t *testing.T) {
	sys := ThisMachine()
	dir := t.TempDir()
	times, err := sys.SyncTimes(dir+"/not/there", 3)
	if err != nil || len(times) != 3 {
		t.Errorf("%v %v", times, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if soft, hard, err := sys.FileLimit(); err != nil || soft == 0 || hard < soft {
		t.Errorf("%d %d %v", soft, hard, err)
	}
	if uid, mode, err := sys.Owner(dir); err != nil || uid != os.Getuid() || !mode.IsDir() {
		t.Errorf("%d %v %v", uid, mode, err)
	}
	if _, err := sys.FSType(dir); err != nil {
		t.Error(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		if err := sys.Listen(network, "127.0.0.1:0"); err != nil {
			t.Error(err)
		}
	}
	if len(sys.OwnIPs()) == 0 {
		t.Error("no address")
	}
}
