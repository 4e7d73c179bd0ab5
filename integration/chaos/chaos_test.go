//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"warren/integration/proc"
)

// shortRun is how long "make test" goes on; a round more than that is not begun.
const shortRun = 30 * time.Second

// clusterLife is after which time a long run goes on with a new cluster, of the other size.
const clusterLife = 10 * time.Minute

// TestChaos: what docs/guarantees.md promises holds under faults.
func TestChaos(t *testing.T) {
	s := settingsOf(t)
	s.build(t)
	begun := time.Now()
	for number := 1; ; number++ {
		spent := time.Since(begun)
		if spent >= s.time {
			break
		}
		life := min(s.time-spent, clusterLife, s.time/time.Duration(len(s.sizes)))
		size := s.sizes[(number-1)%len(s.sizes)]
		if !s.life(t, number, size, life) {
			break
		}
	}
	t.Log(s.total.String(time.Since(begun)))
	if !t.Failed() && s.temporary {
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
		return
	}
	t.Logf("all is kept in %s", s.dir)
}

// A setup is what the variables say.
type setup struct {
	seed      uint64
	time      time.Duration
	only      int // round; 0: all
	sizes     []int
	faults    []Fault
	dir       string
	temporary bool
	round     int // the last that was begun
	total     total

	bin, before *build // of this code, and of the version before; nil: no cluster begins with that
	upgrades    bool   // every cluster begins with the version before
}

// build builds the servers. That of the version before takes its time, so a short run goes without.
func (s *setup) build(t *testing.T) {
	t.Helper()
	bin := filepath.Join(s.dir, "bin")
	if err := proc.Build(bin, "-tags", "chaos", "./cmd/warren"); err != nil {
		t.Fatal(err)
	}
	s.bin = &build{path: filepath.Join(bin, "warren")}
	path := os.Getenv("CHAOS_BEFORE")
	s.upgrades = path != ""
	switch {
	case s.upgrades:
	case s.time < clusterLife:
		return
	default:
		bin = filepath.Join(s.dir, "before")
		what, err := proc.BuildBefore(bin, filepath.Join(s.dir, "before-source"), "-trimpath", "-tags", "chaos")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("clusters are upgraded from %s", what)
		path = filepath.Join(bin, "warren")
	}
	help, err := exec.Command(path, "serve", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%s serve --help: %v\n%s", path, err, help)
	}
	s.before = &build{path: path, help: string(help)}
}

func settingsOf(t *testing.T) *setup {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the network namespaces of this test need root, ip and iptables (Debian: iproute2, iptables)")
	}
	s := &setup{seed: uint64(time.Now().UnixNano()) & 0xffffff, time: shortRun, sizes: []int{3, 5}}
	var err error
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	if text := os.Getenv("CHAOS_TIME"); text != "" {
		if s.time, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS_TIME: %v", err)
		}
	}
	if text := os.Getenv("CHAOS_ROUND"); text != "" {
		if s.only, err = strconv.Atoi(text); err != nil || s.only < 1 {
			t.Fatalf("CHAOS_ROUND: %q is no number of a round", text)
		}
	}
	if text := os.Getenv("CHAOS_NODES"); text != "" {
		size, err := strconv.Atoi(text)
		if err != nil || size != 3 && size != 5 {
			t.Fatalf("CHAOS_NODES: %q is neither 3 nor 5", text)
		}
		s.sizes = []int{size}
	}
	if text := os.Getenv("CHAOS_SLOW"); text != "" {
		times, err := strconv.Atoi(text)
		if err != nil || times < 1 {
			t.Fatalf("CHAOS_SLOW: %q is no number of times", text)
		}
		proc.Slow = time.Duration(times)
	}
	var list []string
	if text := os.Getenv("CHAOS_FAULTS"); text != "" {
		list = strings.Split(text, ",")
	}
	if s.faults, err = named(faults(), list); err != nil {
		t.Fatalf("CHAOS_FAULTS: %v", err)
	}
	if s.dir = os.Getenv("CHAOS_DIR"); s.dir == "" {
		s.temporary = true
		if s.dir, err = os.MkdirTemp("", "warren-chaos-"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CHAOS_SEED=%d, everything is in %s", s.seed, s.dir)
	return s
}

// life runs rounds on one cluster for a time; false: it is not worth going on.
func (s *setup) life(t *testing.T, number, size int, limit time.Duration) bool {
	dir := filepath.Join(s.dir, fmt.Sprintf("cluster%d", number))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	bin := s.bin
	older := s.before != nil && (s.upgrades || number/2%2 == 1) // of both sizes, and not the first
	if older {
		bin = s.before
	}
	c, err := NewCluster(dir, bin, size, t.Logf)
	if err != nil {
		t.Fatalf("start %d nodes: %v", size, err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Errorf("end the cluster: %v", err)
		}
		if !t.Failed() {
			_ = os.RemoveAll(dir) // a long run would fill the disk
		}
	}()
	for begun := time.Now(); time.Since(begun) < limit; {
		s.round++
		round := s.round
		if s.only > 0 {
			round = s.only
		}
		p := makePlan(s.seed, round, s.faults)
		if older {
			older = false
			p = slices.Insert(p, 0, c.upgradeTo(s.bin, s.seed, round))
		}
		t.Logf("CHAOS_SEED=%d CHAOS_ROUND=%d CHAOS_NODES=%d: %v", s.seed, round, size, p)
		report, err := c.Round(fmt.Sprintf("r%d", s.round), s.seed+uint64(round), p, filepath.Join(dir, fmt.Sprintf("round%d", round)))
		s.total.add(p, report)
		t.Logf("round %d: %s", round, report)
		if err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		for i, v := range report.Violations {
			if i == 20 {
				t.Errorf("… and %d more", len(report.Violations)-i)
				break
			}
			t.Error(v)
		}
		if t.Failed() {
			t.Logf("again: make chaos CHAOS_SEED=%d CHAOS_ROUND=%d CHAOS_NODES=%d", s.seed, round, size)
			return false
		}
		if s.only > 0 {
			return false
		}
	}
	return true
}
