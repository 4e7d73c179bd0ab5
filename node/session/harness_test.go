package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cluster is the machine behind a proposer, without a cluster: commands are
// applied by a goroutine, in order, one batch for each.
type cluster struct {
	t       testing.TB
	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{}

	mu       sync.Mutex
	machine  *fsm.Machine
	index    uint64
	epoch    uint64
	sequence uint64
	hold     bool // nothing is applied
	pending  []proposal
	applied  []command.Kind
	patient  int // commands that nobody waits for
	full     chan struct{}
	sessions map[uint64]*Session
	lastConn uint64
	peers    []*peer
}

type proposal struct {
	batch []byte
	kind  command.Kind
	to    command.Receiver
	token uint64
}

func newCluster(t testing.TB) *cluster {
	k := &cluster{
		t: t, wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
		machine: fsm.New(nil), sessions: make(map[uint64]*Session),
	}
	k.openEpoch()
	go k.run()
	return k
}

// close ends what a test that failed has left.
func (k *cluster) close() {
	for _, p := range k.peers {
		_ = p.conn.Close()
		p.cancel()
	}
	close(k.stop)
	<-k.stopped
}

func (k *cluster) openEpoch() {
	out := k.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochOpen{Node: "n1", Name: "rabbit@n1", Nonce: k.index + 1}))
	k.epoch, k.sequence = out.Effects[0].To.Epoch, 0
}

func (k *cluster) apply(batch []byte) *fsm.Output {
	k.index++
	command.Stamp(batch, int64(k.index), 0)
	out := new(fsm.Output)
	if err := k.machine.Apply(fsm.Meta{Index: k.index, Term: 1}, batch, out); err != nil {
		k.t.Errorf("apply: %v", err)
	}
	return out
}

func (k *cluster) Propose(cmd command.Command, to command.Receiver, token uint64) {
	k.mu.Lock()
	k.pending = append(k.pending, proposal{command.AppendToBatch(command.NewBatch(nil, 0, 0), cmd), cmd.Kind(), to, token})
	k.mu.Unlock()
	k.signal()
}

func (k *cluster) Patiently(cmd command.Command) {
	k.mu.Lock()
	k.patient++
	k.mu.Unlock()
	k.Propose(cmd, nil, 0)
}

func (k *cluster) Send() {}

func (k *cluster) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *cluster) Room() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.full
}

func (k *cluster) setFull(full bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if full {
		k.full = make(chan struct{})
		return
	}
	close(k.full)
	k.full = nil
}

func (k *cluster) setHold(hold bool) {
	k.mu.Lock()
	k.hold = hold
	k.mu.Unlock()
	k.signal()
}

// step applies the first command that is held.
func (k *cluster) step() {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pending[0]
	k.pending = k.pending[1:]
	k.applyOne(p, true)
}

func (k *cluster) run() {
	defer close(k.stopped)
	for {
		select {
		case <-k.wake:
		case <-k.stop:
			return
		}
		k.mu.Lock()
		for !k.hold && len(k.pending) > 0 {
			p := k.pending[0]
			k.pending = k.pending[1:]
			k.applyOne(p, true)
		}
		k.mu.Unlock()
	}
}

// applyOne applies a proposal; seen says that its result and effects are handed on.
func (k *cluster) applyOne(p proposal, seen bool) {
	k.sequence++
	command.SetSequence(p.batch, k.epoch, k.sequence)
	out := k.apply(p.batch)
	k.applied = append(k.applied, p.kind)
	if !seen {
		return
	}
	if p.to != nil {
		p.to.Result(p.token, &out.Results[0])
	}
	for i := range out.Effects {
		e := &out.Effects[i]
		if s := k.sessions[e.To.Conn]; s != nil && e.To.Epoch == k.epoch {
			s.Effect(e)
		}
	}
}

// count returns how many commands of a kind were applied.
func (k *cluster) count(kind command.Kind) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, a := range k.applied {
		if a == kind {
			n++
		}
	}
	return n
}

func (k *cluster) queue(name string) fsm.QueueInfo {
	k.mu.Lock()
	defer k.mu.Unlock()
	q, _ := k.machine.Queue("/", name)
	return q
}

// loseEpoch removes the epoch, as the cluster does with a node that is gone, and
// opens a new one.
func (k *cluster) loseEpoch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochRemove{Epoch: k.epoch}))
	k.openEpoch()
	for _, s := range k.sessions {
		s.EpochLost()
	}
}

// skip applies what is pending unseen, as a snapshot from another node does, and
// tells the sessions what is there now.
func (k *cluster) skip() {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, refused := k.sequence, uint64(0)
	for _, p := range k.pending {
		k.applyOne(p, false)
	}
	for _, e := range k.machine.Epochs() {
		if e.Epoch == k.epoch {
			refused = e.Refused
		}
	}
	for i, p := range k.pending {
		if p.to != nil {
			p.to.Result(p.token, &command.Result{Kind: p.kind, Lost: true, Applied: true, Unsure: before+uint64(i)+1 <= refused})
		}
	}
	k.pending = nil
	for n, s := range k.sessions {
		s.Restored(k.machine.ConnState(k.epoch, n))
	}
}

// A peer is a client under test control. It reads all the time, unless it is told
// to be slow, so that nothing but what a test wants waits for it.
type peer struct {
	t       testing.TB
	conn    net.Conn
	w       *protocol.Writer
	frames  chan protocol.Frame
	readErr error                         // why frames is closed
	slow    atomic.Pointer[chan struct{}] // not nil: reads nothing until it is closed
	served  chan error
	session *Session
	cancel  context.CancelFunc
}

var allCapabilities = wire.Table{{Name: "capabilities", Value: wire.Table{
	{Name: "consumer_cancel_notify", Value: true},
	{Name: "connection.blocked", Value: true},
	{Name: "authentication_failure_close", Value: true},
}}, {Name: "connection_name", Value: "test"}}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// connect starts a session on one end of a pipe. The client has sent nothing.
func (k *cluster) connect(change ...func(*Config)) *peer {
	near, far := net.Pipe()
	return k.connectOver(near, far, change...)
}

func (k *cluster) connectOver(near, far net.Conn, change ...func(*Config)) *peer {
	k.mu.Lock()
	k.lastConn++
	cfg := Config{
		Conn: far, ID: k.lastConn, Proposer: k,
		Authenticate: func(user, password string, _ net.Addr) error {
			if user != "guest" || password != "guest" {
				return errors.New("wrong user or password")
			}
			return nil
		},
		VHost:   func(_ context.Context, name string) bool { return name == "/" },
		Version: "1.0", Node: "rabbit@n1", ClusterName: func() string { return "test" },
		Logger: quiet(),
	}
	for _, f := range change {
		f(&cfg)
	}
	s := New(cfg)
	k.sessions[cfg.ID] = s
	k.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	p := &peer{
		t: k.t, conn: near, w: protocol.NewWriter(near), session: s,
		frames: make(chan protocol.Frame, 1<<16), served: make(chan error, 1), cancel: cancel,
	}
	k.peers = append(k.peers, p)
	go func() {
		err := s.Serve(ctx)
		k.mu.Lock()
		delete(k.sessions, cfg.ID)
		k.mu.Unlock()
		p.served <- err
	}()
	return p
}

// read collects the frames that come.
func (p *peer) read() {
	r := protocol.NewReader(p.conn)
	r.SetFrameMax(0)
	for {
		if slow := p.slow.Load(); slow != nil {
			<-*slow
		}
		f, err := r.ReadFrame()
		if err != nil {
			p.readErr = err
			close(p.frames)
			return
		}
		f.Payload = append([]byte(nil), f.Payload...)
		p.frames <- f
	}
}

func (p *peer) flush() {
	p.t.Helper()
	if err := p.w.Flush(); err != nil {
		p.t.Fatalf("write to the session: %v", err)
	}
}

func (p *peer) send(channel uint16, methods ...protocol.Method) {
	p.t.Helper()
	for _, m := range methods {
		p.w.Method(channel, m)
	}
	p.flush()
}

// publish adds a publish; flush sends it.
func (p *peer) publish(channel uint16, exchange, key, body string) {
	p.publishMethod(channel, &protocol.BasicPublish{Exchange: exchange, RoutingKey: key}, body)
}

func (p *peer) publishMethod(channel uint16, m *protocol.BasicPublish, body string) {
	p.w.Method(channel, m)
	p.w.Content(channel, []byte{0x10, 0, 2}, []byte(body)) // delivery-mode 2
}

// frame returns the next frame but heartbeats.
func (p *peer) frame() protocol.Frame {
	p.t.Helper()
	deadline := time.NewTimer(5 * time.Minute)
	defer deadline.Stop()
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				p.t.Fatalf("the session hung up: %v", p.readErr)
			}
			if f.Type != protocol.FrameHeartbeat {
				return f
			}
		case <-deadline.C:
			p.t.Fatal("nothing came from the session")
		}
	}
}

// receive returns the next method, which must be on the channel and of type M.
func receive[M protocol.Method](p *peer, channel uint16) M {
	p.t.Helper()
	f := p.frame()
	if f.Type != protocol.FrameMethod || f.Channel != channel {
		p.t.Fatalf("got frame type %d on channel %d, want %T on %d: %x", f.Type, f.Channel, *new(M), channel, f.Payload)
	}
	m, err := protocol.ParseMethod(f.Payload)
	if err != nil {
		p.t.Fatal(err)
	}
	got, ok := m.(M)
	if !ok {
		p.t.Fatalf("got %T %+v, want %T", m, m, *new(M))
	}
	return got
}

// content returns the properties and body that come next.
func (p *peer) content(channel uint16) (properties []byte, body string) {
	p.t.Helper()
	f := p.frame()
	if f.Type != protocol.FrameHeader || f.Channel != channel {
		p.t.Fatalf("got frame type %d on channel %d, want a header", f.Type, f.Channel)
	}
	h, err := protocol.ParseContentHeader(f.Payload)
	if err != nil {
		p.t.Fatal(err)
	}
	for uint64(len(body)) < h.BodySize {
		f := p.frame()
		if f.Type != protocol.FrameBody || f.Channel != channel {
			p.t.Fatalf("got frame type %d on channel %d, want a body", f.Type, f.Channel)
		}
		body += string(f.Payload)
	}
	return h.Properties, body
}

func call[M protocol.Method](p *peer, channel uint16, m protocol.Method) M {
	p.t.Helper()
	p.send(channel, m)
	return receive[M](p, channel)
}

// silent fails when something comes although all is done.
func (p *peer) silent() {
	p.t.Helper()
	synctest.Wait()
	select {
	case f, ok := <-p.frames:
		if ok {
			p.t.Fatalf("unexpected frame type %d on channel %d: %x", f.Type, f.Channel, f.Payload)
		}
		p.t.Fatalf("the session hung up: %v", p.readErr)
	default:
	}
}

// login does the handshake.
func (p *peer) login() *peer {
	p.t.Helper()
	p.loginAs(allCapabilities, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60})
	return p
}

func (p *peer) loginAs(properties wire.Table, tune *protocol.ConnectionTuneOk) {
	p.t.Helper()
	p.header()
	receive[*protocol.ConnectionStart](p, 0)
	call[*protocol.ConnectionTune](p, 0, &protocol.ConnectionStartOk{
		ClientProperties: properties, Mechanism: "PLAIN", Response: protocol.PlainResponse("guest", "guest"), Locale: "en_US",
	})
	p.send(0, tune)
	p.w.SetFrameMax(int(tune.FrameMax))
	call[*protocol.ConnectionOpenOk](p, 0, &protocol.ConnectionOpen{VirtualHost: "/"})
}

func (p *peer) header() {
	p.t.Helper()
	p.w.ProtocolHeader()
	p.flush()
	go p.read()
}

// open opens channels.
func (p *peer) open(channels ...uint16) *peer {
	p.t.Helper()
	for _, n := range channels {
		call[*protocol.ChannelOpenOk](p, n, &protocol.ChannelOpen{})
	}
	return p
}

func (p *peer) declare(channel uint16, queue string) {
	p.t.Helper()
	call[*protocol.QueueDeclareOk](p, channel, &protocol.QueueDeclare{Queue: queue, Durable: true})
}

// bye closes the connection in good order and waits for the end of Serve.
func (p *peer) bye() {
	p.t.Helper()
	call[*protocol.ConnectionCloseOk](p, 0, &protocol.ConnectionClose{ReplyCode: 200})
	p.ends(nil)
}

// hangUp closes the socket and waits for the end of Serve.
func (p *peer) hangUp() error {
	_ = p.conn.Close()
	defer p.cancel()
	return <-p.served
}

// ends waits until Serve has returned, and checks the code of its error.
func (p *peer) ends(want *protocol.Error) {
	p.t.Helper()
	_ = p.conn.Close()
	err := <-p.served
	p.cancel()
	var e *protocol.Error
	errors.As(err, &e)
	switch {
	case want == nil && err != nil:
		p.t.Fatalf("Serve: %v", err)
	case want != nil && (e == nil || e.Code != want.Code):
		p.t.Fatalf("Serve: %v, want code %d", err, want.Code)
	}
}

// dies expects connection.close with the code and text, answers it, and waits for
// the end of Serve.
func (p *peer) dies(code uint16, text string, id protocol.ID) {
	p.t.Helper()
	m := receive[*protocol.ConnectionClose](p, 0)
	if m.ReplyCode != code || m.ReplyText != text || protocol.NewID(m.ClassID, m.MethodID) != id {
		p.t.Errorf("got connection.close %d %q of %d.%d,\nwant %d %q of %s", m.ReplyCode, m.ReplyText, m.ClassID, m.MethodID, code, text, id)
	}
	p.send(0, &protocol.ConnectionCloseOk{})
	p.cancel()
	<-p.served
	_ = p.conn.Close()
}

// fails expects channel.close with the code and text, and answers it.
func (p *peer) fails(channel, code uint16, text string, id protocol.ID) {
	p.t.Helper()
	m := receive[*protocol.ChannelClose](p, channel)
	if m.ReplyCode != code || m.ReplyText != text || protocol.NewID(m.ClassID, m.MethodID) != id {
		p.t.Errorf("got channel.close %d %q of %d.%d,\nwant %d %q of %s", m.ReplyCode, m.ReplyText, m.ClassID, m.MethodID, code, text, id)
	}
	p.send(channel, &protocol.ChannelCloseOk{})
}

// inBubble runs a test with a cluster in a bubble of its own time.
func inBubble(t *testing.T, f func(t *testing.T, k *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster(t)
		defer k.close()
		f(t, k)
	})
}
