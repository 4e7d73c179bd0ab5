package growth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"warren/cmd/warrenperf/internal/brokertest"
	"warren/cmd/warrenperf/internal/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T, f brokertest.Faults) (Setup, *brokertest.Broker) {
	b := brokertest.Start(t, f)
	e, err := client.ParseURI(b.URI())
	if err != nil {
		t.Fatal(err)
	}
	return Setup{URIs: []client.Endpoint{e}, Time: 150 * time.Millisecond, Log: t.Output()}, b
}

// TestEveryAxis measures small steps of each axis and reads the files back.
func TestEveryAxis(t *testing.T) {
	s, b := setup(t, brokertest.Faults{})
	dir := t.TempDir()
	steps := map[string][]int{"size": {16, 10_000}, "queues": {1, 30}, "connections": {2, 20}, "backlog": {0, 500, 2000}, "nodes": {1}}
	want := 0
	for _, a := range Axes() {
		err := a.Measure(t.Context(), s, steps[a.Name], func(p Point) error {
			want++
			r, err := Load(dir)
			if err != nil {
				return err
			}
			r.Put(p)
			return r.Save(dir)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := Load(dir)
	if err != nil || len(r.Points) != want {
		t.Fatalf("%d of %d points, %v", len(r.Points), want, err)
	}
	for _, p := range r.Points {
		// A rate may be 0 on a machine that is busy elsewhere.
		if p.Error != "" || p.Throughput < 0 || p.ConfirmP50 == missing || p.ArriveP99 == missing || p.Rate <= 0 {
			t.Errorf("%+v", p)
		}
		if p.Axis == backlogAxis && (p.Fill > 0) != (p.Value > 0) {
			t.Errorf("%+v", p)
		}
	}
	tables, err := os.ReadFile(filepath.Join(dir, tableFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range Axes() {
		if !strings.Contains(string(tables), "## "+a.Title) || !strings.Contains(string(tables), "("+a.plot()+")") {
			t.Errorf("%s is not in\n%s", a.Name, tables)
		}
		if _, err := os.Stat(filepath.Join(dir, a.plot())); err != nil {
			t.Error(err)
		}
	}
	if left := b.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestFailedPoint: the others are measured, the table tells of the failure.
func TestFailedPoint(t *testing.T) {
	s, _ := setup(t, brokertest.Faults{RefuseDeclare: true})
	a, err := Find("queues")
	if err != nil {
		t.Fatal(err)
	}
	r := &Result{}
	if err := a.Measure(t.Context(), s, []int{1, 2}, func(p Point) error { r.Put(p); return nil }); err != nil {
		t.Fatal(err)
	}
	if text := r.Markdown(); len(r.Points) != 2 || strings.Count(text, "failed: declare") != 2 {
		t.Errorf("%s", text)
	}
}

// TestEveryStepIsPossible: a step that the load generator refuses would be found in
// the middle of a long run.
func TestEveryStepIsPossible(t *testing.T) {
	for _, a := range Axes() {
		for _, v := range a.values {
			o := a.options(Setup{URIs: make([]client.Endpoint, 1)}, v)
			if err := o.Check(); err != nil {
				t.Errorf("%s %d: %v", a.Name, v, err)
			}
			if under := o.Confirm * o.Producers * o.Size; under > 64<<20 {
				t.Errorf("%s %d: %d bytes under way", a.Name, v, under)
			}
		}
	}
	if _, err := Find("nonsense"); err == nil {
		t.Error("an axis that is not there")
	}
	if a, _ := Find("backlog"); len(a.Choose(100_000)) != 3 || len(a.Choose(0)) != 5 {
		t.Error("steps are not bounded")
	}
}

func TestPutReplaces(t *testing.T) {
	r := &Result{}
	for _, p := range []Point{{Axis: "queues", Value: 10, Throughput: 1}, {Axis: "size", Value: 16}, {Axis: "queues", Value: 1}, {Axis: "queues", Value: 10, Throughput: 2}} {
		r.Put(p)
	}
	if len(r.Points) != 3 || r.Points[0].Axis != "size" || r.Points[1].Value != 1 || r.Points[2].Throughput != 2 {
		t.Errorf("%+v", r.Points)
	}
}

func TestDamagedData(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, dataFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dataFile) {
		t.Errorf("%v", err)
	}
}
