package msgstore

import (
	"sync"

	"warren/fsm/command"
)

const (
	aheadRequests = 16       // that wait or are read
	aheadBytes    = 16 << 20 // read and not taken yet
)

// ahead reads records before they are needed, on a goroutine of its own. A record
// that it could not read is read again by who needs it, who then gets the error.
type ahead struct {
	read func(command.Record) ([]byte, error)
	work chan *page
	done sync.WaitGroup

	mu    sync.Mutex
	pages map[command.Record]*page
	order []*page // that were read, the oldest first; may hold some that were taken
	bytes int     // of what was read and not taken
}

type page struct {
	record command.Record
	ready  chan struct{} // closed when it was read
	data   []byte        // nil: it could not be read
}

func newAhead(read func(command.Record) ([]byte, error)) *ahead {
	a := &ahead{read: read, work: make(chan *page, aheadRequests), pages: make(map[command.Record]*page)}
	a.done.Add(1)
	go a.run()
	return a
}

func (a *ahead) close() {
	close(a.work)
	a.done.Wait()
}

// ask has a record read, unless too much is asked for already.
func (a *ahead) ask(r command.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pages[r] != nil {
		return
	}
	p := &page{record: r, ready: make(chan struct{})}
	select {
	case a.work <- p:
		a.pages[r] = p
	default:
	}
}

// take returns a record that was asked for. It waits while it is being read.
func (a *ahead) take(r command.Record) ([]byte, bool) {
	a.mu.Lock()
	p := a.pages[r]
	a.mu.Unlock()
	if p == nil {
		return nil, false
	}
	<-p.ready
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pages[r] == p {
		a.forget(p)
	}
	return p.data, p.data != nil
}

func (a *ahead) forget(p *page) {
	delete(a.pages, p.record)
	a.bytes -= len(p.data)
}

func (a *ahead) run() {
	defer a.done.Done()
	for p := range a.work {
		data, err := a.read(p.record)
		a.mu.Lock()
		if err == nil {
			p.data = data
		}
		a.bytes += len(p.data)
		a.order = append(a.order, p)
		for a.bytes > aheadBytes || len(a.order) > 4*aheadRequests {
			oldest := a.order[0]
			a.order[0], a.order = nil, a.order[1:]
			if a.pages[oldest.record] == oldest {
				a.forget(oldest)
			}
		}
		close(p.ready)
		a.mu.Unlock()
	}
}
