package svg

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestDrawIsXML(t *testing.T) {
	c := Chart{Title: "a < b & c", Panels: []Panel{
		{Title: "one", X: "x", Y: "msg/s", Steps: []string{"1 B", "<2>"}, Values: true,
			Lines: []Line{{Name: "p50", Y: []float64{1, math.NaN()}}, {Name: "p99", Color: 1, Dashed: true, Y: []float64{1000, 2}}}},
		{Title: "empty", Steps: []string{"1"}, Lines: []Line{{Y: []float64{math.NaN()}}}},
		{Title: "none"},
	}}
	out := string(c.Draw())
	d := xml.NewDecoder(strings.NewReader(out))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
	}
	for _, want := range []string{"a &lt; b &amp; c", "&lt;2&gt;", "msg/s", "prefers-color-scheme:dark", "stroke-dasharray"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "<circle"); n != 3 {
		t.Errorf("%d points of 3 values", n)
	}
	if strings.Contains(out, "NaN") || strings.Contains(out, "Inf") {
		t.Errorf("a number that is none in\n%s", out)
	}
}

func TestScales(t *testing.T) {
	for _, c := range []struct {
		values    []float64
		log       bool
		low, high float64
		ticks     int
	}{
		{[]float64{10, 90}, false, 0, 100, 6},
		{[]float64{1.5, 40}, true, 1, 50, 6},
		{[]float64{100, 400_000}, true, 100, 1e6, 5},
		{[]float64{5, 5}, false, 0, 6, 7},
		{[]float64{0, 1000}, false, 0, 1200, 7}, // 0 has no logarithm
		{nil, false, 0, 1, 2},
	} {
		s := newScale([]Line{{Y: c.values}})
		if s.log != c.log || math.Abs(s.low-c.low) > 1e-9 || math.Abs(s.high-c.high) > 1e-6 || len(s.ticks) != c.ticks {
			t.Errorf("%v: %+v, want %+v", c.values, s, c)
		}
		for _, v := range c.values {
			if y := s.at(v); y < top-0.01 || y > height-bottom+0.01 {
				t.Errorf("%v: %g stands at %g, outside", c.values, v, y)
			}
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.25: "0.25", 1.5: "1.5", 12.34: "12.3", 100: "100", 999: "999",
		1000: "1k", 95_289: "95.3k", 409_610: "410k", 999_900: "1M", 5e6: "5M", math.NaN(): "–"} {
		if got := Number(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
}
