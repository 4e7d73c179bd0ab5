package suite

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"warren/cmd/warrenperf/internal/client"
)

// A Target is a broker to measure.
type Target struct {
	Name string
	URIs []client.Endpoint
}

// ParseTarget reads NAME=URI,URI….
func ParseTarget(s string) (Target, error) {
	name, list, ok := strings.Cut(s, "=")
	if !ok || name == "" || list == "" {
		return Target{}, fmt.Errorf("target %q is not of the form NAME=URI,URI", s)
	}
	t := Target{Name: name}
	for u := range strings.SplitSeq(list, ",") {
		e, err := client.ParseURI(u)
		if err != nil {
			return Target{}, fmt.Errorf("target %s: %w", name, err)
		}
		t.URIs = append(t.URIs, e)
	}
	return t, nil
}

// A Plan says what to measure.
type Plan struct {
	Setup   // URIs are the targets'
	Rows    []Row
	Targets []Target // the first is compared with each of the others
	Repeat  int      // how often each row runs on each target, in turn
	Ceiling float64  // bytes a second that Raft reaches without a broker; 0: unknown
	Log     io.Writer
}

// A Line is a figure's outcome.
type Line struct {
	Row    string      `json:"row"`
	Figure string      `json:"figure"`
	Unit   string      `json:"unit"`
	Goal   string      `json:"goal,omitempty"`
	Met    *bool       `json:"met,omitempty"` // by the ratio to the second target
	Median []float64   `json:"medians"`       // by target; -1: never measured
	Ratio  []float64   `json:"ratios"`        // of the first target to each other: median over the paired runs; -1: no pair
	Runs   [][]float64 `json:"runs"`          // by target, by repetition; -1: failed
}

// A Result is the outcome of a plan.
type Result struct {
	Targets []string `json:"targets"`
	Repeat  int      `json:"repeat"`
	Seconds float64  `json:"seconds_per_row"`
	Lines   []Line   `json:"lines"`
	Ceiling *Ceiling `json:"ceiling,omitempty"`
	Errors  []string `json:"errors,omitempty"`
}

// A Ceiling compares what the first target carries of large messages with what
// Raft and the disk allow.
type Ceiling struct {
	Bytes float64 `json:"bytes_rate"`         // bodies carried, a second
	Raft  float64 `json:"ceiling_bytes_rate"` // the ceiling, a second
	Share float64 `json:"share"`
	Goal  float64 `json:"goal"`
}

// ceilingGoal is the share that is asked for.
const ceilingGoal = 0.6

// missing stands for a figure that could not be measured.
const missing = -1

// Run carries out the plan. A row that fails on a target is told in the result;
// the error is that of ctx.
func Run(ctx context.Context, p Plan) (*Result, error) {
	r := &Result{Repeat: p.Repeat, Seconds: p.Time.Seconds()}
	for _, t := range p.Targets {
		r.Targets = append(r.Targets, t.Name)
	}
	for _, row := range p.Rows {
		for _, f := range row.Figures {
			line := Line{Row: row.Name, Figure: f.Name, Unit: f.Unit, Goal: f.goal(), Runs: make([][]float64, len(p.Targets))}
			r.Lines = append(r.Lines, line)
		}
	}
	for n := range p.Repeat {
		at := 0
		for _, row := range p.Rows {
			p.runRow(ctx, row, n, r, r.Lines[at:at+len(row.Figures)])
			at += len(row.Figures)
		}
	}
	at := 0
	for _, row := range p.Rows {
		for _, f := range row.Figures {
			r.Lines[at].conclude(f)
			if v := r.Lines[at].Median[0]; p.Ceiling > 0 && row.Name == largeRow && v != missing {
				carried := v * largeSize
				r.Ceiling = &Ceiling{Bytes: carried, Raft: p.Ceiling, Share: carried / p.Ceiling, Goal: ceilingGoal}
			}
			at++
		}
	}
	return r, ctx.Err()
}

// runRow measures a row once on each target.
func (p *Plan) runRow(ctx context.Context, row Row, n int, r *Result, lines []Line) {
	for i, t := range p.Targets {
		setup := p.Setup
		setup.URIs = t.URIs
		values, err := row.run(ctx, setup)
		if err != nil {
			r.Errors = append(r.Errors, fmt.Sprintf("%s on %s: %s", row.Name, t.Name, err))
			fmt.Fprintf(p.Log, "%d/%d %s on %s: %s\n", n+1, p.Repeat, row.Name, t.Name, err)
		}
		for k := range lines {
			value := float64(missing)
			if err == nil {
				value = values[k]
				fmt.Fprintf(p.Log, "%d/%d %s: %s %s %s\n", n+1, p.Repeat, t.Name, lines[k].Figure, number(value), lines[k].Unit)
			}
			lines[k].Runs[i] = append(lines[k].Runs[i], value)
		}
	}
}

// conclude makes medians and ratios of the runs.
func (l *Line) conclude(f Figure) {
	for i, runs := range l.Runs {
		l.Median = append(l.Median, median(runs))
		if i == 0 {
			continue
		}
		var ratios []float64
		for n, v := range runs {
			if v > 0 && l.Runs[0][n] > 0 {
				ratios = append(ratios, l.Runs[0][n]/v)
			}
		}
		l.Ratio = append(l.Ratio, median(ratios))
	}
	if f.Goal > 0 && len(l.Ratio) > 0 && l.Ratio[0] != missing {
		met := f.met(l.Ratio[0])
		l.Met = &met
	}
}

// median passes over what is missing.
func median(all []float64) float64 {
	v := slices.DeleteFunc(slices.Clone(all), func(x float64) bool { return x == missing })
	if len(v) == 0 {
		return missing
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Failed returns an error when a row could not be measured. A goal that was
// missed is none: the table tells it.
func (r *Result) Failed() error {
	if len(r.Errors) > 0 {
		return fmt.Errorf("%d runs failed, the first: %s", len(r.Errors), r.Errors[0])
	}
	return nil
}

// Print writes the table, in Markdown.
func (r *Result) Print(w io.Writer) error {
	head, rule := "| work | unit |", "|---|---|"
	for i, t := range r.Targets {
		head += " " + t + " |"
		rule += "---:|"
		if i > 0 {
			head += " ratio |"
			rule += "---:|"
		}
	}
	head += " ratio's goal |  |"
	rule += "---:|---|"
	if _, err := fmt.Fprintf(w, "Medians of %d runs of %.3g s.\n\n%s\n%s\n", r.Repeat, r.Seconds, head, rule); err != nil {
		return err
	}
	for _, l := range r.Lines {
		if _, err := fmt.Fprintln(w, l.row()); err != nil {
			return err
		}
	}
	if c := r.Ceiling; c != nil {
		_, err := fmt.Fprintf(w, "\nBodies of 16 KiB: %.0f MB/s on %s, %.0f%% of Raft's ceiling of %.0f MB/s (goal %.0f%%).\n",
			c.Bytes/1e6, r.Targets[0], 100*c.Share, c.Raft/1e6, 100*c.Goal)
		return err
	}
	return nil
}

func (l *Line) row() string {
	s := fmt.Sprintf("| %s | %s |", l.Figure, l.Unit)
	for i, v := range l.Median {
		s += fmt.Sprintf(" %s |", number(v))
		if i > 0 {
			s += fmt.Sprintf(" %s |", number(l.Ratio[i-1]))
		}
	}
	verdict := ""
	if l.Met != nil {
		verdict = "missed"
		if *l.Met {
			verdict = "reached"
		}
	}
	return s + fmt.Sprintf(" %s | %s |", l.Goal, verdict)
}

// number writes three digits that count, and thousands in full.
func number(v float64) string {
	switch {
	case v == missing:
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", math.Round(v))
	}
	return fmt.Sprintf("%.3g", v)
}
