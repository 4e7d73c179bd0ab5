package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// pages keeps records in memory.
type pages struct {
	data  [][]byte
	live  map[command.Record]int
	asked int
	reads int
	fail  error
	stale func(command.Record) bool
	refs  []command.Record
}

func newPages() *pages { return &pages{live: make(map[command.Record]int)} }

func (p *pages) Read(r command.Record) ([]byte, error) {
	p.reads++
	if p.fail != nil {
		return nil, p.fail
	}
	return slices.Clone(p.data[r.Segment]), nil
}
func (p *pages) Ahead(command.Record) { p.asked++ }
func (p *pages) Hold(r command.Record) {
	p.live[r]++
}

func (p *pages) Drop(r command.Record) {
	if p.live[r] == 0 {
		panic(fmt.Sprintf("record %v is dropped, which is not there", r))
	}
	if p.live[r]--; p.live[r] == 0 {
		delete(p.live, r)
	}
}
func (p *pages) Write(b []byte) (int, error) { return len(b), nil }

func (p *pages) Store(b []byte) (command.Record, error) {
	if p.fail != nil {
		return command.Record{}, p.fail
	}
	r := command.Record{Segment: uint64(len(p.data)), Size: uint32(len(b))}
	p.data = append(p.data, slices.Clone(b))
	p.live[r] = 1
	return r, nil
}

func (p *pages) Refer(r command.Record) error {
	p.refs = append(p.refs, r)
	return nil
}
func (p *pages) Stale(r command.Record) bool { return p.stale != nil && p.stale(r) }

// checkpoint stores all queues of a store. It returns the bytes that it stored.
func (p *pages) checkpoint(t *testing.T, s *Store, queues ...*Queue) int {
	t.Helper()
	before := len(p.data)
	s.Freeze()
	w := stream.NewWriter(io.Discard)
	var changes []Change
	p.refs = nil
	for _, q := range queues {
		changes = q.Capture().Save(w, p, changes)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s.Stored(changes)
	n := 0
	for _, b := range p.data[before:] {
		n += len(b)
	}
	return n
}

func newPaged() (*Store, *pages, *Queue) {
	p := newPages()
	s := NewStore(p)
	return s, p, s.NewQueue(1, command.QueueDeclare{Name: "q"})
}

// TestPagedQueue does the same with two queues, of which one has its messages on
// disk whenever chance wants it: all that can be seen of them is the same.
func TestPagedQueue(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 0))
		plain := NewStore(nil)
		a := plain.NewQueue(1, command.QueueDeclare{Name: "q"})
		s, p, b := newPaged()
		p.stale = func(r command.Record) bool { return r.Segment%5 == 0 }
		ca, cb := plain.NewChannel(command.Owner{}), s.NewChannel(command.Owner{})
		var got, want []string
		note := func(list *[]string, g Got) {
			if g.Message != nil {
				*list = append(*list, fmt.Sprintf("%s %s %d %v", g.Message.Exchange, g.Message.Key, len(g.Message.Body), g.Redelivered))
			}
		}
		numbers := 0
		for step := range 150 {
			n := r.IntN(2 * chunkSize)
			switch r.IntN(9) {
			case 0, 1:
				equal := r.IntN(2) == 0
				for range n {
					numbers++
					size := 10
					switch {
					case equal:
					case r.IntN(1000) == 0:
						size = 700_000
					default:
						size = r.IntN(20)
					}
					for _, to := range []*Queue{a, b} {
						to.Push(to.store.NewMessage("x", fmt.Appendf(nil, "%d", numbers), nil, make([]byte, size)), None)
					}
				}
			case 2, 3:
				for range n {
					note(&want, ca.Get(a))
					note(&got, cb.Get(b))
				}
			case 4:
				for range n / 4 {
					note(&want, a.Get())
					note(&got, b.Get())
				}
			case 5, 6:
				outcome := []command.Outcome{command.Ack, command.Ack, command.Requeue, command.Reject}[r.IntN(4)]
				from := ca.Ordinal - min(ca.Ordinal, uint64(r.IntN(3*chunkSize)))
				to := from + uint64(n)
				ca.Settle(from, to, outcome)
				cb.Settle(from, to, outcome)
			case 7:
				p.checkpoint(t, s, b)
			case 8:
				switch r.IntN(12) {
				case 0:
					a.Purge()
					b.Purge()
				case 1:
					s.SetLimit(int64(r.IntN(300_000)) - 1)
				case 2:
					s.Trim()
				default:
					s.Evict()
				}
			}
			if a.Ready() != b.Ready() || a.ReadyBytes() != b.ReadyBytes() || a.Unacked() != b.Unacked() || a.UnackedBytes() != b.UnackedBytes() {
				t.Fatalf("seed %d, step %d: %d messages of %d bytes, %d of %d are unacked", seed, step, b.Ready(), b.ReadyBytes(), b.Unacked(), b.UnackedBytes())
			}
			if step%8 != 0 {
				continue
			}
			check(t, b, cb)
			if c := census(t, b); c.Records() != len(p.live) || c.Resident() != s.Resident() {
				t.Fatalf("seed %d, step %d: %d records and %d live, %d bytes in memory and %d counted", seed, step, c.Records(), len(p.live), c.Resident(), s.Resident())
			}
		}
		ca.Unsettled(func(o uint64, _ *Queue, _ *Consumer, m *command.Message, again bool, _ Tries) {
			want = append(want, fmt.Sprintf("%d %s %v", o, m.Key, again))
		})
		cb.Unsettled(func(o uint64, _ *Queue, _ *Consumer, m *command.Message, again bool, _ Tries) {
			got = append(got, fmt.Sprintf("%d %s %v", o, m.Key, again))
		})
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: what came is not the same", seed)
		}
		b.Delete()
		if len(p.live) != 0 || s.Resident() != 0 {
			t.Fatalf("seed %d: %d records and %d bytes are left", seed, len(p.live), s.Resident())
		}
	}
}

func census(t *testing.T, q *Queue) *Census {
	t.Helper()
	c := new(Census)
	if err := c.Queue(q); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCheckpointCostsWhatIsNew checks what a checkpoint stores, and that it keeps few records.
func TestCheckpointCostsWhatIsNew(t *testing.T) {
	s, p, q := newPaged()
	push(s, q, 20*chunkSize)
	first := p.checkpoint(t, s, q)
	if again := p.checkpoint(t, s, q); again != 0 {
		t.Errorf("%d bytes stored where nothing is new", again)
	}
	stored := 0
	for range chunkSize {
		push(s, q, 1)
		stored += p.checkpoint(t, s, q)
	}
	if each := first / 20; stored > 11*each {
		t.Errorf("one message at a time, %d bytes were stored of %d", stored, each)
	}
	for _, c := range q.messages.chunks {
		if len(c.parts) > 11 {
			t.Errorf("a chunk has %d records", len(c.parts))
		}
	}
	s.Evict()
	if s.Resident() != 0 {
		t.Errorf("%d bytes stay in memory", s.Resident())
	}
}

// TestSparseChunks checks that few old messages among many that went do not keep
// the records that they came in, nor memory.
func TestSparseChunks(t *testing.T) {
	s, p, q := newPaged()
	const n = 10
	for range n * chunkSize {
		q.Push(s.NewMessage("", nil, nil, make([]byte, 100)), None)
	}
	p.checkpoint(t, s, q)
	s.Evict()
	ch := s.NewChannel(command.Owner{})
	for i := range n * chunkSize {
		ch.Get(q)
		if i%chunkSize != 500 {
			ch.Settle(ch.Ordinal, ch.Ordinal, command.Ack)
		}
	}
	if s.Resident() > 2*chunkSize*(100+messageCost) {
		t.Errorf("%d bytes in memory", s.Resident())
	}
	p.checkpoint(t, s, q)
	size := 0
	for r := range p.live {
		size += int(r.Size)
	}
	if size > 200*n {
		t.Errorf("records of %d bytes for %d messages", size, n)
	}
	ch.Recover()
	for i := range n {
		if g := q.Get(); g.Message == nil || !g.Redelivered {
			t.Fatalf("message %d is %v", i, g)
		}
	}
	if len(p.live) != 0 {
		t.Errorf("%d records are left", len(p.live))
	}
}

// TestReadAhead checks that what comes next is asked for before it is needed.
func TestReadAhead(t *testing.T) {
	s, p, q := newPaged()
	push(s, q, 5*chunkSize)
	p.checkpoint(t, s, q)
	s.Evict()
	q.Get()
	if p.reads != 1 || p.asked != readAhead {
		t.Errorf("%d read, %d asked for", p.reads, p.asked)
	}
}

// TestDeadLettersFromDisk checks that messages that die here and there do not bring to memory what stands
// beside them, that each record is read once, and that all nodes let the same number go.
func TestDeadLettersFromDisk(t *testing.T) {
	const chunks = 600
	filled := func() (*Store, *pages, *Queue, *Channel) {
		s, p, q := newPaged()
		set := DefaultSettings()
		set.DeadLetters, set.DeliveryLimit = true, 0
		q.SetSettings(set)
		s.SetCounting(true)
		for range chunks {
			for i := range chunkSize {
				ttl := int64(None)
				if i == 500 || i == 501 {
					ttl = 10
				}
				q.Push(s.NewMessage("", nil, nil, make([]byte, 50)), ttl)
			}
		}
		return s, p, q, s.NewChannel(command.Owner{})
	}
	s, p, q, ch := filled()
	inMemory, _, same, _ := filled()
	p.checkpoint(t, s, q)
	s.Evict()
	s.SetNow(10)
	inMemory.SetNow(10)
	entries, dead := 0, 0
	for ; q.expiry.Next(10) != nil; entries++ {
		s.SetNow(10)
		inMemory.SetNow(10)
		for _, to := range []*Queue{q, same} {
			b := NewBudget(8192)
			for to.Act(&b) {
				dead += len(to.store.TakeDead())
			}
			dead += len(to.store.TakeDead())
		}
		s.Trim()
		if q.Ready() != same.Ready() {
			t.Fatalf("%d messages left with a disk, %d without", q.Ready(), same.Ready())
		}
		if s.Resident() != 0 || p.reads > (entries+1)*8192/(readCost>>12) {
			t.Fatalf("entry %d: %d bytes in memory, %d reads", entries, s.Resident(), p.reads)
		}
	}
	if entries < 3 || dead != 2*2*chunks {
		t.Errorf("%d died in %d entries", dead, entries)
	}
	for _, outcome := range []command.Outcome{command.Reject, command.Requeue} {
		for range chunkSize {
			ch.Get(q)
		}
		s.Evict()
		p.reads = 0
		ch.Settle(ch.Ordinal-20, ch.Ordinal, outcome)
		if got := len(s.TakeDead()); got != 21 || s.Resident() != 0 || p.reads > 2 {
			t.Errorf("outcome %d: %d died, %d bytes in memory, %d reads", outcome, got, s.Resident(), p.reads)
		}
	}
	check(t, q, ch)
}

// TestUnreadable checks what a message that cannot be read does.
func TestUnreadable(t *testing.T) {
	s, p, q := newPaged()
	push(s, q, 10)
	p.checkpoint(t, s, q)
	s.Evict()
	p.fail = errors.New("disk is gone")
	defer func() {
		u, ok := recover().(*Unreadable)
		if !ok || !errors.Is(u, p.fail) || u.Queue != "q" {
			t.Errorf("got %v", u)
		}
	}()
	q.Get()
	t.Error("a message came")
}

// TestStoredTooLate checks that what was stored of a chunk that is gone, or was
// stored by another checkpoint since, is dropped.
func TestStoredTooLate(t *testing.T) {
	s, p, q := newPaged()
	push(s, q, 10)
	save := func() []Change {
		s.Freeze()
		return q.Capture().Save(stream.NewWriter(io.Discard), p, nil)
	}
	one := save()
	push(s, q, 10)
	two := save()
	s.Stored(two)
	s.Evict()
	s.Stored(one)
	check(t, q)
	if len(p.live) != 1 {
		t.Errorf("%d records for one chunk", len(p.live))
	}
	push(s, q, 10)
	three := save()
	q.Purge()
	s.Stored(three)
	push(s, q, 5)
	four := save()
	q.Delete()
	s.Stored(four)
	if len(p.live) != 0 {
		t.Errorf("%d records of nothing", len(p.live))
	}
}

// TestLoadedChunkIsAnother checks that what was stored of a loaded chunk is not taken for
// a part of the one that took its place meanwhile: their records are gone.
func TestLoadedChunkIsAnother(t *testing.T) {
	s, p, q := newPaged()
	push(s, q, 3)
	var saved bytes.Buffer
	w := stream.NewWriter(&saved)
	s.Freeze()
	s.Stored(q.Capture().Save(w, p, nil))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	refs := p.refs

	s = NewStore(p)
	q = s.NewQueue(1, command.QueueDeclare{Name: "q"})
	q.lanes[0].next = 4
	NewLoader(s, 1).Pages(stream.NewReader(&saved), func() (command.Record, error) {
		r := refs[0]
		refs = refs[1:]
		return r, nil
	}, q)
	push(s, q, 1)
	s.Freeze()
	changes := q.Capture().Save(stream.NewWriter(io.Discard), p, nil)
	q.Purge()
	push(s, q, 1)
	s.Stored(changes)
	check(t, q)
	if n := census(t, q).Records(); n != 0 {
		t.Errorf("a chunk of one new message has %d records", n)
	}
}

func FuzzRecord(f *testing.F) {
	m := &command.Message{Exchange: "x", Key: []byte("key"), Body: []byte("body")}
	f.Add(appendMessage(appendMessage(nil, 3, m), 1000, m))
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		last := -1
		err := decodeRecord(b, func(slot int, m *command.Message) {
			if slot <= last || slot >= chunkSize {
				t.Fatalf("slot %d behind %d", slot, last)
			}
			last = slot
			again = appendMessage(again, slot, m)
		})
		if err != nil && !errors.Is(err, errRecord) {
			t.Fatal(err)
		}
		if err == nil && len(again) > len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(again))
		}
	})
}
