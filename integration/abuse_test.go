package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// An abuse is what clients do to use up a node. It goes on until the test ends.
type abuse struct {
	name string
	do   func(t *testing.T, n *node)
	more int64 // MiB of resident memory, above that of the load beside it, that no node may need for it
}

var abuses = []abuse{
	{"connections that say nothing, or half a handshake", floodOfConnections, 250},
	{"clients that write a byte at a time", slowWriters, 150},
	{"messages that never end", endlessMessages, 900},
	{"transactions that never end", endlessTransactions, 900},
	{"consumers that never acknowledge", neverAcknowledge, 400},
	{"gets that are never acknowledged", neverSettledGets, 350},
	{"consumers that read nothing", readNothing, 350},
	{"consumers that read a little at a time", readSlowly, 350},
	{"replies that are not read", unreadReplies, 900},
	{"messages with large tables", largeTables, 500},
	{"as many channels as there may be", allChannels, 400},
	{"consumers that come and go", comeAndGo, 350},
	{"queues that come and go", declareStorm, 350},
	{"answers that are not read", unreadAnswers, 350},
	{"requests over HTTP without an end", endlessRequests, 600},
}

// TestAbuse: while clients misuse a node, each in its own way, a client beside them on this node goes on, and
// the memory of all nodes stays within bounds.
//
// row: 1.6 flow control
func TestAbuse(t *testing.T) {
	// A node may be slow for a while; what clients make it keep is a quarter of the watermark at most.
	c := startClusterWith(t, 3, options{args: []string{"--node-grace", "2m", "--memory-high-watermark", "800MiB", "--handshake-timeout", "2m"}})
	n := c.node(0)
	for _, a := range abuses {
		t.Run(a.name, func(t *testing.T) {
			f := startFlow(t, c, n, n)
			progress(t, []*flow{f}, 500)
			before := map[*node]int64{}
			for _, n := range c.nodes {
				before[n] = resetPeak(t, n)
			}
			a.do(t, n)
			progress(t, []*flow{f}, 200)
			for _, n := range c.nodes {
				peak, err := n.peakMemory()
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d MiB more than the %d MiB before", n.name, (peak-before[n])>>20, before[n]>>20)
				if peak-before[n] > a.more<<20 {
					t.Errorf("%s needs %d MiB more than the %d MiB before, want at most %d", n.name, (peak-before[n])>>20, before[n]>>20, a.more)
				}
			}
			f.finish(t)
			for _, err := range f.check(loss{}) {
				t.Error(err)
			}
		})
	}
}

// resetPeak makes a node's peak of memory begin anew, and returns what it has now.
func resetPeak(t *testing.T, n *node) int64 {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", n.proc.PID()), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	now, _, err := n.proc.Memory()
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// together does something in so many goroutines at once and waits for all.
func together(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// hostileClient is a raw client that is logged in, with channel 1 open.
func hostileClient(t *testing.T, n *node) *rawClient {
	t.Helper()
	r := rawDial(t, n)
	r.handshake()
	r.openChannel(1)
	return r
}

// pour writes on while the server reads, in the background, until the test ends; what comes back is dropped, if it is
// to be read at all.
func pour(t *testing.T, r *rawClient, read bool, next func(i int) []byte) {
	t.Helper()
	_ = r.conn.SetDeadline(time.Time{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			if _, err := r.conn.Write(next(i)); err != nil {
				return
			}
		}
	})
	if read {
		wg.Go(func() {
			b := make([]byte, 64<<10)
			for {
				if _, err := r.conn.Read(b); err != nil {
					return
				}
			}
		})
	}
	t.Cleanup(func() { _ = r.conn.Close(); wg.Wait() })
}

// encode makes frames of what a raw client would send.
func encode(do func(r *rawClient)) []byte {
	var b bytes.Buffer
	do(&rawClient{conn: &sink{Buffer: &b}})
	return b.Bytes()
}

type sink struct {
	net.Conn
	*bytes.Buffer
}

func (s *sink) Write(b []byte) (int, error) { return s.Buffer.Write(b) }
func (s *sink) Read(b []byte) (int, error)  { return s.Buffer.Read(b) }

func publishFrames(key string, header []byte, bodies ...[]byte) []byte {
	return encode(func(r *rawClient) {
		r.method(1, 60, 40, r.short(0), r.shortstr(""), r.shortstr(key), []byte{0})
		r.frame(frameHeader, 1, header)
		for _, b := range bodies {
			r.frame(frameBody, 1, b)
		}
	})
}

// plainHeader is a content header without properties.
func plainHeader(size uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, size), 0, 0)
}

// floodOfConnections: thousands that say nothing, or stop in the handshake, and more behind them all the time.
func floodOfConnections(t *testing.T, n *node) {
	const silent = 3000
	for i := range silent {
		conn, err := net.DialTimeout("tcp", n.amqp, patience)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if i%3 > 0 {
			if _, err := conn.Write(protocolHeader[:4*(i%3)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn, err := net.DialTimeout("tcp", n.amqp, patience); err == nil {
					_, _ = conn.Write([]byte("AMQP"))
					_ = conn.Close()
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); wg.Wait() })
}

// slowWriters are logged in, and then send a message that never gets done, a byte at a time.
func slowWriters(t *testing.T, n *node) {
	together(200, func(int) {
		r := hostileClient(t, n)
		message := publishFrames("nowhere", plainHeader(100_000), make([]byte, 100_000))
		pour(t, r, true, func(i int) []byte {
			time.Sleep(10 * time.Millisecond)
			return message[i%len(message) : i%len(message)+1]
		})
	})
}

// endlessMessages begin on many connections and stop short of their end.
func endlessMessages(t *testing.T, n *node) {
	together(60, func(int) {
		r := hostileClient(t, n)
		r.openChannel(2)
		for ch := range uint16(2) {
			r.method(ch+1, 60, 40, r.short(0), r.shortstr(""), r.shortstr("nowhere"), []byte{0})
			r.header(ch+1, 16<<20, 0)
			for range 127 {
				r.frame(frameBody, ch+1, make([]byte, 128<<10))
			}
		}
	})
}

// endlessTransactions grow and are not committed.
func endlessTransactions(t *testing.T, n *node) {
	together(60, func(int) {
		r := hostileClient(t, n)
		r.method(1, 90, 10)
		r.expectMethod(1, 90, 11)
		message := publishFrames("nowhere", plainHeader(100_000), make([]byte, 100_000))
		for range 250 {
			r.write(message)
		}
	})
}

// fillQueue puts messages into a queue that goes with the test.
func fillQueue(t *testing.T, n *node, messages, size int) (queue string) {
	t.Helper()
	ch := open(t, n)
	queue = declare(t, ch, n, nil)
	publishSized(t, ch, queue, messages, size)
	return queue
}

func neverAcknowledge(t *testing.T, n *node) {
	queue := fillQueue(t, n, 50_000, 1024)
	for range 10 {
		r := hostileClient(t, n)
		r.method(1, 60, 20, r.short(0), r.shortstr(queue), r.shortstr(""), []byte{0}, r.long(0))
		pour(t, r, true, func(int) []byte {
			time.Sleep(time.Second)
			return encode(func(r *rawClient) { r.frame(frameHeartbeat, 0, nil) })
		})
	}
	eventually(t, "all is given out", func() error {
		if left, err := readyOf(n, queue); err != nil || left > 0 {
			return fmt.Errorf("%d are ready, %v", left, err)
		}
		return nil
	})
}

func neverSettledGets(t *testing.T, n *node) {
	queue := fillQueue(t, n, 400, 100_000)
	get := encode(func(r *rawClient) { r.method(1, 60, 70, r.short(0), r.shortstr(queue), []byte{0}) })
	for range 4 {
		pour(t, hostileClient(t, n), true, func(int) []byte { return get })
	}
	eventually(t, "all is given out", func() error {
		if left, err := readyOf(n, queue); err != nil || left > 0 {
			return fmt.Errorf("%d are ready, %v", left, err)
		}
		return nil
	})
}

// readNothing: many consumers, of which each may be sent as much as all that there is, and who read nothing.
func readNothing(t *testing.T, n *node) {
	queue := fillQueue(t, n, 1_500, 100_000)
	for i := range 100 {
		r := hostileClient(t, n)
		if i%2 == 0 {
			r.method(1, 60, 10, r.long(0), r.short(60_000), []byte{0})
			r.expectMethod(1, 60, 11)
		}
		r.method(1, 60, 20, r.short(0), r.shortstr(queue), r.shortstr(""), []byte{byte(i % 2 * 2)}, r.long(0))
	}
}

// readSlowly: consumers that would be sent all there is, and read some bytes now and then.
func readSlowly(t *testing.T, n *node) {
	queue := fillQueue(t, n, 1_500, 100_000)
	for range 50 {
		r := hostileClient(t, n)
		r.method(1, 60, 20, r.short(0), r.shortstr(queue), r.shortstr(""), []byte{2}, r.long(0))
		_ = r.conn.SetDeadline(time.Time{})
		var reader sync.WaitGroup
		reader.Go(func() {
			b := make([]byte, 100)
			for {
				if _, err := r.conn.Read(b); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		t.Cleanup(func() { _ = r.conn.Close(); reader.Wait() })
	}
}

// unreadReplies: clients that ask themselves by direct reply-to, and do not read the answers.
func unreadReplies(t *testing.T, n *node) {
	together(30, func(int) {
		asker, server := hostileClient(t, n), hostileClient(t, n)
		asker.method(1, 60, 20, asker.short(0), asker.shortstr("amq.rabbitmq.reply-to"), asker.shortstr(""), []byte{2}, asker.long(0))
		asker.expectMethod(1, 60, 21)
		queue := unique(t) + fmt.Sprint(asker.conn.LocalAddr())
		server.method(1, 50, 10, server.short(0), server.shortstr(queue), []byte{4}, server.long(0))
		server.expectMethod(1, 50, 11)
		server.method(1, 60, 20, server.short(0), server.shortstr(queue), server.shortstr(""), []byte{2}, server.long(0))
		server.expectMethod(1, 60, 21)
		header := append(plainHeader(1), asker.shortstr("amq.rabbitmq.reply-to")...)
		binary.BigEndian.PutUint16(header[12:], 1<<9)
		asker.write(publishFrames(queue, header, []byte("?")))
		server.expectMethod(1, 60, 60)
		_, _, properties := server.readFrame()
		name := string(properties[15:])
		server.readFrame()
		answer := publishFrames(name, plainHeader(100_000), make([]byte, 100_000))
		for range 400 {
			server.write(answer)
		}
	})
}

// largeTables: headers of messages as large as a frame, deep ones among them, through an exchange that looks at them.
func largeTables(t *testing.T, n *node) {
	ch := open(t, n)
	queue := declare(t, ch, n, map[string]any{"x-max-length": int32(100)})
	for i := range 10 {
		if err := ch.QueueBind(queue, "", "amq.headers", false, map[string]any{"x-match": "any", fmt.Sprint("h", i): "v"}); err != nil {
			t.Fatal(err)
		}
	}
	var wide, deep []byte
	raw := &rawClient{}
	for len(wide) < 120_000 {
		wide = append(append(wide, raw.shortstr(fmt.Sprint("h", len(wide)))...), 't', 1)
	}
	for len(deep) < 20_000 {
		deep = append(append(append(raw.shortstr("t"), 'F'), raw.long(uint32(len(deep)))...), deep...)
	}
	for i, table := range [][]byte{wide, deep, wide, deep} {
		header := append(plainHeader(1), append(raw.long(uint32(len(table))), table...)...)
		binary.BigEndian.PutUint16(header[12:], 1<<13)
		message := encode(func(r *rawClient) {
			r.method(1, 60, 40, r.short(0), r.shortstr("amq.headers"), r.shortstr(""), []byte{0})
			r.frame(frameHeader, 1, header)
			r.frame(frameBody, 1, []byte("x"))
		})
		if i == 3 {
			message = append(message, encode(func(r *rawClient) { // and of a queue, again and again
				r.method(1, 50, 10, r.short(0), r.shortstr(queue+"-x"), []byte{8 | 16}, r.long(uint32(len(wide))), wide)
			})...)
		}
		pour(t, hostileClient(t, n), true, func(int) []byte { return message })
	}
}

func allChannels(t *testing.T, n *node) {
	together(20, func(int) {
		r := rawDial(t, n)
		r.handshake()
		pour(t, r, true, func(i int) []byte {
			if i > 0 {
				time.Sleep(time.Second)
				return encode(func(r *rawClient) { r.frame(frameHeartbeat, 0, nil) })
			}
			return encode(func(r *rawClient) {
				for ch := range uint16(2047) {
					r.method(ch+1, 20, 10, r.shortstr(""))
					r.method(ch+1, 85, 10, []byte{0})
				}
			})
		})
	})
	eventually(t, "all channels", func() error {
		var o struct {
			Totals struct{ Channels int } `json:"object_totals"`
		}
		if err := n.getJSON("/api/overview", &o); err != nil || o.Totals.Channels < 20*2047 {
			return fmt.Errorf("%d channels, %v", o.Totals.Channels, err)
		}
		return nil
	})
}

func comeAndGo(t *testing.T, n *node) {
	queue := declare(t, open(t, n), n, nil)
	for range 5 {
		pour(t, hostileClient(t, n), true, func(i int) []byte {
			return encode(func(r *rawClient) {
				tag := fmt.Sprint("t", i)
				r.method(1, 60, 20, r.short(0), r.shortstr(queue), r.shortstr(tag), []byte{8}, r.long(0))
				if i%10 > 0 {
					r.method(1, 60, 30, r.shortstr(tag), []byte{1})
				}
				if i%1000 == 999 { // what is left
					r.method(1, 20, 40, r.short(200), r.shortstr(""), r.short(0), r.short(0))
					r.method(1, 20, 10, r.shortstr(""))
				}
			})
		})
	}
}

func declareStorm(t *testing.T, n *node) {
	for c := range 5 {
		pour(t, hostileClient(t, n), true, func(i int) []byte {
			return encode(func(r *rawClient) {
				name := fmt.Sprintf("%s-%d-%d", unique(t), c, i)
				r.method(1, 50, 10, r.short(0), r.shortstr(name), []byte{4 | 8 | 16}, r.long(0))
				r.method(1, 50, 20, r.short(0), r.shortstr(name), r.shortstr("amq.topic"), r.shortstr(name), []byte{1}, r.long(0))
				if i%100 > 0 {
					r.method(1, 50, 40, r.short(0), r.shortstr(name), []byte{4})
				}
			})
		})
	}
}

// unreadAnswers: clients that ask without end and do not read what they are told.
func unreadAnswers(t *testing.T, n *node) {
	queue := declare(t, open(t, n), n, nil)
	question := bytes.Repeat(encode(func(r *rawClient) {
		r.method(1, 60, 70, r.short(0), r.shortstr(queue), []byte{1})
		r.method(1, 20, 20, []byte{1})
	}), 100)
	for range 50 {
		pour(t, hostileClient(t, n), false, func(int) []byte { return question })
	}
}

// endlessRequests: headers that do not end, bodies that come slowly, and many that are as large as may be.
func endlessRequests(t *testing.T, n *node) {
	login := "Host: h\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("guest:guest")) + "\r\n"
	request := func(text string) *rawClient {
		conn, err := net.DialTimeout("tcp", n.http, patience)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return &rawClient{t: t, conn: conn}
	}
	for i := range 150 {
		begin, more := "GET /api/overview HTTP/1.1\r\n", []byte("X-Endless: yes\r\n")
		switch i % 3 {
		case 0:
			more = bytes.Repeat(more, 1000)
		case 2:
			begin, more = "POST /api/definitions HTTP/1.1\r\n"+login+"Content-Length: 60000000\r\n\r\n", []byte(" ")
		}
		pour(t, request(begin), true, func(int) []byte { time.Sleep(20 * time.Millisecond); return more })
	}
	large := bytes.Repeat([]byte(" "), 1<<20)
	for range 20 {
		pour(t, request("PUT /api/queues/%2F/q HTTP/1.1\r\n"+login+"Content-Length: 67108864\r\n\r\n"), true, func(int) []byte { return large })
	}
}

// publishSized publishes so many messages of a size and waits for the confirms.
func publishSized(t *testing.T, ch *amqp.Channel, queue string, messages, size int) {
	t.Helper()
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, size)
	var last *amqp.DeferredConfirmation
	for range messages {
		var err error
		if last, err = ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if !receiveConfirm(t, last) {
		t.Fatal("refused")
	}
}

// readyOf is how many messages of a queue nobody has been given.
func readyOf(n *node, queue string) (ready int, err error) {
	var q struct {
		Ready int `json:"messages_ready"`
	}
	err = n.getJSON("/api/queues/%2F/"+queue, &q)
	return q.Ready, err
}
