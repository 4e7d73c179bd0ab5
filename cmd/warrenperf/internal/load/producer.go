package load

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"warren/cmd/warrenperf/internal/client"
	"warren/protocol"
)

// A producer publishes on one connection. One goroutine writes (publish), one
// reads confirms (read); what they share stands under stats.mu.
type producer struct {
	stats
	o       *Options
	number  int // among the producers
	conn    *client.Conn
	tmpls   []template // one for each queue, used in turn
	largest int        // bytes of the largest of them
	tracker *tracker   // nil without Verify
	limit   uint64     // messages to publish, 0: no limit

	room    chan struct{} // capacity 1: there may be room in the window again
	stop    chan struct{} // closed with paused
	readers chan struct{} // closed when read has ended
	writers chan struct{} // closed when publish has ended

	// Under mu.
	times       []int64 // by delivery tag modulo length: when it was published, 0 when confirmed
	next        uint64  // the next delivery tag, from 1
	low         uint64  // the lowest tag that is not confirmed
	outstanding int
	confirmed   uint64
	blocked     bool
	paused      bool // publish no more
	closing     bool // errors of the connection are expected
	err         error
}

func newProducer(o *Options, number int, queues []string, conn *client.Conn, t *tracker) (*producer, error) {
	p := &producer{
		o: o, number: number, conn: conn, tracker: t, limit: o.PMessages,
		room: make(chan struct{}, 1), stop: make(chan struct{}),
		readers: make(chan struct{}), writers: make(chan struct{}),
		next: 1, low: 1,
	}
	for _, queue := range queues {
		tmpl := newTemplate(o, queue, conn.FrameMax())
		p.tmpls = append(p.tmpls, tmpl)
		p.largest = max(p.largest, len(tmpl.frames))
	}
	if o.Confirm > 0 {
		// Confirms may come out of order: the ring is wider than the window.
		p.times = make([]int64, 1<<bits.Len(uint(4*o.Confirm+1023)))
		if _, err := client.Call[*protocol.ConfirmSelectOk](conn, &protocol.ConfirmSelect{}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// start begins to publish; the first message is due at begin.
func (p *producer) start(begin int64) {
	go func() { defer close(p.readers); p.fail(p.read()) }()
	go func() {
		defer close(p.writers)
		p.fail(p.publish(&pacer{rate: p.o.Rate, start: begin}))
	}()
}

// fail keeps the first error, and lets the writer see it.
func (p *producer) fail(err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	if p.err == nil && !p.closing {
		p.err = fmt.Errorf("producer %d: %w", p.number+1, err)
	}
	p.mu.Unlock()
	p.wake()
}

func (p *producer) wake() {
	select {
	case p.room <- struct{}{}:
	default:
	}
}

// publish sends messages until the limit, stop or an error.
func (p *producer) publish(pace *pacer) error {
	// As many messages a write as fit, so that a write costs little a message.
	most := max(batchBytes/p.largest, 1)
	buf := make([]byte, 0, most*p.largest)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		at := now()
		due, wait := pace.due(at)
		first, n, end := p.reserve(at, int(min(due, uint64(most))))
		if end {
			return nil
		}
		if n == 0 {
			if wait == 0 {
				wait = time.Hour // until woken
			}
			timer.Reset(wait)
			select {
			case <-p.room:
			case <-timer.C:
			case <-p.stop:
				return nil
			}
			continue
		}
		pace.sent += uint64(n)
		buf = buf[:0]
		for i := range uint64(n) {
			tag := first + i
			buf = p.tmpls[tag%uint64(len(p.tmpls))].append(buf, at, newMessageID(p.number, tag))
		}
		if err := p.conn.Write(buf); err != nil {
			return err
		}
	}
}

// reserve takes up to n places in the window and notes when their messages were
// published. It returns the first one's delivery tag. end says that no more will
// ever be sent.
func (p *producer) reserve(at int64, n int) (first uint64, got int, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.paused {
		return 0, 0, true
	}
	if p.limit > 0 {
		left := p.limit - (p.next - 1)
		if left == 0 {
			return 0, 0, true
		}
		n = int(min(uint64(n), left))
	}
	if p.blocked {
		return 0, 0, false
	}
	if window := len(p.times); window > 0 {
		n = min(n, p.o.Confirm-p.outstanding, window-int(p.next-p.low))
		for i := range uint64(n) {
			p.times[(p.next+i)&uint64(window-1)] = at
		}
		p.outstanding += n
	}
	first = p.next
	p.next += uint64(n)
	p.cur.Sent += uint64(n)
	if p.tracker != nil {
		p.tracker.confirmed[p.number].sent.Store(p.next - 1)
	}
	if n > 0 && p.o.Confirm == 0 {
		p.last = at
	}
	return first, n, false
}

// read takes in confirms and returns until the connection ends.
func (p *producer) read() error {
	for {
		f, err := p.conn.Reader.ReadFrame()
		if err != nil {
			return err
		}
		p.mu.Lock()
		err = p.burst(f, now())
		p.mu.Unlock()
		p.wake()
		if errors.Is(err, client.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// burst takes all frames that one read brought. mu is held.
func (p *producer) burst(f protocol.Frame, at int64) error {
	for {
		if f.Type == protocol.FrameMethod {
			if err := p.method(f, at); err != nil {
				return err
			}
		} // else it is the content of a returned message
		if !p.conn.Reader.FrameBuffered() {
			return nil
		}
		var err error
		if f, err = p.conn.Reader.ReadFrame(); err != nil {
			return err
		}
	}
}

func (p *producer) method(f protocol.Frame, at int64) error {
	switch id, _ := protocol.PeekID(f.Payload); id {
	case protocol.IDBasicAck, protocol.IDBasicNack:
		var v protocol.AckView
		if err := v.Parse(f.Payload); err != nil {
			return err
		}
		p.settle(v.DeliveryTag, v.Multiple, id == protocol.IDBasicAck, at)
		return nil
	case protocol.IDBasicReturn:
		p.cur.Returned++
		return nil
	}
	event, err := p.conn.Handle(f)
	switch event {
	case client.Blocked:
		p.blocked = true
		p.cur.Blocked++
	case client.Unblocked:
		p.blocked = false
	}
	return err
}

// settle takes a confirm of one message or of all up to it. One that names no
// outstanding message changes nothing.
func (p *producer) settle(tag uint64, multiple, ack bool, at int64) {
	if tag < p.low && !(multiple && tag == 0) || tag >= p.next || len(p.times) == 0 {
		return
	}
	mask := uint64(len(p.times) - 1)
	first := tag
	if multiple {
		first = p.low
		if tag == 0 { // all so far
			tag = p.next - 1
		}
	}
	for t := first; t <= tag; t++ {
		if p.times[t&mask] == 0 {
			continue
		}
		p.settleOne(t, ack, since(p.times[t&mask], at))
		p.times[t&mask] = 0
	}
	for p.low < p.next && p.times[p.low&mask] == 0 {
		p.low++
	}
	p.last = at
}

func (p *producer) settleOne(tag uint64, ack bool, took time.Duration) {
	p.outstanding--
	if !ack {
		p.cur.Nacked++
		return
	}
	p.confirmed++
	p.cur.Confirmed++
	p.cur.confirm.Add(took)
	if p.tracker != nil {
		p.tracker.confirm(p.number, tag)
	}
}

// done reports whether the producer has nothing more to do: its limit is reached
// and confirmed, or it failed.
func (p *producer) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil || p.limit > 0 && p.next > p.limit && p.outstanding == 0
}

// idle reports whether no confirm is awaited.
func (p *producer) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil || p.outstanding == 0
}

// pause publishes no more; confirms still come in.
func (p *producer) pause() {
	p.mu.Lock()
	p.paused = true
	p.mu.Unlock()
	close(p.stop)
}

// close ends the connection and both goroutines. pause came before.
func (p *producer) close(wait time.Duration) {
	p.mu.Lock()
	p.closing = true
	failed := p.err != nil
	p.mu.Unlock()
	p.wake()
	if failed || p.conn.SendClose(wait) != nil {
		p.conn.Drop()
	}
	<-p.readers // the deadline of SendClose ends both at the latest
	p.conn.Drop()
	<-p.writers
}

func (p *producer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// reached returns how many messages the broker has taken, as far as is known:
// those confirmed, or without confirms those sent.
func (p *producer) reached() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.Confirm == 0 {
		return p.next - 1
	}
	return p.confirmed
}
