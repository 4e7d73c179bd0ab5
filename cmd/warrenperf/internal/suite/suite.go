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
	Runs    int      // how often each row runs on each target, in turn
	Ceiling float64  // bytes a second that Raft reaches without a broker; 0: unknown
	Log     io.Writer
}

// A Line is a figure's outcome.
type Line struct {
	Row    string      `json:"row"`
	Figure string      `json:"figure"`
	Unit   string      `json:"unit"`
	Goal   string      `json:"goal,omitempty"`
	Met    *bool       `json:"met,omitempty"`  // by the ratio to the second target
	Median []float64   `json:"medians"`        // by target; -1: never measured
	Ratio  []Ratio     `json:"ratios"`         // of the first target to each other
	Once   bool        `json:"once,omitempty"` // measured once, whatever Plan.Runs says
	Runs   [][]float64 `json:"runs"`           // by target, by run; -1: failed
}

// A Ratio is that of the first target's figures to another's, over the paired runs;
// all -1 when there is no pair.
type Ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// A Result is the outcome of a plan.
type Result struct {
	Targets []string `json:"targets"`
	Runs    int      `json:"runs"`
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

// Run carries out the plan, row by row: one run on each target in turn, as often
// as the plan says, so that a pair of runs sees the machine in the same state. A
// run that fails on a target is told in the result; the error is that of ctx.
func Run(ctx context.Context, p Plan) (*Result, error) {
	r := &Result{Runs: p.Runs, Seconds: p.Time.Seconds()}
	for _, t := range p.Targets {
		r.Targets = append(r.Targets, t.Name)
	}
	for _, row := range p.Rows {
		var lines []Line
		for _, f := range row.Figures {
			lines = append(lines, Line{Row: row.Name, Figure: f.Name, Unit: f.Unit, Goal: f.goal(), Once: row.once, Runs: make([][]float64, len(p.Targets))})
		}
		runs := p.Runs
		if row.once {
			runs = 1
		}
		for n := range runs {
			p.runRow(ctx, row, fmt.Sprintf("%d/%d", n+1, runs), r, lines)
		}
		for i, f := range row.Figures {
			lines[i].conclude(f)
		}
		if v := lines[0].Median[0]; p.Ceiling > 0 && row.Name == largeRow && v != missing {
			carried := v * largeSize
			r.Ceiling = &Ceiling{Bytes: carried, Raft: p.Ceiling, Share: carried / p.Ceiling, Goal: ceilingGoal}
		}
		r.Lines = append(r.Lines, lines...)
	}
	return r, ctx.Err()
}

// runRow measures a row once on each target; which run it is stands in the log.
func (p *Plan) runRow(ctx context.Context, row Row, which string, r *Result, lines []Line) {
	for i, t := range p.Targets {
		setup := p.Setup
		setup.URIs = t.URIs
		values, err := row.run(ctx, setup)
		if err != nil {
			r.Errors = append(r.Errors, fmt.Sprintf("%s on %s: %s", row.Name, t.Name, err))
			fmt.Fprintf(p.Log, "%s %s on %s: %s\n", which, row.Name, t.Name, err)
		}
		for k := range lines {
			value := float64(missing)
			if err == nil {
				value = values[k]
				fmt.Fprintf(p.Log, "%s %s: %s %s %s\n", which, t.Name, lines[k].Figure, number(value), lines[k].Unit)
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
		ratio := Ratio{missing, missing, missing}
		if len(ratios) > 0 {
			ratio = Ratio{median(ratios), slices.Min(ratios), slices.Max(ratios)}
		}
		l.Ratio = append(l.Ratio, ratio)
	}
	if f.Goal > 0 && len(l.Ratio) > 0 && l.Ratio[0].Median != missing {
		met := f.met(l.Ratio[0].Median)
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
			head += " ratio | min–max |"
			rule += "---:|---:|"
		}
	}
	head += " ratio's goal |  |"
	rule += "---:|---|"
	title := fmt.Sprintf("Medians of %d paired runs of %.3g s; the ratio is the median of the pairs' ratios.", r.Runs, r.Seconds)
	if r.Runs > 1 && slices.ContainsFunc(r.Lines, func(l Line) bool { return l.Once }) {
		title += " Rows with * were measured once."
	}
	if _, err := fmt.Fprintf(w, "%s\n\n%s\n%s\n", title, head, rule); err != nil {
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
	s := "| " + l.Figure
	if l.Once {
		s += " *"
	}
	s += fmt.Sprintf(" | %s |", l.Unit)
	for i, v := range l.Median {
		s += fmt.Sprintf(" %s |", number(v))
		if i == 0 {
			continue
		}
		ratio := l.Ratio[i-1]
		s += fmt.Sprintf(" %s | %s |", number(ratio.Median), ratio.span())
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

// span writes the least and the greatest ratio.
func (r Ratio) span() string {
	if r.Median == missing {
		return number(missing)
	}
	return number(r.Min) + "–" + number(r.Max)
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
