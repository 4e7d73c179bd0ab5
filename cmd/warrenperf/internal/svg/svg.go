// Package svg draws line charts as SVG: panels side by side, each with axes, units,
// labels and a legend, in colours that suit light and dark pages.
package svg

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// A Chart is a row of panels under one title.
type Chart struct {
	Title  string
	Panels []Panel
}

// A Panel draws lines over ordered steps, which stand at equal distances.
type Panel struct {
	Title  string
	X      string   // what the steps are
	Y      string   // the unit of the values
	Steps  []string // the labels of the steps
	Lines  []Line
	Values bool // write the values of the first line at its points
}

// A Line is one series. NaN is a step without a value.
type Line struct {
	Name   string
	Dashed bool
	Color  int // one of some colours, counted from 0
	Y      []float64
}

// Sizes in pixels.
const (
	width, height = 400, 334 // of a panel
	top, bottom   = 78, 58   // margins of the plot in it: the legend stands above
	left, right   = 62, 16
	head          = 34 // above the panels
)

// Colours are set twice, not by custom properties: not every program that shows
// SVG knows those.
const style = `<style>
text{font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;fill:#1f2328}
.head{font-size:16px;font-weight:600}.title{font-size:13px;font-weight:600}.small{font-size:11px}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.value{font-size:11px;paint-order:stroke;stroke:#fff;stroke-width:3px}
.page{fill:#fff}.faint{fill:#59636e}.grid{stroke:#d8dee4}
.s0{stroke:#0b62c4}.s1{stroke:#c2410c}.s2{stroke:#17803d}.s3{stroke:#7c3aed}
.f0{fill:#0b62c4}.f1{fill:#c2410c}.f2{fill:#17803d}.f3{fill:#7c3aed}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.value{stroke:#0d1117}.page{fill:#0d1117}.faint{fill:#9198a1}.grid{stroke:#30363d}
.s0{stroke:#6cb6ff}.s1{stroke:#ff9e64}.s2{stroke:#6bd48b}.s3{stroke:#c4a7ff}
.f0{fill:#6cb6ff}.f1{fill:#ff9e64}.f2{fill:#6bd48b}.f3{fill:#c4a7ff}
}
</style>
`

const colors = 4

// Draw returns the chart as a file.
func (c Chart) Draw() []byte {
	var b bytes.Buffer
	w, h := width*max(len(c.Panels), 1), head+height
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>%s</title>\n%s", html.EscapeString(c.Title), style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d"/>`+"\n", w, h)
	text(&b, 16, 24, "head", "start", c.Title)
	for i, p := range c.Panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", i*width, head)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func text(b *bytes.Buffer, x, y float64, class, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(s))
}

func (p Panel) draw(b *bytes.Buffer) {
	text(b, 16, 16, "title", "start", p.Title)
	s := newScale(p.Lines)
	p.legend(b)
	for _, v := range s.ticks {
		y := s.at(v)
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/>`+"\n", left, y, width-right)
		text(b, left-6, y+4, "faint small", "end", Number(v))
	}
	unit := p.Y
	if s.log {
		unit += " (logarithmic)"
	}
	text(b, 16, top-12, "faint small", "start", unit)
	for i, label := range p.Steps {
		text(b, p.x(i), height-bottom+18, "faint small", "middle", label)
	}
	text(b, (left+width-right)/2, height-bottom+38, "faint", "middle", p.X)
	for i, l := range p.Lines {
		p.line(b, s, l, p.Values && i == 0)
	}
}

// legend names the lines, where there is more than one.
func (p Panel) legend(b *bytes.Buffer) {
	if len(p.Lines) < 2 {
		return
	}
	x, y := 16.0, 36.0
	for i, l := range p.Lines {
		if i > 0 && i%2 == 0 {
			x, y = 16, y+15
		}
		fmt.Fprintf(b, `<path class="line s%d"%s d="M%.1f %.1fh24"/>`+"\n", l.Color%colors, dash(l), x, y-4)
		text(b, x+30, y, "small", "start", l.Name)
		x += 180
	}
}

func dash(l Line) string {
	if l.Dashed {
		return ` stroke-dasharray="5 4"`
	}
	return ""
}

// x is where the i-th step stands.
func (p Panel) x(i int) float64 {
	const inset = 22 // so that labels of the outer steps stay within
	if len(p.Steps) < 2 {
		return (left + width - right) / 2
	}
	return left + inset + float64(i)*(width-left-right-2*inset)/float64(len(p.Steps)-1)
}

func (p Panel) line(b *bytes.Buffer, s scale, l Line, values bool) {
	var path strings.Builder
	pen := "M"
	for i, v := range l.Y {
		if math.IsNaN(v) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, p.x(i), s.at(v))
		pen = "L"
	}
	fmt.Fprintf(b, `<path class="line s%d"%s d="%s"/>`+"\n", l.Color%colors, dash(l), path.String())
	for i, v := range l.Y {
		if math.IsNaN(v) {
			continue
		}
		fmt.Fprintf(b, `<circle class="f%d" cx="%.1f" cy="%.1f" r="3"><title>%s: %s %s</title></circle>`+"\n",
			l.Color%colors, p.x(i), s.at(v), html.EscapeString(p.Steps[i]), Number(v), html.EscapeString(p.Y))
		if values {
			text(b, p.x(i), s.at(v)-8, "value", "middle", Number(v))
		}
	}
}

// A scale maps values to heights: from 0, or by logarithms when the values lie
// further apart than a linear axis could show.
type scale struct {
	low, high float64
	log       bool
	ticks     []float64
}

// tooFar is from what ratio of the greatest to the least value on an axis is logarithmic.
const tooFar = 12

func newScale(lines []Line) scale {
	least, most := math.Inf(1), 0.0
	for _, l := range lines {
		for _, v := range l.Y {
			if !math.IsNaN(v) {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if most <= 0 {
		return scale{low: 0, high: 1, ticks: []float64{0, 1}}
	}
	if least > 0 && most/least > tooFar {
		return logScale(least, most)
	}
	step := niceStep(most / 5)
	s := scale{high: math.Ceil(most*1.08/step) * step} // room for the values' texts
	for i := 0.0; i*step <= s.high+step/2; i++ {
		s.ticks = append(s.ticks, i*step)
	}
	return s
}

// logScale has ticks at 1, 2 and 5 of each decade, or at 1 only when they are many.
func logScale(least, most float64) scale {
	digits := []float64{1, 2, 5}
	if most/least > 1000 {
		digits = digits[:1]
	}
	s := scale{log: true}
	for decade := math.Pow(10, math.Floor(math.Log10(least))); ; decade *= 10 {
		for _, d := range digits {
			v := d * decade
			if v <= least {
				s.ticks = s.ticks[:0] // the last tick that is not above all
			}
			s.ticks = append(s.ticks, v)
			if v >= most {
				s.low, s.high = s.ticks[0], v
				return s
			}
		}
	}
}

func niceStep(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, d := range []float64{1, 2, 2.5, 5} {
		if v <= d*decade {
			return d * decade
		}
	}
	return 10 * decade
}

func (s scale) at(v float64) float64 {
	const plot = height - top - bottom
	part := (v - s.low) / (s.high - s.low)
	if s.log {
		part = math.Log(v/s.low) / math.Log(s.high/s.low)
	}
	return top + plot*(1-part)
}

// Number writes about three digits that count, with k and M for thousands and millions.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a >= 999_500:
		return short(v/1e6) + "M"
	case a >= 999.5:
		return short(v/1e3) + "k"
	}
	return short(v)
}

func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return trim(fmt.Sprintf("%.1f", v))
	}
	return trim(fmt.Sprintf("%.2f", v))
}

// trim drops zeros behind the point.
func trim(s string) string { return strings.TrimRight(strings.TrimRight(s, "0"), ".") }
