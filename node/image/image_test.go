package image

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var testHead = Head{ClusterName: "c", ClusterID: "id", Node: "n", Version: "v", Index: 7, Term: 2, Taken: time.UnixMilli(1e12).UTC()}

func make1(t testing.TB, body string) []byte {
	t.Helper()
	h := testHead
	h.Bytes = int64(len(body))
	r, size, err := New(h, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(iotest.OneByteReader(r))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != size {
		t.Fatalf("%d bytes, %d were announced", len(b), size)
	}
	return b
}

func read(b []byte) (Head, string, error) {
	f, err := Open(bytes.NewReader(b))
	if err != nil {
		return Head{}, "", err
	}
	body, err := io.ReadAll(f)
	return f.Head, string(body), err
}

func TestRoundTrip(t *testing.T) {
	for _, body := range []string{"", "x", strings.Repeat("some bytes ", 10_000)} {
		h, got, err := read(make1(t, body))
		if err != nil || got != body {
			t.Errorf("%d bytes came of %d: %v", len(got), len(body), err)
		}
		if h.Bytes = 0; h != testHead {
			t.Errorf("the head came as %+v", h)
		}
	}
}

// TestDamage changes each byte and cuts at each place: none passes.
func TestDamage(t *testing.T) {
	good := make1(t, "a body")
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if _, _, err := read(changed); err == nil {
			t.Errorf("byte %d was changed, and nobody saw it", i)
		}
		if _, _, err := read(good[:i]); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotImage) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, _, err := read(append(bytes.Clone(good), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestErrorsOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	h := testHead
	h.Bytes = 10
	for _, r := range []io.Reader{iotest.ErrReader(broken), strings.NewReader("short")} {
		image, _, err := New(h, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(image); !errors.Is(err, broken) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("writing: %v", err)
		}
	}
	good := make1(t, "a body")
	for i := range good {
		f, err := Open(io.MultiReader(bytes.NewReader(good[:i]), iotest.ErrReader(broken)))
		if err == nil {
			_, err = io.ReadAll(f)
		}
		if !errors.Is(err, broken) {
			t.Errorf("at %d: %v", i, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(make1(f, "a body"))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := read(b)
		if err != nil {
			return
		}
		if int64(len(body)) != h.Bytes {
			t.Fatalf("%d bytes of %d", len(body), h.Bytes)
		}
	})
}
