package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/fsm"
	"warren/protocol"
)

// stagePatience bounds every wait for a node that is right.
const stagePatience = 30 * time.Second

// A stage is a node, a client that behaves, and a user and vhost for those who do not: they can reach nothing else.
type stage struct {
	n     *Node
	ch    *amqp.Channel
	goods <-chan amqp.Delivery
	count int

	connections []uint64 // what the machine knows of, without hostile ones
	goroutines  int
}

const (
	stageUser  = "fuzz" // and its password
	stageVHost = "fuzz"
	// stageHeap is more than the node may have in memory when nothing is under way, in bytes.
	stageHeap = 256 << 20
)

func newStage(t testing.TB) *stage {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.SnapshotBytes, cfg.MessageMemory, cfg.SegmentBytes = 4<<20, 4<<20, 4<<20
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	<-n.Ready()
	s := &stage{n: n}
	s.admin(t, "PUT", "/api/users/"+stageUser, `{"password":"`+stageUser+`","tags":"policymaker monitoring"}`)
	s.makeVHost(t)
	conn, err := amqp.Dial("amqp://guest:guest@" + n.AMQPAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if s.ch, err = conn.Channel(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ch.QueueDeclare("good", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if s.goods, err = s.ch.Consume("good", "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	s.serves(t)
	s.connections = s.known()
	s.goroutines = runtime.NumGoroutine()
	return s
}

// admin makes a request as an administrator.
func (s *stage) admin(t testing.TB, method, path, body string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.n.HTTPAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("guest", "guest")
	r.Close = true // so that no goroutine stays with it
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
}

func (s *stage) makeVHost(t testing.TB) {
	t.Helper()
	s.admin(t, "PUT", "/api/vhosts/"+stageVHost, "")
	s.admin(t, "PUT", "/api/permissions/"+stageVHost+"/"+stageUser, `{"configure":".*","write":".*","read":".*"}`)
}

// known are the connections of which the machine holds something.
func (s *stage) known() (all []uint64) {
	epoch := s.n.proposer.Epoch()
	s.n.replica.View(func(m *fsm.Machine) { all = m.Connections(epoch) })
	return all
}

// serves wants a message confirmed and delivered.
func (s *stage) serves(t testing.TB) {
	t.Helper()
	s.count++
	body := fmt.Sprint("good ", s.count)
	c, err := s.ch.PublishWithDeferredConfirm("", "good", true, false, amqp.Publishing{Body: []byte(body)})
	if err != nil {
		t.Fatalf("the client that behaves: %v", err)
	}
	late := time.After(stagePatience)
	select {
	case <-c.Done():
		if !c.Acked() {
			t.Fatal("the client that behaves: refused")
		}
	case <-late:
		t.Fatal("the client that behaves waits for a confirm")
	}
	select {
	case d := <-s.goods:
		if string(d.Body) != body {
			t.Fatalf("the client that behaves got %q, want %q", d.Body, body)
		}
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
	case <-late:
		t.Fatal("the client that behaves waits for a delivery")
	}
}

// recovered wants the node as it was before a hostile client came.
func (s *stage) recovered(t testing.TB) {
	t.Helper()
	if err := s.n.failed(); err != nil {
		t.Fatalf("the node ended: %v", err)
	}
	s.serves(t)
	s.eventually(t, "sessions end", func() error {
		n := 0
		for range s.n.sessions.All() {
			n++
		}
		if n > 1 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	s.eventually(t, "the machine lets go of connections", func() error {
		if now := s.known(); !slices.Equal(now, s.connections) {
			return fmt.Errorf("it knows %v, and not only %v", now, s.connections)
		}
		return nil
	})
	s.clean(t)
	s.eventually(t, "goroutines end", func() error {
		if n := runtime.NumGoroutine(); n > s.goroutines+10 { // some come and go in any node
			return fmt.Errorf("%d, and %d in the beginning", n, s.goroutines)
		}
		return nil
	})
	s.eventually(t, "memory is given back", func() error {
		var m runtime.MemStats
		if runtime.ReadMemStats(&m); m.HeapAlloc > stageHeap {
			runtime.GC()
			return fmt.Errorf("%d MiB", m.HeapAlloc>>20)
		}
		return nil
	})
}

// clean removes what a client has left in its vhost.
func (s *stage) clean(t testing.TB) {
	t.Helper()
	dirty := false
	s.n.replica.View(func(m *fsm.Machine) {
		dirty = !m.HasVHost(stageVHost) || len(m.Queues(stageVHost)) > 0 || len(m.Exchanges(stageVHost)) > len(m.Exchanges("/")) ||
			len(m.Policies(stageVHost, false)) > 0 || len(m.Parameters(stageVHost)) > 0
	})
	if !dirty {
		return
	}
	s.admin(t, "DELETE", "/api/vhosts/"+stageVHost, "")
	s.makeVHost(t)
}

func (s *stage) eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(stagePatience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// dial connects to the AMQP or the HTTP port.
func (s *stage) dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(stagePatience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// throw sends bytes and then the end, and returns all that comes back until the server's end. A server that has heard
// enough may close meanwhile.
func throw(t testing.TB, conn *net.TCPConn, b []byte) []byte {
	t.Helper()
	answer := make(chan []byte, 1)
	go func() {
		all, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection does not end; so far came %q", all)
		} else if err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
		answer <- all
	}()
	_, err := conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the server does not read: %v", err)
	}
	_ = conn.CloseWrite() // it may be closed
	return <-answer
}

// A conversation is what a server said on one connection, as it is judged.
type conversation struct {
	open  map[uint16]bool // channels
	bytes map[uint16]uint64
	await map[uint16]uint8 // type of the next frame of the channel, if it belongs to a content
	over  bool             // connection.close or its answer was said
}

// legalWords wants legal frames, and nothing behind the end.
func legalWords(said []byte) error {
	if bytes.HasPrefix(said, []byte("AMQP")) {
		if string(said) != protocol.ProtocolHeader {
			return fmt.Errorf("a protocol header and more: %q", said)
		}
		return nil
	}
	c := conversation{open: map[uint16]bool{}, bytes: map[uint16]uint64{}, await: map[uint16]uint8{}}
	r := protocol.NewReader(bytes.NewReader(said))
	r.SetFrameMax(0)
	for {
		f, err := r.ReadFrame()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // it may be cut
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.frame(f); err != nil {
			return fmt.Errorf("frame of type %d on channel %d: %w", f.Type, f.Channel, err)
		}
	}
}

func (c *conversation) frame(f protocol.Frame) error {
	if c.over {
		return errors.New("something behind the end")
	}
	if f.Type == protocol.FrameHeartbeat {
		return nil
	}
	if want := c.await[f.Channel]; want != 0 || f.Type != protocol.FrameMethod {
		return c.content(f, want)
	}
	m, err := protocol.ParseMethod(f.Payload)
	if err != nil {
		return err
	}
	return c.method(f.Channel, m)
}

func (c *conversation) content(f protocol.Frame, want uint8) error {
	switch {
	case f.Type != want:
		return fmt.Errorf("want type %d", want)
	case want == protocol.FrameHeader:
		h, err := protocol.ParseContentHeader(f.Payload)
		if err != nil {
			return err
		}
		c.bytes[f.Channel] = h.BodySize
	case uint64(len(f.Payload)) > c.bytes[f.Channel]:
		return errors.New("a body longer than announced")
	default:
		c.bytes[f.Channel] -= uint64(len(f.Payload))
	}
	c.await[f.Channel] = protocol.FrameBody
	if c.bytes[f.Channel] == 0 {
		delete(c.await, f.Channel)
	}
	return nil
}

func (c *conversation) method(channel uint16, m protocol.Method) error {
	ofConnection := m.ID().Class() == protocol.IDConnectionStart.Class()
	if ofConnection != (channel == 0) {
		return fmt.Errorf("%s on this channel", m.ID())
	}
	switch m := m.(type) {
	case *protocol.ConnectionStart, *protocol.ConnectionSecure, *protocol.ConnectionTune, *protocol.ConnectionOpenOk,
		*protocol.ConnectionBlocked, *protocol.ConnectionUnblocked, *protocol.ConnectionUpdateSecretOk:
		return nil
	case *protocol.ConnectionClose:
		c.over = true
		return legalCode(m.ReplyCode, m.ReplyText)
	case *protocol.ConnectionCloseOk:
		c.over = true
		return nil
	case *protocol.ChannelOpenOk:
		if c.open[channel] {
			return errors.New("opened twice")
		}
		c.open[channel] = true
		return nil
	case *protocol.ChannelClose:
		c.open[channel] = false
		return legalCode(m.ReplyCode, m.ReplyText)
	case *protocol.ChannelCloseOk:
		c.open[channel] = false
		return nil
	case *protocol.BasicDeliver, *protocol.BasicGetOk, *protocol.BasicReturn:
		c.await[channel] = protocol.FrameHeader
	default:
		if !strings.HasSuffix(fmt.Sprintf("%T", m), "Ok") && !slices.Contains(saidToo, m.ID()) {
			return fmt.Errorf("%s is not for a server to say", m.ID())
		}
	}
	if !c.open[channel] {
		return fmt.Errorf("%s on a channel that is not open", m.ID())
	}
	return nil
}

// saidToo are methods of a server that are no answers.
var saidToo = []protocol.ID{
	protocol.IDBasicGetEmpty, protocol.IDBasicAck, protocol.IDBasicNack, protocol.IDBasicCancel, protocol.IDChannelFlow,
}

func legalCode(code uint16, text string) error {
	if protocol.CodeName(code) == "" || code == protocol.ReplySuccess || code == protocol.InternalError {
		return fmt.Errorf("closed with %d %q", code, text)
	}
	return nil
}
