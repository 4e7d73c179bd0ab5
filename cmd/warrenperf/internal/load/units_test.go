package load

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"warren/cmd/warrenperf/internal/hist"
	"warren/protocol"
)

func TestTemplateIsWellFormed(t *testing.T) {
	for _, size := range []int{0, 7, 8, 16, 4096 - 8, 4096 - 7, 100_000} {
		o := &Options{Size: size, Exchange: "x", Persistent: true}
		tmpl := newTemplate(o, "key", 4096)
		frames := tmpl.append([]byte("before"), 1, newMessageID(2, 3))
		r := protocol.NewReader(bytes.NewReader(frames[len("before"):]))
		f, err := r.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		var v protocol.PublishView
		if err := v.Parse(f.Payload); err != nil || string(v.RoutingKey) != "key" || string(v.Exchange) != "x" {
			t.Errorf("%+v, %v", v, err)
		}
		if f, err = r.ReadFrame(); err != nil {
			t.Fatal(err)
		}
		h, err := protocol.ParseContentHeader(f.Payload)
		if err != nil || h.BodySize != uint64(size) {
			t.Errorf("size %d: %+v, %v", size, h, err)
		}
		var body []byte
		for len(body) < size {
			if f, err = r.ReadFrame(); err != nil || f.Type != protocol.FrameBody {
				t.Fatal(f, err)
			}
			body = append(body, f.Payload...)
		}
		if r.Buffered() != 0 || len(body) != size {
			t.Errorf("size %d: body %d, %d bytes left", size, len(body), r.Buffered())
		}
		if size >= 8 && !bytes.Equal(body[:8], []byte{0, 0, 0, 0, 0, 0, 0, 1}) {
			t.Errorf("size %d: body begins % x", size, body[:8])
		}
		if size >= 16 && !bytes.Equal(body[8:16], []byte{0, 2, 0, 0, 0, 0, 0, 3}) {
			t.Errorf("size %d: body goes on % x", size, body[8:16])
		}
	}
}

func TestPacer(t *testing.T) {
	p := &pacer{rate: 100, start: 1000}
	if n, wait := p.due(0); n != 0 || wait != 1000 {
		t.Errorf("%d, %v", n, wait)
	}
	for i := range 200 {
		at := 1000 + int64(i)*int64(10*time.Millisecond)
		n, _ := p.due(at)
		if n != 1 {
			t.Fatalf("at %d: %d due", i, n)
		}
		p.sent++
		if n, wait := p.due(at); n != 0 || wait > 10*time.Millisecond || wait < 9*time.Millisecond {
			t.Fatalf("at %d: %d due, wait %v", i, n, wait)
		}
	}
	// A long stop is not made up for.
	if n, _ := p.due(int64(time.Hour)); n != 101 {
		t.Errorf("%d due after an hour", n)
	}
	if n, _ := (&pacer{}).due(5); n == 0 {
		t.Error("nothing due without a limit")
	}
}

// TestSettle takes confirms in every order that a broker may choose.
func TestSettle(t *testing.T) {
	newOne := func() *producer {
		p := &producer{o: &Options{Confirm: 8}, times: make([]int64, 16), next: 1, low: 1, tmpls: []template{{}}}
		if first, n, end := p.reserve(5, 10); first != 1 || n != 8 || end {
			t.Fatalf("%d, %d, %t", first, n, end)
		}
		return p
	}
	p := newOne()
	for _, tag := range []uint64{3, 1, 8, 8, 99, 3} { // repeats and nonsense change nothing
		p.settle(tag, false, true, 10)
	}
	if p.outstanding != 5 || p.low != 2 || p.cur.Confirmed != 3 {
		t.Errorf("%d outstanding from %d, %d confirmed", p.outstanding, p.low, p.cur.Confirmed)
	}
	p.settle(5, true, false, 10)
	if p.outstanding != 2 || p.low != 6 || p.cur.Nacked != 3 {
		t.Errorf("%d outstanding from %d, %d nacked", p.outstanding, p.low, p.cur.Nacked)
	}
	p.settle(0, true, true, 10)
	if p.outstanding != 0 || p.low != 9 || p.cur.Confirmed != 5 || p.cur.confirm.Max() != 5 {
		t.Errorf("%d outstanding from %d, %d confirmed", p.outstanding, p.low, p.cur.Confirmed)
	}
	// One old message that is never confirmed must not let the ring overflow.
	p = newOne()
	for range 100 {
		for tag := p.low + 1; tag < p.next; tag++ {
			p.settle(tag, false, true, 10)
		}
		p.reserve(6, 10)
	}
	if p.next-p.low != 16 || p.times[1] != 5 {
		t.Errorf("ring from %d to %d", p.low, p.next)
	}
}

func TestTracker(t *testing.T) {
	tr := newTracker(2, 2, 100)
	tr.confirmed[0].sent.Store(201)
	tr.confirmed[1].sent.Store(200)
	for n := range uint64(200) {
		tr.confirm(0, n+1)
		tr.confirm(1, n+1)
	}
	orders := make([]latest, 2) // a consumer for each queue
	mark := func(queue, producer int, number uint64, stamp int64, redelivered bool) {
		tr.receive(queue, []delivered{{newMessageID(producer, number), stamp, redelivered}}, &orders[queue])
	}
	for n := range uint64(200) {
		mark(0, 0, n+1, 100, false)
		if n != 7 && n != 199 {
			mark(1, 1, n+1, 100, false)
		}
	}
	mark(0, 0, 1, 100, false)
	mark(0, 0, 2, 100, true)
	mark(0, 0, 3, 99, false)
	mark(0, 9, 3, 100, false)
	mark(1, 1, 8, 100, false) // behind later ones
	mark(1, 1, 200, 100, true)
	mark(0, 0, 201, 100, false)   // sent, never confirmed
	mark(0, 0, 1<<40, 100, false) // never sent
	got := *tr.result(func(p int) int { return p })
	want := Verification{Confirmed: 400, Received: 401, Lost: 0, Disordered: 1, Duplicates: 1, Repeated: 1, Foreign: 3, Extra: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if v := tr.result(nil); v.Lost != 400 || v.Confirmed != 800 {
		t.Errorf("all queues: %+v", v)
	}
}

func TestReportForPeopleAndPrograms(t *testing.T) {
	var total sample
	total.Counts = Counts{Sent: 100, Confirmed: 90, Received: 80, Acked: 70, Nacked: 5}
	total.confirm.AddN(1500*time.Microsecond, 90)
	total.endToEnd.AddN(25*time.Millisecond, 80)
	r := &Report{Server: "Fake 1", Errors: []string{"broken"}, Verify: &Verification{Lost: 3},
		CPU: CPU{Generator: 0.5, Servers: 1.5, PIDs: []int{1, 2}}, Resident: []uint64{1 << 20, 2 << 20}}
	r.fill(&total, 2*time.Second, 1000)
	var text bytes.Buffer
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Fake 1, 2.0 s", "sent       100          50", "nacked         5", "1.50 ms", "25.0 ms",
		"bodies 0.0 MB/s; CPU in cores: generator 0.50, 2 server processes 1.50; resident 1 MiB, 2 MiB", "3 lost", "error: broken"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "returned") {
		t.Errorf("a count of 0 is told:\n%s", text.String())
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Rate    float64 `json:"received_rate"`
		Confirm struct {
			P99 float64 `json:"p99_ms"`
		} `json:"confirm_latency"`
	}
	if err := json.Unmarshal(b, &back); err != nil || back.Rate != 40 || back.Confirm.P99 != 1.5 {
		t.Errorf("%+v, %v from %s", back, err, b)
	}
	if latency(&hist.Histogram{}) != nil {
		t.Error("a latency of nothing")
	}
}

// TestNoAllocations holds the promise that a message costs none.
func TestNoAllocations(t *testing.T) {
	tmpl := newTemplate(&Options{Size: 64}, "q", 0)
	buf := make([]byte, 0, 1<<10)
	p := &producer{o: &Options{Confirm: 8}, times: make([]int64, 16), next: 1, low: 1}
	p.cur.confirm.Add(1)
	if n := testing.AllocsPerRun(100, func() {
		first, _, _ := p.reserve(1, 1)
		buf = tmpl.append(buf[:0], 1, newMessageID(0, first))
		p.settle(first, false, true, 2)
	}); n != 0 {
		t.Errorf("%v allocations a publish", n)
	}
}
