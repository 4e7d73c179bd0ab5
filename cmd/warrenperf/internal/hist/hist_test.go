package hist

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPercentilesAgainstSortedValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var values []time.Duration
	for range 20_000 {
		v := time.Duration(random.ExpFloat64() * float64(3*time.Millisecond))
		values = append(values, v)
		h.Add(v)
	}
	slices.Sort(values)
	for _, p := range []float64{0.001, 1, 50, 90, 99, 99.9, 100} {
		want := values[min(max(int(p/100*float64(len(values))+0.999999)-1, 0), len(values)-1)]
		got := h.Percentile(p)
		if diff := (got - want).Abs(); float64(diff) > float64(want)/128+1 {
			t.Errorf("p%v: got %v, want %v", p, got, want)
		}
	}
	if h.Max() != values[len(values)-1] || h.Count() != 20_000 {
		t.Errorf("max %v of %d", h.Max(), h.Count())
	}
}

func TestBucketsAreMonotone(t *testing.T) {
	last := -1
	for v := int64(0); v < 1<<41; v = v + v/300 + 1 {
		i := bucket(v)
		if i < last || i >= buckets {
			t.Fatalf("bucket(%d) = %d after %d", v, i, last)
		}
		last = i
		if diff := middle(i) - v; v < 1<<maxBits && (diff > v/128 || -diff > v/128) {
			t.Fatalf("middle of the bucket of %d is %d", v, middle(i))
		}
	}
}

func TestMergeAndReset(t *testing.T) {
	var a, b, both Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		both.Add(d)
		if i%3 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	a.Merge(&b)
	a.Merge(&Histogram{})
	for _, p := range []float64{1, 50, 99, 100} {
		if a.Percentile(p) != both.Percentile(p) {
			t.Errorf("p%v: %v and %v", p, a.Percentile(p), both.Percentile(p))
		}
	}
	if a.Count() != 1000 || a.Max() != both.Max() {
		t.Errorf("%d, %v", a.Count(), a.Max())
	}
	a.Reset()
	if a.Count() != 0 || a.Max() != 0 || a.Percentile(50) != 0 {
		t.Error("not empty after Reset")
	}
	a.AddN(-time.Second, 3)
	a.AddN(time.Second, 0)
	if a.Count() != 3 || a.Percentile(100) != 0 {
		t.Errorf("%d values, %v", a.Count(), a.Percentile(100))
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	var h Histogram
	h.Add(1)
	if n := testing.AllocsPerRun(100, func() { h.Add(time.Second) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
