package dev

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary stands in for warren: with "serve" it is a node that only
// answers /api/cluster, with "dev" a dev that can be killed. Real nodes under dev are
// the business of the integration tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			os.Exit(standInNode(os.Args[2:]))
		case "dev":
			os.Exit(standInDev(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// standInNode names the leader that the file "leader" beside its data directory names.
func standInNode(args []string) int {
	f := flag.NewFlagSet("serve", flag.ExitOnError)
	dir, name, at := f.String("data-dir", "", ""), f.String("node-name", "", ""), f.String("http-addr", "", "")
	for _, other := range []string{"amqp-addr", "cluster-addr", "metrics-addr", "join", "expect", "cluster-secret-file"} {
		f.String(other, "", "")
	}
	fail := f.Bool("fail", false, "")
	_ = f.Parse(args)
	if *fail {
		fmt.Println("this node cannot start")
		return 1
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "guest" || password != "guest" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		leader, _ := os.ReadFile(filepath.Join(filepath.Dir(*dir), "leader"))
		_ = json.NewEncoder(w).Encode(map[string]any{"node": *name, "leader": string(leader), "serving": true})
	}
	http.HandleFunc("/api/cluster", handler)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { _ = http.ListenAndServe(*at, nil) }()
	<-stop
	return 0
}

// standInDev runs one node at the ports from args[1] on, with its data in args[0].
func standInDev(args []string) int {
	var port int
	if _, err := fmt.Sscan(args[1], &port); err != nil {
		return 1
	}
	exe, err := os.Executable()
	if err != nil {
		return 1
	}
	err = Run(context.Background(), Config{
		Nodes: 1, DataDir: args[0], AMQPPort: port, HTTPPort: port + 1, ClusterPort: port + 2,
		Executable: exe, User: "guest", Password: "guest", Out: os.Stdout,
	})
	fmt.Println(err)
	return 1
}

// A session is a Run in progress.
type session struct {
	t *testing.T
	Config
	typed  *io.PipeWriter
	cancel context.CancelFunc // as Ctrl-C does
	done   chan error

	mu   sync.Mutex
	text strings.Builder
	grew chan struct{} // gets a value after text grew
}

func (s *session) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	select {
	case s.grew <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (s *session) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func begin(t *testing.T, nodes int, serveArgs ...string) *session {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	s := &session{t: t, Config: config(t, nodes), typed: w, done: make(chan error, 1), grew: make(chan struct{}, 1)}
	s.Executable, s.ServeArgs = exe, serveArgs
	s.In, s.Out = r, s
	s.Poll = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.done <- Run(ctx, s.Config) }()
	t.Cleanup(func() { cancel(); _ = w.Close() })
	return s
}

// see waits until what was printed since the last match contains text, and
// returns what stands before it and it.
func (s *session) see(text string) string {
	s.t.Helper()
	limit := time.After(time.Minute)
	for {
		out := s.output()
		if i := strings.Index(out, text); i >= 0 {
			seen := out[:i+len(text)]
			s.mu.Lock()
			rest := s.text.String()[len(seen):]
			s.text.Reset()
			s.text.WriteString(rest)
			s.mu.Unlock()
			return seen
		}
		select {
		case <-s.grew:
		case err := <-s.done:
			s.t.Fatalf("dev ended with %v, and never printed %q but:\n%s", err, text, s.output())
		case <-limit:
			s.t.Fatalf("dev did not print %q but:\n%s", text, s.output())
		}
	}
}

func (s *session) say(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.typed, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// lead makes node i the leader in the eyes of all.
func (s *session) lead(i int) {
	s.t.Helper()
	file := filepath.Join(s.DataDir, "leader")
	if err := os.WriteFile(file+".new", []byte(nodeName(i)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		s.t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	s := begin(t, 3)
	table := s.see("More:")
	for i := range 3 {
		for _, want := range []string{nodeName(i), addr(s.AMQPPort, i), "http://" + addr(s.HTTPPort, i), s.logFile(i)} {
			if !strings.Contains(table, want) {
				t.Errorf("the table does not name %s:\n%s", want, table)
			}
		}
	}
	if want := s.commandLine(0); !strings.Contains(table, want) {
		t.Errorf("no command line to restart a node, %s, in:\n%s", want, table)
	}
	s.see("no leader, 3 of 3 nodes serve clients")
	s.lead(0)
	s.see("leader: node0 (pid ")

	s.say("kill 0")
	s.see("node0 (pid ")
	s.see("killed by signal")
	s.see(s.commandLine(0))
	s.lead(2)
	s.see("leader: node2 (pid ")
	s.say("nonsense")
	s.see("unknown command")
	s.say("kill 0")
	s.see("node0 does not run here")

	s.say("restart 0")
	s.see("node0 started, pid ")
	s.see("3 of 3 nodes serve clients")
	s.say("restart 1") // one that runs
	s.see("node1 started, pid ")
	s.see("3 of 3 nodes serve clients")
	s.say("status")
	s.see("node1 serves clients")
	s.see("leader: node2")

	s.say("quit")
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
	if err := s.checkPorts(); err != nil {
		t.Errorf("a node was left running: %v", err)
	}
}

func TestEndOfInputIsNotTheEnd(t *testing.T) {
	s := begin(t, 1)
	_ = s.typed.Close()
	s.see("1 of 1 nodes serve clients")
	s.lead(0)
	s.see("leader: node0")
	s.cancel()
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
}

func TestNodeThatFailsShowsItsLog(t *testing.T) {
	s := begin(t, 1, "--fail")
	s.see("ended with exit code 1")
	s.see("this node cannot start")
	s.say("quit")
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
}
