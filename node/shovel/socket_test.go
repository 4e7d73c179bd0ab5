package shovel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"warren/protocol/wire"
)

// patience is how long a test waits for what is to come at once.
const patience = 30 * time.Second

// between returns the worker of a shovel between two sides, which ends at the first failure.
func between(t *testing.T, src, dest *side, more string) *Worker {
	t.Helper()
	s, err := Parse("/", "s", fmt.Appendf(nil, `{"src-uri":%q,"src-queue":"q","dest-uri":%q,"dest-queue":"d","reconnect-delay":0%s}`, src.uri(), dest.uri(), more))
	if err != nil {
		t.Fatal(err)
	}
	return New(s, Config{})
}

// run runs a shovel to its end.
func run(t *testing.T, w *Worker) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * patience):
		t.Fatal("the shovel has not ended")
		return nil
	}
}

// TestSilentSide ends shovels whose other side answers nothing any more.
func TestSilentSide(t *testing.T) {
	for _, at := range [][2]uint16{{10, 11}, {10, 40}, {20, 10}, {50, 10}, {85, 10}, {60, 10}, {60, 20}, {10, 50}} {
		for _, silent := range []string{sourceName, destinationName} {
			src, dest := newSide(t), newSide(t)
			if silent == sourceName {
				src.mute[at] = true
			} else {
				dest.mute[at] = true
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- between(t, src, dest, "").Run(ctx) }()
			for deadline := time.Now().Add(patience); len(src.all(at[0], at[1]))+len(dest.all(at[0], at[1])) == 0 && time.Now().Before(deadline); {
				if len(src.all(60, 20)) > 0 {
					break // the silence is of the end
				}
				time.Sleep(time.Millisecond)
			}
			cancel()
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatalf("a %s that does not answer %v holds the shovel up", silent, at)
			}
		}
	}
}

// pythonTable has a number as clients in Python write it, in a table and in an array.
const pythonTable = "\x01aL\x00\x00\x01\x00\x00\x00\x00\x05\x01bF\x00\x00\x00\x0b\x01cL\xff\xff\xff\xff\xff\xff\xff\xfe\x01dA\x00\x00\x00\x0cVL\x00\x00\x00\x00\x00\x00\x00\x07t\x01"

// TestLongs moves messages with header fields of type L, which the client library does not know.
func TestLongs(t *testing.T) {
	src, dest := newSide(t), newSide(t)
	table := []byte(pythonTable)
	want, _, err := wire.ParseTable(counted(table))
	if err != nil {
		t.Fatalf("the test's own table: %v", err)
	}
	src.on[[2]uint16{60, 20}] = func(m *spoken) { deliver(m, 1, table) }
	dest.on[[2]uint16{60, 40}] = func(m *spoken) { m.out.Write(settled(methodAck, 1, false)) }
	if err := run(t, between(t, src, dest, `,"src-delete-after":1`)); err != nil {
		t.Fatal(err)
	}
	came := dest.all(60, 40)
	if len(came) != 1 {
		t.Fatalf("%d messages came", len(came))
	}
	p, err := wire.ParseProperties(came[0].header[12:])
	if err != nil {
		t.Fatal(err)
	}
	if !wire.EqualTable(p.Headers, want) {
		t.Errorf("headers %v came, not %v", p.Headers, want)
	}
}

// counted is a table with its length before it.
func counted(fields []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(fields))), fields...)
}

// TestHostileSides ends shovels with sides that do what no broker does.
func TestHostileSides(t *testing.T) {
	for name, c := range map[string]struct {
		src, dest func(s *side)
		want      error
	}{
		"more messages than were asked for": {src: func(s *side) {
			s.on[[2]uint16{60, 20}] = func(m *spoken) { deliver(m, 4, nil) }
		}, want: errUnasked},
		"a message without an end": {src: func(s *side) {
			s.on[[2]uint16{60, 20}] = func(m *spoken) {
				m.out.Write(methodFrame(1, 60, 60, consumer(m)+"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"))
				m.out.Write(headerFrame(1<<40, nil))
			}
		}, want: errBodySize},
		"a confirm of what was not sent": {dest: func(s *side) {
			s.on[[2]uint16{60, 40}] = func(m *spoken) { m.out.Write(settled(methodAck, 1<<62, true)) }
		}, want: errConfirm},
		"a message back that was not sent": {dest: func(s *side) {
			s.on[[2]uint16{60, 40}] = func(m *spoken) {
				for range 3 {
					m.out.Write(methodFrame(1, 60, 50, "\x01\x38\x08NO_ROUTE\x00\x01d"))
					m.out.Write(headerFrame(0, nil))
				}
			}
		}, want: errUnasked},
		"a frame without an end": {src: func(s *side) {
			s.on[[2]uint16{10, 11}] = func(m *spoken) { m.out.Write([]byte{frameMethod, 0, 0, 0x7f, 0, 0, 0, 0, 10, 0, 30}) }
			s.mute[[2]uint16{10, 11}] = true
		}, want: errFrameSize},
	} {
		t.Run(name, func(t *testing.T) {
			src, dest := newSide(t), newSide(t)
			src.on[[2]uint16{60, 20}] = func(m *spoken) { deliver(m, 2, nil) }
			if c.src != nil {
				c.src(src)
			}
			if c.dest != nil {
				c.dest(dest)
			}
			err := run(t, between(t, src, dest, `,"src-prefetch-count":2`))
			if err == nil || !strings.Contains(err.Error(), c.want.Error()) {
				t.Errorf("it ended with %v, want %v", err, c.want)
			}
		})
	}
}

// TestMandatory sees who asks for messages back: nobody looks at them where no confirm is awaited, and the library waits
// for somebody to take each.
func TestMandatory(t *testing.T) {
	for mode, want := range map[AckMode]byte{OnConfirm: 1, OnPublish: 0, NoAck: 0} {
		src, dest := newSide(t), newSide(t)
		src.on[[2]uint16{60, 20}] = func(m *spoken) { deliver(m, 1, nil) }
		dest.on[[2]uint16{60, 40}] = func(m *spoken) {
			if mode == OnConfirm {
				m.out.Write(settled(methodAck, 1, false))
			}
		}
		if err := run(t, between(t, src, dest, fmt.Sprintf(`,"ack-mode":%q,"src-delete-after":1`, mode))); err != nil {
			t.Fatal(err)
		}
		sent := dest.all(60, 40)
		if len(sent) != 1 || sent[0].args[len(sent[0].args)-1] != want {
			t.Errorf("%s: published %v", mode, sent)
		}
	}
}

// TestRefusedBehindConfirmed acknowledges what was confirmed before a refusal.
func TestRefusedBehindConfirmed(t *testing.T) {
	src, dest := newSide(t), newSide(t)
	src.on[[2]uint16{60, 20}] = func(m *spoken) { deliver(m, 3, nil) }
	n := 0
	dest.on[[2]uint16{60, 40}] = func(m *spoken) {
		if n++; n == 3 {
			m.out.Write(append(settled(methodAck, 2, true), settled(methodNack, 3, false)...))
		}
	}
	err := run(t, between(t, src, dest, ""))
	if err == nil || !strings.Contains(err.Error(), "refused a message") {
		t.Fatalf("it ended with %v", err)
	}
	var last uint64
	for _, a := range src.all(60, methodAck) {
		last = binary.BigEndian.Uint64(a.args)
	}
	if last != 2 {
		t.Errorf("acknowledged up to %d, want 2", last)
	}
}

// TestFilesOfURIs reads no file that never ends.
func TestFilesOfURIs(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxPEM+1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", large, dir} {
		if _, err := readFile(path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
}

// FuzzSocket wants a socket to change nothing of what comes but types of fields, and no value by that.
func FuzzSocket(f *testing.F) {
	message := append(methodFrame(1, 60, 60, "\x01c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"), headerFrame(1, []byte(pythonTable))...)
	f.Add(append(message, frame(frameBody, 1, []byte("b"))...), uint8(3))
	f.Add(settled(methodAck, 5, true), uint8(0))
	f.Add([]byte("\x0100\x00\x0000"), uint8(0)) // ends in the middle of a frame
	f.Add([]byte("AMQP\x00\x00\x09\x01"), uint8(1))
	f.Add(headerFrame(0, []byte("\x01aA\x00\x00\x00\x09L\x00")), uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			theirs.Write(b)
			theirs.Close()
		}()
		s := newSocket(ours)
		s.messages.Store(2)
		s.published.Store(2)
		var got []byte
		var err error
		for part := make([]byte, 1+int(step)); err == nil; {
			var n int
			n, err = s.Read(part)
			got = append(got, part[:n]...)
		}
		if len(got) > len(b) || errors.Is(err, io.EOF) && len(got) < len(b) {
			t.Fatalf("%d of %d bytes: %v", len(got), len(b), err)
		}
		for i := range got {
			if got[i] != b[i] && (b[i] != 'L' || got[i] != 'l') {
				t.Fatalf("byte %d is %x, not %x", i, got[i], b[i])
			}
		}
		before, _, wrong := wire.ParseTable(counted(b))
		if wrong != nil {
			return
		}
		table := counted(b)
		signed(table, true, 0)
		after, _, wrong := wire.ParseTable(table)
		if wrong != nil || !wire.EqualTable(before, after) {
			t.Fatalf("%x: %v is not %v: %v", b, after, before, wrong)
		}
		if bytes.IndexByte(b, 'L') < 0 && !bytes.Equal(table[4:], b) {
			t.Fatal("a table without an L was changed")
		}
	})
}
