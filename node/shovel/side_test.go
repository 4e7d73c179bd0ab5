package shovel

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// A side is a broker that does what a test wants. It listens on TCP.
type side struct {
	t    *testing.T
	l    net.Listener
	mute map[[2]uint16]bool            // class and method of what it does not answer
	on   map[[2]uint16]func(s *spoken) // is called for these, after the answer
	fmax uint32                        // frame_max that it proposes

	mu   sync.Mutex
	got  []spoken // methods, in order
	conn net.Conn // the last one
}

// spoken is a method that came, and the header of its content.
type spoken struct {
	class, method uint16
	args, header  []byte
	side          *side
	out           io.Writer
}

func newSide(t *testing.T) *side {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &side{t: t, l: l, mute: map[[2]uint16]bool{}, on: map[[2]uint16]func(*spoken){}, fmax: frameMax}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		if s.conn != nil {
			s.conn.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conn = conn
			s.mu.Unlock()
			wg.Go(func() { s.serve(conn) })
		}
	})
	return s
}

func (s *side) uri() string { return fmt.Sprintf("amqp://u:secret@%s", s.l.Addr()) }

// serve speaks with a client until that ends.
func (s *side) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, 8)); err != nil {
		return
	}
	conn.Write(methodFrame(0, 10, 10, "\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US"))
	tune := binary.BigEndian.AppendUint32([]byte{0, 9}, s.fmax)
	answers := map[[2]uint16]string{
		{10, 11}: "\x00\x0a\x00\x1e" + string(tune) + "\x00\x0a", // tune, heartbeat 10 s
		{10, 40}: "\x00\x0a\x00\x29\x00", {10, 50}: "\x00\x0a\x00\x33",
		{20, 10}: "\x00\x14\x00\x0b\x00\x00\x00\x00", {20, 40}: "\x00\x14\x00\x29",
		{50, 10}: "\x00\x32\x00\x0b\x01q\x00\x00\x00\x05\x00\x00\x00\x00",
		{60, 10}: "\x00\x3c\x00\x0b", {60, 20}: "\x00\x3c\x00\x15\x01c", {85, 10}: "\x00\x55\x00\x0b",
	}
	var content *spoken // whose header is to come
	for {
		head := make([]byte, frameHead)
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[3:])+frameEnd)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		payload = payload[:len(payload)-frameEnd]
		channel := binary.BigEndian.Uint16(head[1:])
		if head[0] == frameHeader && content != nil {
			content.header = payload
			s.heard(content)
			content = nil
			continue
		}
		if head[0] != frameMethod {
			continue
		}
		m := &spoken{class: binary.BigEndian.Uint16(payload), method: binary.BigEndian.Uint16(payload[2:]), args: payload[4:], side: s, out: conn}
		key := [2]uint16{m.class, m.method}
		if answer, ok := answers[key]; ok && !s.mute[key] {
			conn.Write(frame(frameMethod, channel, []byte(answer)))
		}
		if key == [2]uint16{60, 40} {
			content = m
			continue
		}
		s.heard(m)
	}
}

func (s *side) heard(m *spoken) {
	s.mu.Lock()
	s.got = append(s.got, *m)
	s.mu.Unlock()
	if f := s.on[[2]uint16{m.class, m.method}]; f != nil {
		f(m)
	}
}

// all returns the methods of a kind that came.
func (s *side) all(class, method uint16) (some []spoken) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.got {
		if m.class == class && m.method == method {
			some = append(some, m)
		}
	}
	return some
}

func frame(kind byte, channel uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xce)
}

func methodFrame(channel, class, method uint16, args string) []byte {
	b := binary.BigEndian.AppendUint16(nil, class)
	b = binary.BigEndian.AppendUint16(b, method)
	return frame(frameMethod, channel, append(b, args...))
}

// headerFrame begins a message with such headers.
func headerFrame(size uint64, table []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, size)
	b = append(b, 0xa0, 0, 1, 't') // content type and headers
	b = binary.BigEndian.AppendUint32(b, uint32(len(table)))
	return frame(frameHeader, 1, append(b, table...))
}

// consumer is the tag of a basic.consume, as a short string.
func consumer(m *spoken) string {
	tag := m.args[3+m.args[2]:] // behind the ticket and the queue
	return string(tag[:1+tag[0]])
}

// deliver sends messages with tags from 1 on, whose bodies are "b".
func deliver(m *spoken, n int, table []byte) {
	var b bytes.Buffer
	for tag := range n {
		args := consumer(m) + string(binary.BigEndian.AppendUint64(nil, uint64(tag+1))) + "\x00\x00\x01k"
		b.Write(methodFrame(1, 60, 60, args))
		b.Write(headerFrame(1, table))
		b.Write(frame(frameBody, 1, []byte("b")))
	}
	m.out.Write(b.Bytes())
}

// settled is a confirm of the kind of ack or nack.
func settled(method uint16, tag uint64, multiple bool) []byte {
	args := binary.BigEndian.AppendUint64(nil, tag)
	flags := byte(0)
	if multiple {
		flags = 1
	}
	return methodFrame(1, 60, method, string(append(args, flags)))
}
