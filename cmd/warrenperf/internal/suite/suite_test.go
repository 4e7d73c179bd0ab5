package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"warren/cmd/warrenperf/internal/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAllRowsRun(t *testing.T) {
	plan := Plan{Rows: Rows(), Runs: 1, Ceiling: 1e6, Log: t.Output(),
		Setup: Setup{Time: 250 * time.Millisecond, Messages: 1000}}
	for _, name := range []string{"ours", "theirs"} {
		target, err := ParseTarget(name + "=" + brokertest.Start(t, brokertest.Faults{}).URI())
		if err != nil {
			t.Fatal(err)
		}
		plan.Targets = append(plan.Targets, target)
	}
	r, err := Run(t.Context(), plan)
	if err != nil || r.Failed() != nil {
		t.Fatal(err, r.Failed())
	}
	figures := 0
	for _, row := range Rows() {
		figures += len(row.Figures)
	}
	if len(r.Lines) != figures {
		t.Errorf("%d lines of %d figures", len(r.Lines), figures)
	}
	for _, l := range r.Lines {
		// A rate may be 0 on a machine that is busy elsewhere; missing it may not be.
		if len(l.Median) != 2 || slices.Contains(l.Median, missing) || len(l.Ratio) != 1 {
			t.Errorf("%+v", l)
		}
	}
	var table bytes.Buffer
	if err := r.Print(&table); err != nil || strings.Count(table.String(), "\n|") != figures+2 ||
		!strings.Contains(table.String(), "of Raft's ceiling of 1 MB/s") || r.Ceiling.Share*1e6 != r.Ceiling.Bytes {
		t.Errorf("%s %v", table.String(), err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// fixed is a row whose values are given, NaN for an error, one a call.
func fixed(f Figure, values ...float64) Row {
	return Row{Name: "fixed", Figures: []Figure{f}, run: func(context.Context, Setup) ([]float64, error) {
		v := values[0]
		values = values[1:]
		if v == missing {
			return nil, errors.New("broken")
		}
		return []float64{v}, nil
	}}
}

func TestRatiosArePaired(t *testing.T) {
	for _, c := range []struct {
		figure Figure
		values []float64 // ours, theirs, ours, theirs …
		runs   int
		ratio  float64
		met    string
		cells  string
		failed bool
	}{
		{Figure{Name: "f", Unit: "u", Goal: 5}, []float64{50, 10, 100, 50, 3000, 100}, 3, 5, "yes", "| f | u | 100 | 50 | 5 | 2–30 | ≥ 5 | reached |", false},
		{Figure{Name: "f", Unit: "u", Goal: 5}, []float64{40, 10}, 1, 4, "no", "| f | u | 40 | 10 | 4 | 4–4 | ≥ 5 | missed |", false},
		{Figure{Name: "f", Unit: "u", Goal: 0.25, Lower: true}, []float64{20, 100}, 1, 0.2, "yes", "≤ 0.25 | reached |", false},
		{Figure{Name: "f", Unit: "u", Goal: 1, Lower: true}, []float64{3, 2}, 1, 1.5, "no", "≤ 1 | missed |", false},
		{Figure{Name: "f", Unit: "u", Goal: 1}, []float64{3, missing, 8, 4}, 2, 2, "yes", "| 5.5 | 4 | 2 | 2–2 |", true},
		{Figure{Name: "f", Unit: "u", Goal: 1}, []float64{3, missing}, 1, missing, "", "| 3 | – | – | – | ≥ 1 |  |", true},
		{Figure{Name: "f", Unit: "u"}, []float64{3, 1}, 1, 3, "", "| 3 | 1 | 3 | 3–3 |  |  |", false},
	} {
		plan := Plan{Rows: []Row{fixed(c.figure, c.values...)}, Runs: c.runs, Log: &bytes.Buffer{}, Targets: []Target{{Name: "a"}, {Name: "b"}}}
		r, err := Run(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		l := r.Lines[0]
		met := ""
		if l.Met != nil {
			met = map[bool]string{true: "yes", false: "no"}[*l.Met]
		}
		if l.Ratio[0].Median != c.ratio || met != c.met || !strings.Contains(l.row(), c.cells) || (r.Failed() != nil) != c.failed {
			t.Errorf("%v: %+v, %q, %v", c.values, l, l.row(), r.Failed())
		}
	}
}

// TestRunsArePaired: the targets take turns within a row, and what is measured once
// is measured once, behind the rest.
func TestRunsArePaired(t *testing.T) {
	var order []string
	row := func(name string, once bool) Row {
		return Row{Name: name, once: once, Figures: []Figure{{Name: name}}, run: func(_ context.Context, s Setup) ([]float64, error) {
			order = append(order, name+"@"+s.URIs[0].Host)
			return []float64{1}, nil
		}}
	}
	var log, table bytes.Buffer
	plan := Plan{Rows: []Row{row("x", false), row("y", true)}, Runs: 2, Log: &log}
	for _, name := range []string{"a", "b"} {
		target, err := ParseTarget(name + "=amqp://" + name)
		if err != nil {
			t.Fatal(err)
		}
		plan.Targets = append(plan.Targets, target)
	}
	r, err := Run(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, " "), "x@a x@b x@a x@b y@a y@b"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := r.Print(&table); err != nil || !strings.Contains(table.String(), "| y * |") ||
		!strings.Contains(table.String(), "were measured once") || strings.Contains(table.String(), "| x * |") {
		t.Errorf("%s %v", table.String(), err)
	}
	if !strings.Contains(log.String(), "2/2 b: x") || !strings.Contains(log.String(), "1/1 b: y") {
		t.Error(log.String())
	}
}

func TestNames(t *testing.T) {
	if rows, err := Choose([]string{"rpc", "16b"}); err != nil || len(rows) != 2 || rows[0].Name != "rpc" {
		t.Errorf("%v, %v", rows, err)
	}
	if _, err := Choose([]string{"nonsense"}); err == nil {
		t.Error("a row that is not there")
	}
	if target, err := ParseTarget("w=amqp://a,amqp://b:1"); err != nil || target.Name != "w" || len(target.URIs) != 2 || target.URIs[1].Addr() != "b:1" {
		t.Errorf("%+v, %v", target, err)
	}
	for _, s := range []string{"", "w", "=amqp://a", "w=", "w=http://a"} {
		if _, err := ParseTarget(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}
