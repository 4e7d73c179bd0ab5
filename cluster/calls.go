package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"warren/cluster/mux"
)

type reply struct {
	status  mux.ReplyStatus
	payload []byte
	err     error
}

// call sends a request and waits for its answer.
func (p *peer) call(ctx context.Context, method string, payload []byte) ([]byte, error) {
	conn, err := p.connected(ctx)
	if err != nil {
		return nil, err
	}
	wait := p.ps.c.cfg.Timing.Call
	if d, ok := ctx.Deadline(); ok {
		wait = max(time.Until(d), time.Millisecond)
	}
	ch := make(chan reply, 1)
	p.mu.Lock()
	if p.conn != conn {
		p.mu.Unlock()
		return nil, fmt.Errorf("%w: link to %s broke", ErrUnreachable, p.id)
	}
	p.nextID++
	id := p.nextID
	p.pending[id] = ch
	p.used = time.Now()
	p.mu.Unlock()

	head := mux.AppendRequest(make([]byte, mux.FrameHeader, mux.FrameHeader+64), method, uint32(wait.Milliseconds()), nil)
	mux.PutFrameHeader((*[mux.FrameHeader]byte)(head), mux.FrameCall, id, len(head)-mux.FrameHeader+len(payload))
	if err := p.write(conn, head, payload); err != nil {
		_ = conn.Close() // a frame may be cut in half: the link is of no more use
	}
	select {
	case r := <-ch:
		return p.unpack(method, r)
	case <-ctx.Done():
		p.mu.Lock()
		delete(p.pending, id)
		p.mu.Unlock()
		return nil, fmt.Errorf("%s on node %s: %w", method, p.id, ctx.Err())
	}
}

func (p *peer) unpack(method string, r reply) ([]byte, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.status == mux.ReplyOK:
		return r.payload, nil
	case r.status == mux.ReplyNoMethod:
		return nil, fmt.Errorf("%w: %s on node %s", ErrNoMethod, method, p.id)
	default:
		return nil, remoteError(p.id, method, string(r.payload))
	}
}

// maxCalls bounds how many calls of one connection are answered at a time.
const maxCalls = 64

// answerCalls is the mux's handler for call connections.
func (c *Cluster) answerCalls(conn net.Conn, h mux.Hello) {
	ctx, cancel := context.WithCancel(c.ctx)
	var wg sync.WaitGroup
	var out sync.Mutex
	defer wg.Wait()
	defer cancel()
	defer conn.Close()
	send := func(b ...[]byte) {
		out.Lock()
		defer out.Unlock()
		_ = conn.SetWriteDeadline(time.Now().Add(c.cfg.Timing.LinkTimeout))
		bufs := net.Buffers(b)
		if _, err := bufs.WriteTo(conn); err != nil {
			_ = conn.Close() // the reader sees it
		}
	}
	room := make(chan struct{}, maxCalls)
	for {
		// The other side pings: long silence means that it is gone.
		if err := conn.SetReadDeadline(time.Now().Add(2 * c.cfg.Timing.LinkTimeout)); err != nil {
			return
		}
		f, err := mux.ReadFrame(conn, MaxCall+512)
		if err != nil {
			return
		}
		switch f.Type {
		case mux.FramePing:
			send(mux.AppendFrame(nil, mux.FramePong, f.ID))
		case mux.FrameCall:
			method, waitMS, payload, err := mux.ParseRequest(f.Payload)
			if err != nil {
				c.log.Warn("call connection", "node", h.Node, "error", err)
				return
			}
			room <- struct{}{}
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer func() { <-room }()
				ctx, cancel := context.WithTimeout(ctx, time.Duration(waitMS)*time.Millisecond)
				defer cancel()
				status, answer := c.answer(ctx, h, method, payload)
				var head [mux.FrameHeader]byte
				mux.PutFrameHeader(&head, mux.FrameReply, f.ID, 1+len(answer))
				send(head[:], []byte{byte(status)}, answer)
			}()
		default:
			c.log.Warn("call connection", "node", h.Node, "error", mux.ErrFrameType, "type", f.Type)
			return
		}
	}
}

// answer runs the handler of one call.
func (c *Cluster) answer(ctx context.Context, h mux.Hello, method string, payload []byte) (mux.ReplyStatus, []byte) {
	handler, open := c.handlers[method], true
	if handler == nil {
		handler, open = c.memberHandlers[method], false
	}
	if handler == nil {
		handler = c.cfg.Handlers[method]
	}
	if handler == nil {
		return mux.ReplyNoMethod, nil
	}
	if !open && (h.Cluster == "" || h.Cluster != c.clusterID()) {
		return mux.ReplyError, []byte(ErrNotMember.Error())
	}
	answer, err := handler(ctx, h.Node, payload)
	if err != nil {
		return mux.ReplyError, []byte(err.Error())
	}
	if len(answer) > MaxCall {
		return mux.ReplyError, []byte(ErrTooLarge.Error())
	}
	return mux.ReplyOK, answer
}

// carried are the errors that keep their identity across a call.
var carried = []error{
	ErrClosed, ErrNoLeader, ErrNoSuchNode, ErrNodeRunning, ErrQuorum, ErrLastVoter,
	ErrRemoveSelf, ErrUnreachable, ErrNotMember, ErrTooLarge, ErrAmbiguous, ErrReluctant,
}

func remoteError(node, method, text string) error {
	for _, e := range carried {
		if rest, ok := strings.CutPrefix(text, e.Error()); ok {
			return fmt.Errorf("%w%s", e, rest)
		}
	}
	return &RemoteError{Node: node, Method: method, Message: text}
}

// Call asks another node, or this one, and waits for the answer: as long as ctx
// says, or Timing.Call when it has no deadline. It fails at once when the node
// cannot be connected to. payload must not change until Call returned. Errors:
// ErrUnreachable, ErrNoMethod, ErrNotMember, ErrTooLarge, a *RemoteError, or ctx's.
func (c *Cluster) Call(ctx context.Context, nodeID, method string, payload []byte) ([]byte, error) {
	if len(payload) > MaxCall {
		return nil, ErrTooLarge
	}
	if len(method) > 255 {
		return nil, fmt.Errorf("%w: %.20s…", ErrNoMethod, method)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timing.Call)
		defer cancel()
	}
	if nodeID == c.cfg.ID {
		status, answer := c.answer(ctx, mux.Hello{Identity: c.identity()}, method, payload)
		p := peer{id: nodeID}
		return p.unpack(method, reply{status: status, payload: answer})
	}
	p := c.peers.get(nodeID)
	if p == nil {
		return nil, ErrClosed
	}
	return p.call(ctx, method, payload)
}

// putUint64s and uint64s are the payloads of our own calls that are numbers.
func putUint64s(vs ...uint64) []byte {
	b := make([]byte, 0, 8*len(vs))
	for _, v := range vs {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func uint64s(b []byte, n int) ([]uint64, error) {
	if len(b) < 8*n {
		return nil, mux.ErrRequest
	}
	vs := make([]uint64, n)
	for i := range vs {
		vs[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return vs, nil
}
