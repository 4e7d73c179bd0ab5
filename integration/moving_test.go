package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// guide returns the commands of a part of docs/moving.md, block by block.
func guide(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot(), "docs", "moving.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n## "+heading+"\n")
	part, _, _ = strings.Cut(part, "\n## ")
	var blocks []string
	for i, piece := range strings.Split(part, "```") {
		if code, ok := strings.CutPrefix(piece, "sh\n"); ok && i%2 == 1 {
			blocks = append(blocks, code)
		}
	}
	if !found || len(blocks) == 0 {
		t.Fatalf("docs/moving.md has no commands under %q", heading)
	}
	return blocks
}

// A guideShell runs the commands of the guide.
type guideShell struct {
	dir string
	env []string
}

// newGuideShell returns a shell in which rabbitmqctl is that of the old broker and warrenctl that of the new one.
func newGuideShell(t *testing.T, old, rabbitmqctl string, to *node) *guideShell {
	s := &guideShell{dir: t.TempDir()}
	script := "#!/bin/sh\nexec " + rabbitmqctl + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(s.dir, "rabbitmqctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "OLD="+old, "NEW="+to.url, "WARRENCTL_NODES=http://"+to.http,
		"PATH="+s.dir+":"+filepath.Dir(to.ctlBin)+":"+os.Getenv("PATH"))
	return s
}

func (s *guideShell) run(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// A mover publishes and consumes numbered messages all the time, each on the broker that it was last sent to.
type mover struct {
	t         *testing.T
	confirmed atomic.Int64 // numbers below have been confirmed
	stop      chan struct{}
	done      sync.WaitGroup
	publisher chan string // where to go
	consumer  chan string

	mu   sync.Mutex
	seen map[string]int
}

// startMover starts a publisher and a consumer as the user that the definitions are to bring over.
func startMover(t *testing.T, url string) *mover {
	m := &mover{t: t, stop: make(chan struct{}), publisher: make(chan string), consumer: make(chan string), seen: make(map[string]int)}
	m.done.Add(2)
	go m.publish(url)
	go m.consume(url)
	return m
}

func (m *mover) connect(url string) *amqp.Channel {
	conn, err := amqp.Dial(strings.Replace(url, "guest:guest", "app:app-pass", 1))
	if err == nil {
		var ch *amqp.Channel
		if ch, err = conn.Channel(); err == nil {
			return ch
		}
	}
	m.t.Errorf("connect: %v", err)
	return nil
}

func (m *mover) publish(url string) {
	defer m.done.Done()
	for url != "" {
		ch := m.connect(url)
		if ch == nil || ch.Confirm(false) != nil {
			return
		}
		url = m.publishOn(ch)
	}
}

// publishOn publishes until there is somewhere to go, or it is told to stop.
func (m *mover) publishOn(ch *amqp.Channel) (next string) {
	for {
		n := m.confirmed.Load()
		c, err := ch.PublishWithDeferredConfirm("shop", "orders.new", false, false, amqp.Publishing{Body: fmt.Append(nil, n), DeliveryMode: amqp.Persistent})
		if err != nil || !c.Wait() {
			m.t.Errorf("publish %d: %v", n, err)
			return ""
		}
		m.confirmed.Add(1)
		select {
		case next = <-m.publisher:
			return next
		case <-m.stop:
			return ""
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (m *mover) consume(url string) {
	defer m.done.Done()
	for url != "" {
		ch := m.connect(url)
		if ch == nil {
			return
		}
		from, err := ch.Consume("orders", "", false, false, false, false, nil)
		if err != nil {
			m.t.Errorf("consume: %v", err)
			return
		}
		url = m.consumeFrom(ch, from)
	}
}

func (m *mover) consumeFrom(ch *amqp.Channel, from <-chan amqp.Delivery) (next string) {
	defer ch.Close()
	for {
		select {
		case d, ok := <-from:
			if !ok || d.Ack(false) != nil {
				m.t.Error("the consumer was ended")
				return ""
			}
			m.mu.Lock()
			m.seen[string(d.Body)]++
			m.mu.Unlock()
		case next = <-m.consumer:
			return next
		case <-m.stop:
			return ""
		}
	}
}

// missing is how many of the messages up to a number have not been seen.
func (m *mover) missing(upTo int64) (missing, again int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range upTo {
		switch count := m.seen[fmt.Sprint(n)]; {
		case count == 0:
			missing++
		case count > 1:
			again++
		}
	}
	return missing, again
}

func (m *mover) await(t *testing.T, what string) {
	t.Helper()
	upTo := m.confirmed.Load() + 20
	eventually(t, what+": what is published is consumed", func() error {
		if now := m.confirmed.Load(); now < upTo {
			return fmt.Errorf("%d confirmed", now)
		}
		if n, _ := m.missing(upTo); n > 0 {
			return fmt.Errorf("%d of %d are missing", n, upTo)
		}
		return nil
	})
}

// awaitLine runs a command of the guide until it prints a line.
func (s *guideShell) awaitLine(t *testing.T, script, line string) {
	t.Helper()
	eventually(t, strings.TrimSpace(script), func() error {
		if out := s.run(t, script); !strings.Contains("\n"+out, "\n"+line) {
			return fmt.Errorf("no line %q in:\n%s", line, out)
		}
		return nil
	})
}

// TestMoving runs the commands of docs/moving.md, there and back, while messages are published and consumed. The other
// side is the RabbitMQ of PEER_URIS, whose rabbitmqctl is the command PEER_CTL, or another Warren.
//
// row: 1.11 moving
func TestMoving(t *testing.T) {
	t.Parallel()
	to := startCluster(t, 1).node(0)
	var old, rabbitmqctl string
	if uris := os.Getenv("PEER_URIS"); uris != "" {
		old, _, _ = strings.Cut(uris, ",")
		if rabbitmqctl = os.Getenv("PEER_CTL"); rabbitmqctl == "" {
			t.Fatal("PEER_CTL is to say how rabbitmqctl is run on the broker of PEER_URIS")
		}
		if !strings.Contains(old, "@") {
			old = strings.Replace(old, "amqp://", "amqp://guest:guest@", 1)
		}
	} else {
		from := startCluster(t, 1).node(0)
		old, rabbitmqctl = strings.TrimSuffix(from.url, "/"), from.ctlBin+" --node http://"+from.http
	}
	sh := newGuideShell(t, old, rabbitmqctl, to)
	t.Cleanup(func() { // for the next time, where the other side is not ours
		cmd := exec.Command("sh", "-uc", "rabbitmqctl delete_queue orders; rabbitmqctl delete_queue leftovers; rabbitmqctl clear_policy long; rabbitmqctl delete_user app")
		cmd.Dir, cmd.Env = sh.dir, sh.env
		_ = cmd.Run()
	})
	sh.run(t, `rabbitmqctl add_user app app-pass
		rabbitmqctl set_permissions app '.*' '.*' '.*'
		rabbitmqctl set_policy long '^orders$' '{"max-length": 1000000}'`)
	conn, err := amqp.Dial(old)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	setUp(t, channel(t, conn))
	m := startMover(t, old)
	m.await(t, "on the old side")

	for _, block := range guide(t, "1. Definitions") {
		sh.run(t, block)
	}
	if out := to.ctl(t, "list_policies", "-q"); !strings.Contains(out, "long") {
		t.Errorf("the policy is not there:\n%s", out)
	}
	start := guide(t, "2. Shovels")[0]
	sh.run(t, start)
	m.consumer <- to.url
	m.await(t, "consumers have moved")
	m.publisher <- to.url
	m.await(t, "publishers have moved")
	look := guide(t, "4. Is the old side empty?")[0]
	sh.awaitLine(t, look, "orders\t0\t1\n")
	sh.awaitLine(t, look, "move orders\trunning\t")
	end := guide(t, "5. The end")[0]
	sh.run(t, end)
	sh.awaitLine(t, look, "orders\t0\t0\n")

	to.ctl(t, "add_user", "made-here", "p")
	back := guide(t, "Going back")
	if out := sh.run(t, back[0]); !strings.Contains(out, "made-here") {
		t.Errorf("nothing is said of the user who stays behind:\n%s", out)
	}
	sh.run(t, back[1])
	m.consumer <- old
	m.await(t, "consumers are back")
	m.publisher <- old
	m.await(t, "publishers are back")
	sh.awaitLine(t, back[2], "orders\t0\t1\n")
	sh.run(t, end)
	m.publisher <- "" // it stops
	eventually(t, "all is consumed", func() error {
		if n, _ := m.missing(m.confirmed.Load()); n > 0 {
			return fmt.Errorf("%d are missing", n)
		}
		return nil
	})
	close(m.stop)
	m.done.Wait()
	n := m.confirmed.Load()
	_, again := m.missing(n)
	t.Logf("%d messages, %d of them again", n, again)

	publish(t, channel(t, conn), "leftovers", "left")
	sh.run(t, guide(t, "One queue, once")[0])
	if d, ok, err := open(t, to).Get("leftovers", true); err != nil || !ok || string(d.Body) != "left" {
		t.Errorf("what was left over: %v, %v, %q", ok, err, d.Body)
	}
}

// setUp makes what the guide moves.
func setUp(t *testing.T, ch *amqp.Channel) {
	t.Helper()
	if err := ch.ExchangeDeclare("shop", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"orders", "leftovers"} {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.QueueBind("orders", "orders.#", "shop", false, nil); err != nil {
		t.Fatal(err)
	}
}
