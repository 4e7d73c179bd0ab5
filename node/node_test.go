package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"warren/cluster"
	"warren/fsm/command"
)

func testConfig(dir string) Config {
	return Config{
		DataDir: dir, NodeName: "n1", Version: "test",
		AMQPAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", ClusterAddr: "127.0.0.1:0",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func start(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not ready")
	}
	return n
}

func dial(t *testing.T, n *Node) (*amqp.Connection, *amqp.Channel) {
	t.Helper()
	conn, err := amqp.Dial("amqp://guest:guest@" + n.AMQPAddr())
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return conn, ch
}

func stop(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := n.Wait(); err != nil {
		t.Error(err)
	}
}

// A node that is closed tells its clients 320, leaves no goroutine, and comes
// back as the same node with its durable messages and without the others' queues.
func TestCloseAndReturn(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := testConfig(t.TempDir())
	n := start(t, cfg)
	conn, ch := dial(t, n)
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	for _, durable := range []bool{true, false} {
		name := map[bool]string{true: "durable", false: "transient"}[durable]
		if _, err := ch.QueueDeclare(name, durable, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		c, err := ch.PublishWithDeferredConfirm("", name, false, false, amqp.Publishing{Body: []byte(name)})
		if err != nil {
			t.Fatal(err)
		}
		if !c.Wait() {
			t.Fatal("not confirmed")
		}
	}
	id := n.id
	stop(t, n)
	if e := <-closed; e == nil || e.Code != 320 {
		t.Errorf("the client was closed with %v, want 320", e)
	}

	n = start(t, cfg)
	defer stop(t, n)
	if n.id != id {
		t.Errorf("came back as %s, was %s", n.id, id)
	}
	conn, ch = dial(t, n)
	defer conn.Close()
	m, ok, err := ch.Get("durable", true)
	if err != nil || !ok || string(m.Body) != "durable" {
		t.Errorf("durable message: %q, %v, %v", m.Body, ok, err)
	}
	_, err = ch.QueueDeclarePassive("transient", false, false, false, false, nil)
	var refused *amqp.Error
	if !errors.As(err, &refused) || refused.Code != 404 {
		t.Errorf("the transient queue after a restart of the whole cluster: %v", err)
	}
}

// A command that fits in no entry of the log is refused, and the node goes on.
func TestTooLargeForTheLog(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	large := &command.Publish{VHost: []byte("/"), Key: []byte("q"), Properties: []byte{0, 0}, Body: make([]byte, cluster.MaxBatch)}
	res, err := broker{n}.Propose(ctx, large)
	if err != nil || res.Err == nil || res.Err.Code != 406 {
		t.Errorf("answer %v, %v, want 406", res.Err, err)
	}
	if _, err := (broker{n}).Propose(ctx, &command.Tick{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Over HTTP a node that waits for others shows what it waits for, and does nothing for
// --default-user, whom the cluster may not have.
func TestNothingDoneBeforeTheLogIsKnown(t *testing.T) {
	n := startAlone(t)
	defer stop(t, n)
	ask := func(method, path, body string) (int, string) {
		r, err := http.NewRequest(method, "http://"+n.HTTPAddr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("guest", "guest")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	if status, body := ask("GET", "/api/cluster", ""); status != 200 || !strings.Contains(body, `"waiting":"`) {
		t.Errorf("cluster: %d %s", status, body)
	}
	if status, body := ask("GET", "/api/whoami", ""); status != 200 || strings.Contains(body, "administrator") {
		t.Errorf("whoami: %d %s", status, body)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if status, body := ask(method, "/api/users/eve", `{"password":"x","tags":"administrator"}`); status != 503 {
			t.Errorf("%s: %d %s, want 503", method, status, body)
		}
	}
}

// startAlone starts a node that waits for another one, which never comes.
func startAlone(t *testing.T) *Node {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.Join, cfg.Expect = []string{"127.0.0.1:1"}, 2
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Without a quorum so much is kept of what is proposed over HTTP, and no more.
func TestRoomWithoutQuorum(t *testing.T) {
	n := startAlone(t)
	defer stop(t, n)
	message := &command.Publish{VHost: []byte("/"), Key: []byte("q"), Properties: []byte{0, 0}, Body: make([]byte, 1<<20)}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	took := 0
	for ; n.proposer.Room() == nil; took++ {
		if took > 100 {
			t.Fatal("there is always room")
		}
		if _, err := (broker{n}).Propose(ctx, message); err == nil {
			t.Fatal("done without a cluster")
		}
	}
	if _, err := (broker{n}).Propose(ctx, message); err == nil || !strings.Contains(err.Error(), "not done") {
		t.Errorf("without room: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, set := range []func(*Config){
		func(c *Config) { c.AMQPAddr = l.Addr().String() },
		func(c *Config) { c.HTTPAddr = l.Addr().String() },
		func(c *Config) { c.ClusterAddr = l.Addr().String() },
	} {
		cfg := testConfig(t.TempDir())
		set(&cfg)
		if _, err := Open(cfg); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("error %v, want address in use", err)
		}
	}
}

func TestDamagedIdentity(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node-id")
	if err := os.WriteFile(path, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(testConfig(dir))
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

// Where clients have certificates of the nodes' authority, a certificate alone must
// not make a node.
func TestClusterTLSWithClientsNeedsSecret(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.ClusterTLS, cfg.TLS = true, TLS{Cert: "c", Key: "k", CA: "a", VerifyPeer: true}
	n, err := Open(cfg)
	if err == nil {
		_ = n.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "needs a cluster secret") {
		t.Errorf("opened with %v", err)
	}
	cfg.ClusterSecrets = []string{"a secret of sixteen bytes and more"}
	if _, err := Open(cfg); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("with a secret: %v", err) // there are no such files
	}
}
