package stream

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

var numbers = []uint64{0, 1, 127, 128, 16383, 16384, 1 << 62, math.MaxUint64}

func writeSample(w *Writer) {
	for range 20_000 { // over several buffers, at every offset
		for _, n := range numbers {
			w.Uint(n)
		}
		w.String("text")
		w.Byte(7)
	}
	w.Bytes(bytes.Repeat([]byte("x"), 3*bufferSize))
	w.String(strings.Repeat("y", bufferSize))
	w.Bytes(nil)
}

// TestRoundTrip reads back what was written, in reads of any size.
func TestRoundTrip(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	writeSample(w)
	sum := w.Sum()
	n, err := w.Close()
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d: %v", n, b.Len(), err)
	}
	for _, source := range []io.Reader{bytes.NewReader(b.Bytes()), iotest.HalfReader(bytes.NewReader(b.Bytes()))} {
		r := NewReader(source)
		for range 20_000 {
			for _, want := range numbers {
				if got := r.Uint(); got != want {
					t.Fatalf("%d becomes %d", want, got)
				}
			}
			if r.String() != "text" || r.Byte() != 7 {
				t.Fatal("the text has changed")
			}
		}
		if len(r.Bytes()) != 3*bufferSize || len(r.String()) != bufferSize || r.Bytes() != nil {
			t.Fatal("the long strings have changed")
		}
		if r.sum != sum {
			t.Error("the sums differ")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadErrors checks that what is wrong is an error and stays one.
func TestReadErrors(t *testing.T) {
	for name, test := range map[string]struct {
		input string
		read  func(r *Reader)
		want  error
	}{
		"empty":         {"", func(r *Reader) { r.Uint() }, ErrCorrupt},
		"long number":   {strings.Repeat("\x80", 20), func(r *Reader) { r.Uint() }, ErrCorrupt},
		"long number 2": {strings.Repeat("\xff", 9) + "\x02", func(r *Reader) { r.Uint() }, ErrCorrupt},
		"huge length":   {"\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc", func(r *Reader) { r.Bytes() }, ErrCorrupt},
		"bound":         {"\x05", func(r *Reader) { r.Bounded(4) }, ErrCorrupt},
		"flags":         {"\x05", func(r *Reader) { r.Flags(1) }, ErrCorrupt},
		"no sum":        {"\x05", func(r *Reader) { r.Byte() }, ErrCorrupt},
		"wrong sum":     {"\x0512345678", func(r *Reader) { r.Byte() }, ErrChecksum},
	} {
		r := NewReader(strings.NewReader(test.input))
		test.read(r)
		if err := r.Close(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if r.Uint() != 0 || r.Byte() != 0 || r.Bytes() != nil {
			t.Errorf("%s: reads on after an error", name)
		}
	}
	broken := errors.New("broken disk")
	r := NewReader(iotest.ErrReader(broken))
	r.Uint()
	if err := r.Close(); !errors.Is(err, broken) {
		t.Errorf("the error of the reader got lost: %v", err)
	}
}

type failing struct{ left int }

var errFull = errors.New("disk full")

func (w *failing) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// TestWriteErrors checks that an error of the underlying writer comes out.
func TestWriteErrors(t *testing.T) {
	for _, left := range []int{0, 10, bufferSize, 5 * bufferSize} {
		w := NewWriter(&failing{left: left})
		writeSample(w)
		if _, err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: %v", left, err)
		}
	}
	w := NewWriter(io.Discard)
	w.Fail(errFull)
	w.Fail(errors.New("another"))
	if _, err := w.Close(); !errors.Is(err, errFull) {
		t.Error(err)
	}
}
