package load

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"warren/cmd/warrenperf/internal/hist"
	"warren/cmd/warrenperf/internal/proc"
)

// Millis is a duration that is written to JSON in milliseconds.
type Millis time.Duration

// MarshalJSON writes milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(m).Seconds() * 1e3)
}

// Latency is a distribution of durations.
type Latency struct {
	Count uint64 `json:"count"`
	P50   Millis `json:"p50_ms"`
	P90   Millis `json:"p90_ms"`
	P99   Millis `json:"p99_ms"`
	P999  Millis `json:"p99_9_ms"`
	Max   Millis `json:"max_ms"`
}

// latency returns nil when nothing was measured.
func latency(h *hist.Histogram) *Latency {
	if h.Count() == 0 {
		return nil
	}
	return &Latency{
		Count: h.Count(), P50: Millis(h.Percentile(50)), P90: Millis(h.Percentile(90)), P99: Millis(h.Percentile(99)),
		P999: Millis(h.Percentile(99.9)), Max: Millis(h.Max()),
	}
}

// CPU is what processes used during the measurement, in cores: 1 is one
// processor all the time.
type CPU struct {
	Generator float64 `json:"generator_cores"`
	Servers   float64 `json:"server_cores"`
	PIDs      []int   `json:"server_pids,omitempty"`
}

// A Report is the outcome of a measurement. The rates are a second's.
type Report struct {
	Server    string  `json:"server"`
	Seconds   float64 `json:"seconds"`
	Counts    Counts  `json:"counts"`
	Sent      float64 `json:"sent_rate"`
	Confirmed float64 `json:"confirmed_rate"`
	Received  float64 `json:"received_rate"`
	Acked     float64 `json:"acked_rate"`
	Bytes     float64 `json:"received_bytes_rate"` // bodies; those sent, without consumers

	Confirm  *Latency `json:"confirm_latency,omitempty"`
	EndToEnd *Latency `json:"end_to_end_latency,omitempty"`

	CPU      CPU           `json:"cpu"`
	Resident []uint64      `json:"server_resident_bytes,omitempty"` // of CPU.PIDs, at the end
	Verify   *Verification `json:"verify,omitempty"`
	Errors   []string      `json:"errors,omitempty"`
}

// Failed returns why the run counts as failed, nil when it does not: messages
// were lost or came out of order, or a client ended with an error.
func (r *Report) Failed() error {
	switch {
	case r.Verify != nil && r.Verify.Lost > 0:
		return fmt.Errorf("%d confirmed messages were lost", r.Verify.Lost)
	case r.Verify != nil && r.Verify.Disordered > 0:
		return fmt.Errorf("%d messages came out of order", r.Verify.Disordered)
	case len(r.Errors) == 1:
		return fmt.Errorf("%s", r.Errors[0])
	case len(r.Errors) > 1:
		return fmt.Errorf("%s (and %d more errors)", r.Errors[0], len(r.Errors)-1)
	}
	return nil
}

func (r *Report) fill(total *sample, elapsed time.Duration, size int) {
	s := max(elapsed.Seconds(), 1e-9)
	r.Seconds, r.Counts = elapsed.Seconds(), total.Counts
	r.Sent, r.Confirmed = float64(total.Sent)/s, float64(total.Confirmed)/s
	r.Received, r.Acked = float64(total.Received)/s, float64(total.Acked)/s
	r.Bytes = max(r.Received, r.Sent) * float64(size)
	if total.Received > 0 {
		r.Bytes = r.Received * float64(size)
	}
	r.Confirm, r.EndToEnd = latency(&total.confirm), latency(&total.endToEnd)
}

// Print writes the summary for people.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")+"\t") }
	fmt.Fprintf(w, "%s, %.1f s\n", r.Server, r.Seconds)
	row("", "messages", "per second")
	for _, c := range []struct {
		name  string
		count uint64
		rate  float64
	}{{"sent", r.Counts.Sent, r.Sent}, {"confirmed", r.Counts.Confirmed, r.Confirmed}, {"received", r.Counts.Received, r.Received}, {"acked", r.Counts.Acked, r.Acked}} {
		row(c.name, fmt.Sprint(c.count), fmt.Sprintf("%.0f", c.rate))
	}
	for name, n := range r.Counts.unusual() {
		row(name, fmt.Sprint(n), "")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	PrintLatencies(w, "latency", map[string]*Latency{"confirm": r.Confirm, "end-to-end": r.EndToEnd})
	fmt.Fprintf(w, "bodies %.1f MB/s; CPU in cores: generator %.2f%s\n", r.Bytes/1e6, r.CPU.Generator, r.servers())
	if v := r.Verify; v != nil {
		fmt.Fprintf(w, "verified: %d confirmed, %d received, %d lost, %d duplicates, %d out of order, %d redelivered, %d unconfirmed, %d of other runs\n",
			v.Confirmed, v.Received, v.Lost, v.Duplicates, v.Disordered, v.Repeated, v.Extra, v.Foreign)
	}
	for _, e := range r.Errors {
		fmt.Fprintln(w, "error:", e)
	}
	return nil
}

func (r *Report) servers() string {
	if len(r.CPU.PIDs) == 0 {
		return ""
	}
	var resident []string
	for _, b := range r.Resident {
		resident = append(resident, fmt.Sprintf("%d MiB", b>>20))
	}
	return fmt.Sprintf(", %d server processes %.2f; resident %s", len(r.CPU.PIDs), r.CPU.Servers, strings.Join(resident, ", "))
}

// unusual yields the counts that are told only when they are not 0.
func (c *Counts) unusual() func(yield func(string, uint64) bool) {
	return func(yield func(string, uint64) bool) {
		for _, e := range []struct {
			name string
			n    uint64
		}{{"nacked", c.Nacked}, {"returned", c.Returned}, {"redelivered", c.Redelivered}, {"blocked", c.Blocked}} {
			if e.n > 0 && !yield(e.name, e.n) {
				return
			}
		}
	}
}

// PrintLatencies writes a table of the distributions that are not nil.
func PrintLatencies(w io.Writer, title string, byName map[string]*Latency) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := false
	for _, name := range []string{"confirm", "end-to-end", "round trip", "declaration"} {
		l := byName[name]
		if l == nil {
			continue
		}
		if !head {
			fmt.Fprintf(t, "%s\tp50\tp90\tp99\tp99.9\tmax\t\n", title)
			head = true
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, l.P50, l.P90, l.P99, l.P999, l.Max)
	}
	_ = t.Flush() // an error of w comes again with its next use
}

// String writes milliseconds with three digits that count.
func (m Millis) String() string {
	ms := time.Duration(m).Seconds() * 1e3
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// progressLine tells what happened in the last second.
func progressLine(w io.Writer, at time.Duration, s *sample, over time.Duration) {
	rate := func(n uint64) float64 { return float64(n) / over.Seconds() }
	fmt.Fprintf(w, "%5.0fs  sent %.0f/s  confirmed %.0f/s  received %.0f/s  acked %.0f/s", at.Seconds(),
		rate(s.Sent), rate(s.Confirmed), rate(s.Received), rate(s.Acked))
	if l := latency(&s.confirm); l != nil {
		fmt.Fprintf(w, "  confirm p50 %s p99 %s", l.P50, l.P99)
	}
	if l := latency(&s.endToEnd); l != nil {
		fmt.Fprintf(w, "  end-to-end p50 %s p99 %s", l.P50, l.P99)
	}
	for name, n := range s.unusual() {
		fmt.Fprintf(w, "  %s %d", name, n)
	}
	fmt.Fprintln(w)
}

// A meter measures the CPU of this process and of servers from its making on.
type meter struct {
	pids    []int
	at      time.Time
	self    time.Duration
	servers time.Duration
}

// newMeter finds the servers behind the options' URIs, unless they are named.
func newMeter(o *Options) *meter {
	m := &meter{pids: o.ServerPIDs}
	if len(m.pids) == 0 {
		var addrs []string
		for _, u := range o.URIs {
			addrs = append(addrs, u.Addr())
		}
		m.pids = proc.Listeners(addrs)
	}
	m.restart()
	return m
}

func (m *meter) restart() {
	m.at, m.self, m.servers = time.Now(), proc.Self(), m.serverTime()
}

func (m *meter) serverTime() (sum time.Duration) {
	for _, pid := range m.pids {
		if t, err := proc.CPU(pid); err == nil { // one that ended counts no more
			sum += t
		}
	}
	return sum
}

func (m *meter) read() CPU {
	wall := max(time.Since(m.at).Seconds(), 1e-9)
	return CPU{
		Generator: (proc.Self() - m.self).Seconds() / wall,
		Servers:   max((m.serverTime()-m.servers).Seconds()/wall, 0),
		PIDs:      m.pids,
	}
}

func (m *meter) resident() (all []uint64) {
	for _, pid := range m.pids {
		if b, err := proc.Resident(pid); err == nil {
			all = append(all, b)
		}
	}
	return all
}
