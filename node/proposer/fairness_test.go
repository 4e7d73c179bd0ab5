package proposer

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"warren/fsm/command"
)

// rate is how many bytes a second the log of these tests takes.
const rate = 100 << 20

// slowLog applies batches one after the other, each in the time that its bytes take.
func slowLog(t *testing.T, cfg Config, f func(p *Proposer)) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(t, 1)
		queue := make(chan func(), 1024)
		cfg.NodeID = "n1"
		cfg.Submit = func(batch []byte, done func(bool)) {
			copied := append([]byte(nil), batch...)
			queue <- func() {
				time.Sleep(100*time.Microsecond + time.Duration(len(copied))*time.Second/rate)
				l.index++
				h, rest, err := command.ReadHeader(copied)
				if err != nil {
					t.Error(err)
				}
				if kind, payload, _, err := command.Next(rest); err == nil && kind == command.KindEpochOpen {
					var open command.EpochOpen
					if err := command.Decode(payload, &open); err != nil {
						t.Error(err)
					}
					l.p.EpochOpened(l.index, open.Nonce)
				}
				for _, w := range l.p.Applied(h.Epoch, h.Sequence) {
					w.To.Result(w.Token, &command.Result{})
				}
				done(true)
			}
		}
		p := New(cfg)
		l.p = p
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for f := range queue {
				f()
			}
		}()
		p.LeaderChanged(true)
		<-p.Opened()
		f(p)
		p.Close()
		close(queue)
		<-ended
	})
}

// A client asks for room as a session does, and waits for results as its limit wants.
type client struct {
	p       *Proposer
	limit   int // publishes without a result
	landed  chan struct{}
	unasked int
	flying  int
}

func (c *client) Result(uint64, *command.Result) { c.landed <- struct{}{} }
func (c *client) Effect(*command.Effect)         {}
func (c *client) EpochLost()                     {}
func (c *client) Restored(*command.ConnState)    {}

func newClient(p *Proposer, limit int) *client {
	return &client{p: p, limit: limit, landed: make(chan struct{}, limit)}
}

func (c *client) publish(body []byte) {
	for c.flying >= c.limit {
		<-c.landed
		c.flying--
	}
	if c.unasked == 0 {
		if ready := c.p.Room(); ready != nil {
			<-ready
		}
		c.unasked = 8
	}
	c.unasked--
	c.flying++
	c.p.Propose(&command.Publish{VHost: []byte("/"), Key: []byte("q"), Body: body}, c, 0)
	c.p.Send()
}

func (c *client) drain() {
	for ; c.flying > 0; c.flying-- {
		<-c.landed
	}
}

// A client that publishes one message after the other waits for each no longer than what
// may be pending takes, whether one floods beside it or hundreds do.
func TestSlowBesideFlood(t *testing.T) {
	for _, flooders := range []int{0, 1, 4, 16, 300} {
		t.Run(fmt.Sprint(flooders), func(t *testing.T) {
			slowLog(t, Config{}, func(p *Proposer) {
				stop := make(chan struct{})
				ended := make(chan struct{})
				for range flooders {
					go func() {
						c := newClient(p, 1024) // of 4 KiB: MaxInFlight of a session
						body := make([]byte, 4096)
						for {
							select {
							case <-stop:
								c.drain()
								ended <- struct{}{}
								return
							default:
								c.publish(body)
							}
						}
					}()
				}
				slow := newClient(p, 1)
				var longest time.Duration
				for range 50 {
					start := time.Now()
					slow.publish([]byte("slow"))
					slow.drain()
					longest = max(longest, time.Since(start))
					time.Sleep(time.Millisecond)
				}
				close(stop)
				for range flooders {
					<-ended
				}
				t.Logf("longest confirm %v", longest)
				// Its turn, then the way through what is pending.
				pending := DefaultMaxPending + flooders*turn
				if most := 2*time.Millisecond + time.Duration(pending+DefaultMaxPending)*time.Second/rate; longest > most {
					t.Errorf("a confirm took %v, want at most %v", longest, most)
				}
			})
		})
	}
}

// Who waits longest is let on first, and who comes anew does not pass those who wait.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{NodeID: "n1", Submit: func([]byte, func(bool)) {}, MaxPending: 4 * turn})
		defer p.Close()
		p.mu.Lock()
		p.pending = 4 * turn
		p.mu.Unlock()
		var turns []<-chan struct{}
		for range 6 {
			turns = append(turns, p.Room())
		}
		open := func() (n int) {
			for i, c := range turns {
				select {
				case <-c:
					if n != i {
						t.Errorf("turn %d came before turn %d", i, n)
					}
					n++
				default:
				}
			}
			return n
		}
		if n := open(); n != 0 {
			t.Fatalf("%d let on without room", n)
		}
		p.mu.Lock()
		p.took(2*turn + command.BatchHeader)
		p.mu.Unlock()
		if n := open(); n != 2 {
			t.Fatalf("%d let on, there is room for 2", n)
		}
		if p.Room() == nil {
			t.Error("a newcomer passed four who wait")
		}
		// They had nothing to say: the tick lets the next ones on.
		time.Sleep(time.Second)
		if n := open(); n != 6 {
			t.Errorf("%d let on in the end, want 6", n)
		}
		if p.Room() != nil {
			t.Error("no room though nobody waits")
		}
	})
}
