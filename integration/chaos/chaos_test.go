//go:build linux

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"warren/integration/proc"
)

// shortRun is how long "make test" goes on; a round more than that is not begun.
const shortRun = 35 * time.Second

// clusterLife is after which time a long run goes on with a new cluster, of the other size.
const clusterLife = 10 * time.Minute

// TestChaos: what docs/guarantees.md promises holds under faults.
func TestChaos(t *testing.T) {
	s := settingsOf(t)
	bin := filepath.Join(s.dir, "bin")
	if err := proc.Build(bin, "-tags", "chaos", "./cmd/warren"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for number := 1; ; number++ {
		spent := time.Since(begun)
		if spent >= s.time {
			break
		}
		life := min(s.time-spent, clusterLife, s.time/time.Duration(len(s.sizes)))
		size := s.sizes[(number-1)%len(s.sizes)]
		if !s.life(t, bin, number, size, life) {
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
func (s *setup) life(t *testing.T, bin string, number, size int, limit time.Duration) bool {
	dir := filepath.Join(s.dir, fmt.Sprintf("cluster%d", number))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := NewCluster(dir, filepath.Join(bin, "warren"), size, t.Logf)
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
