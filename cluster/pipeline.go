package cluster

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
)

// pipeline sends a follower requests to append, without waiting for the answer to each. On
// the wire it is hashicorp/raft's own pipeline (net_transport.go of v1.7.3). That one wakes three
// goroutines for an answer, of which Raft's is the last; this one wakes one before it, and
// carries commit notices too.
type pipeline struct {
	t    *transport
	id   raft.ServerID
	conn net.Conn
	room chan struct{}          // holds one for each request of Raft's that has no answer
	done chan raft.AppendFuture // what was answered
	stop chan struct{}
	once sync.Once

	writing sync.Mutex // held while a request is written
	w       *bufio.Writer
	enc     *codec.Encoder

	mu   sync.Mutex
	sent []*appended // have no answer, or are being written; in order
	open int         // bytes of entries in sent
}

const (
	// pipelined is how many requests of Raft's may be without an answer, as in Raft's own pipeline.
	pipelined = 2
	// notifyBeside bounds the bytes on their way beside which a notice is written on the caller's
	// goroutine: so few that the socket surely takes it.
	notifyBeside = 16 << 10
	// sendBuffer is as large as that of hashicorp/raft's connections.
	sendBuffer = 256 << 10
	// slowest is how long a byte may take, beside the timeout of any request: 1 MB/s.
	slowest = time.Microsecond
	// typeAppend is hashicorp/raft's number of the request to append.
	typeAppend = 0
)

var errPipelineOver = errors.New("pipeline is over")

// appended is a request that was sent: a raft.AppendFuture.
type appended struct {
	start  time.Time
	req    *raft.AppendEntriesRequest
	resp   *raft.AppendEntriesResponse
	notice bool // ours: Raft does not know of it
	bytes  int  // of entries
	whole  bool // all of it is written: the follower may be expected to answer
	err    error
	over   chan struct{} // closed when resp or err is there; nil for a notice
}

// Error implements raft.AppendFuture.
func (a *appended) Error() error                          { <-a.over; return a.err }
func (a *appended) Start() time.Time                      { return a.start }
func (a *appended) Request() *raft.AppendEntriesRequest   { return a.req }
func (a *appended) Response() *raft.AppendEntriesResponse { return a.resp }

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	conn, err := t.streams.Dial(target, t.timeout)
	if err != nil {
		return nil, err
	}
	p := &pipeline{
		t: t, id: id, conn: conn, w: bufio.NewWriterSize(conn, sendBuffer),
		room: make(chan struct{}, pipelined), done: make(chan raft.AppendFuture, pipelined), stop: make(chan struct{}),
	}
	p.enc = codec.NewEncoder(p.w, &codec.MsgpackHandle{})
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = conn.Close() // nobody uses it
		return nil, errPipelineOver
	}
	t.pipelines[id] = p
	was := t.progress[id]
	was.told, was.sent = 0, was.has // what was on its way on a pipeline that broke may be lost
	t.progress[id] = was
	t.wg.Go(p.read)
	return p, nil
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	req.LeaderCommitIndex = p.t.onDisk(req.LeaderCommitIndex)
	select {
	case p.room <- struct{}{}:
	case <-p.stop:
		return nil, errPipelineOver
	}
	a := &appended{start: time.Now(), req: req, resp: resp, over: make(chan struct{})}
	for _, l := range req.Entries {
		a.bytes += size(l)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.write(a); err != nil {
		return nil, err
	}
	p.t.note(p.id, req, false)
	return a, nil
}

// notify sends a follower a request that Raft does not know of, behind what was sent to it before. It
// returns false when there is nothing to send on, or it would have to wait. nil is no request.
func (t *transport) notify(id raft.ServerID, req *raft.AppendEntriesRequest) bool {
	if req == nil {
		return true
	}
	req.LeaderCommitIndex = t.onDisk(req.LeaderCommitIndex)
	t.mu.Lock()
	p := t.pipelines[id]
	t.mu.Unlock()
	if p == nil || !p.notify(req) {
		return false
	}
	t.note(id, req, false)
	return true
}

func (p *pipeline) notify(req *raft.AppendEntriesRequest) bool {
	if !p.writing.TryLock() {
		return false
	}
	defer p.writing.Unlock()
	p.mu.Lock()
	wait := p.open > notifyBeside || len(p.sent) > 2*pipelined
	p.mu.Unlock()
	return !wait && p.write(&appended{req: req, resp: &raft.AppendEntriesResponse{}, notice: true}) == nil
}

// write sends a request. Called with writing held.
func (p *pipeline) write(a *appended) error {
	p.mu.Lock()
	p.sent = append(p.sent, a)
	p.open += a.bytes
	p.mu.Unlock()
	_ = p.conn.SetWriteDeadline(p.deadline(a)) // on a closed connection the write fails
	err := p.w.WriteByte(typeAppend)
	if err == nil {
		err = p.enc.Encode(a.req)
	}
	if err == nil {
		err = p.w.Flush()
	}
	if err != nil {
		p.shut()
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.whole = true; len(p.sent) > 0 && p.sent[0] == a {
		p.expect()
	}
	return nil
}

// expect limits how long the answer to the oldest request may take, once that is written. Called
// with mu held.
func (p *pipeline) expect() {
	deadline := time.Time{}
	if len(p.sent) > 0 && p.sent[0].whole {
		deadline = p.deadline(p.sent[0])
	}
	_ = p.conn.SetReadDeadline(deadline) // on a closed connection the read fails
}

// deadline is until when a request has to be written, or answered then: large ones are given more time.
func (p *pipeline) deadline(a *appended) time.Time {
	return time.Now().Add(p.t.timeout + time.Duration(a.bytes)*slowest)
}

// read takes the answers until the connection ends.
func (p *pipeline) read() {
	dec := codec.NewDecoder(bufio.NewReader(p.conn), &codec.MsgpackHandle{})
	for {
		var refusal string
		err := dec.Decode(&refusal)
		a := p.first()
		if a == nil { // the connection ended, or the follower answers what it was not asked
			p.shut()
			return
		}
		if err == nil {
			err = dec.Decode(a.resp)
		}
		over := err != nil
		if err == nil && refusal != "" {
			err = errors.New(refusal)
		}
		// Behind a refusal or a newer term Raft wants no more of this pipeline, nor looks for it.
		over = over || !a.notice && (err != nil || !a.resp.Success || a.resp.Term > a.req.Term)
		if !p.answered(a, err) || over {
			p.shut()
			p.giveUp(err)
			return
		}
	}
}

// first takes the oldest request off those without an answer.
func (p *pipeline) first() *appended {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sent) == 0 {
		return nil
	}
	a := p.sent[0]
	p.sent[0] = nil
	p.sent = p.sent[1:]
	p.open -= a.bytes
	p.expect()
	return a
}

// answered hands a request on that was answered, or will not be. It returns false when nobody
// wants any more.
func (p *pipeline) answered(a *appended, err error) bool {
	if err == nil && a.resp.Success {
		p.t.note(p.id, a.req, true)
	}
	if a.notice {
		return true
	}
	a.err = err
	close(a.over)
	<-p.room
	select {
	case p.done <- a:
		return true
	case <-p.stop:
		return false
	}
}

// giveUp ends what has no answer.
func (p *pipeline) giveUp(err error) {
	if err == nil {
		err = errPipelineOver
	}
	for a := p.first(); a != nil; a = p.first() {
		p.answered(a, err)
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.shut()
	return nil
}

func (p *pipeline) shut() {
	p.once.Do(func() {
		close(p.stop)
		_ = p.conn.Close() // of no more use
		p.t.mu.Lock()
		if p.t.pipelines[p.id] == p {
			delete(p.t.pipelines, p.id)
		}
		p.t.mu.Unlock()
	})
}
