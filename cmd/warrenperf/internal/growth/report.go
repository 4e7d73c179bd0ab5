package growth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"warren/cmd/warrenperf/internal/svg"
)

// Names of the files of a Result.
const (
	dataFile  = "growth.json"
	tableFile = "growth.md"
)

// A Result is all points of a directory, which may come of several runs.
type Result struct {
	About  string  `json:"about"` // the machine, in a person's words
	Points []Point `json:"points"`
}

// Load reads the points of a directory; none when it holds none yet.
func Load(dir string) (*Result, error) {
	r := &Result{}
	text, err := os.ReadFile(filepath.Join(dir, dataFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, dataFile), err)
	}
	return r, nil
}

// Put adds a point, in place of an earlier one of the same step.
func (r *Result) Put(p Point) {
	r.Points = slices.DeleteFunc(r.Points, func(q Point) bool { return q.Axis == p.Axis && q.Value == p.Value })
	r.Points = append(r.Points, p)
	order := map[string]int{}
	for i, a := range Axes() {
		order[a.Name] = i
	}
	slices.SortFunc(r.Points, func(a, b Point) int {
		if a.Axis != b.Axis {
			return order[a.Axis] - order[b.Axis]
		}
		return a.Value - b.Value
	})
}

// Save writes the points, and tables and plots of them, into a directory.
func (r *Result) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{dataFile: append(data, '\n'), tableFile: []byte(r.Markdown())}
	for _, a := range Axes() {
		if points := r.of(a); len(points) > 0 {
			files[a.plot()] = a.chart(points).Draw()
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *Result) of(a Axis) (points []Point) {
	for _, p := range r.Points {
		if p.Axis == a.Name {
			points = append(points, p)
		}
	}
	return points
}

func (a Axis) plot() string { return "growth-" + a.Name + ".svg" }

const intro = `# Cost with growth

<!-- Made by "make bench-growth" (warrenperf growth). Do not edit. -->

One thing grows, the rest stays: 1 KiB, persistent, one quorum queue, three nodes, two producers with at most
1,000 unconfirmed messages each, two consumers that acknowledge every 100; generator and nodes share the
machine. Throughput is of messages published, confirmed, delivered and acknowledged. Latencies are of a
run of its own at the modest rate in the table, with an ack for each message; memory is that of the largest node
behind the fast run. Large messages are fewer under way: 16 MiB a producer at most.
`

// Markdown returns all tables, with the plots between.
func (r *Result) Markdown() string {
	var b strings.Builder
	b.WriteString(intro)
	if r.About != "" {
		fmt.Fprintf(&b, "\n%s\n", r.About)
	}
	for _, a := range Axes() {
		points := r.of(a)
		if len(points) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n![%s](%s)\n\n", a.Title, a.Title, a.plot())
		b.WriteString(a.table(points))
	}
	return b.String()
}

func (a Axis) table(points []Point) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | msg/s | bodies, MB/s | confirm p50 / p99, ms | end to end p50 / p99, ms | at msg/s | nodes' CPU, cores | memory, MiB |", a.label)
	rule := "|---:|---:|---:|---:|---:|---:|---:|---:|"
	if a.Name == backlogAxis {
		b.WriteString(" fill, msg/s |")
		rule += "---:|"
	}
	fmt.Fprintf(&b, "\n%s\n", rule)
	for _, p := range points {
		if p.Error != "" {
			fmt.Fprintf(&b, "| %s | failed: %s |\n", a.text(p.Value), strings.ReplaceAll(p.Error, "\n", " "))
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %.3g | %s / %s | %s / %s | %.3g | %.2f | %d |", a.text(p.Value), count(int(math.Round(p.Throughput))),
			p.Bytes/1e6, millis(p.ConfirmP50), millis(p.ConfirmP99), millis(p.ArriveP50), millis(p.ArriveP99), p.Rate, p.Servers, p.Resident>>20)
		if a.Name == backlogAxis {
			fill := "–"
			if p.Fill > 0 {
				fill = count(int(math.Round(p.Fill)))
			}
			fmt.Fprintf(&b, " %s |", fill)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// chart has throughput and latencies, and bytes where the size grows, else memory.
func (a Axis) chart(points []Point) svg.Chart {
	var steps []string
	for _, p := range points {
		steps = append(steps, a.text(p.Value))
	}
	line := func(name string, color int, dashed bool, value func(Point) float64) svg.Line {
		l := svg.Line{Name: name, Color: color, Dashed: dashed}
		for _, p := range points {
			v := value(p)
			if p.Error != "" || v == missing {
				v = math.NaN()
			}
			l.Y = append(l.Y, v)
		}
		return l
	}
	third := svg.Panel{Title: "Resident memory of the largest node", X: a.label, Y: "MiB", Steps: steps, Values: true,
		Lines: []svg.Line{line("memory", 2, false, func(p Point) float64 { return float64(p.Resident) / (1 << 20) })}}
	if a.Name == "size" {
		third = svg.Panel{Title: "Throughput in bodies", X: a.label, Y: "MB/s", Steps: steps, Values: true,
			Lines: []svg.Line{line("bodies", 2, false, func(p Point) float64 { return p.Bytes / 1e6 })}}
	}
	return svg.Chart{Title: a.Title, Panels: []svg.Panel{
		{Title: "Throughput", X: a.label, Y: "msg/s", Steps: steps, Values: true,
			Lines: []svg.Line{line("throughput", 0, false, func(p Point) float64 { return p.Throughput })}},
		{Title: "Latency at a modest rate", X: a.label, Y: "ms", Steps: steps, Lines: []svg.Line{
			line("confirm p50", 0, false, func(p Point) float64 { return p.ConfirmP50 }),
			line("confirm p99", 0, true, func(p Point) float64 { return p.ConfirmP99 }),
			line("end to end p50", 1, false, func(p Point) float64 { return p.ArriveP50 }),
			line("end to end p99", 1, true, func(p Point) float64 { return p.ArriveP99 }),
		}},
		third,
	}}
}

func millis(v float64) string {
	if v == missing {
		return "–"
	}
	return fmt.Sprintf("%.3g", v)
}

// count writes thousands with commas.
func count(v int) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bytes writes a power of two.
func bytes(v int) string {
	switch {
	case v >= 1<<20:
		return fmt.Sprintf("%d MiB", v>>20)
	case v >= 1<<10:
		return fmt.Sprintf("%d KiB", v>>10)
	}
	return fmt.Sprintf("%d B", v)
}
