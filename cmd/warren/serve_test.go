package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"warren/cmd/warren/internal/settings"
	"warren/node"
)

// A standIn is a broker whose life the test decides.
type standIn struct {
	ready   chan struct{}
	failure chan error // ends Wait
	closing chan context.Context
	closed  chan error // the answer of Close
	once    sync.Once

	reloaded chan struct{}
}

func newStandIn() *standIn {
	return &standIn{
		ready: make(chan struct{}), failure: make(chan error, 1),
		closing: make(chan context.Context, 1), closed: make(chan error, 1),
		reloaded: make(chan struct{}, 1),
	}
}

func (s *standIn) AMQPAddr() string       { return "127.0.0.1:1" }
func (s *standIn) HTTPAddr() string       { return "127.0.0.1:2" }
func (s *standIn) Ready() <-chan struct{} { return s.ready }
func (s *standIn) Wait() error            { return <-s.failure }
func (s *standIn) Alive()                 {}

func (s *standIn) Reload() (node.Reloaded, error) {
	s.reloaded <- struct{}{}
	return node.Reloaded{}, nil
}

func (s *standIn) Close(ctx context.Context) error {
	s.closing <- ctx
	err := <-s.closed
	s.once.Do(func() { close(s.failure) })
	return err
}

func values(t *testing.T) settings.Values {
	return settings.Values{DataDir: t.TempDir(), NodeName: "n", ShutdownTimeout: 1 << 40}
}

// start runs serve with a stand-in; what serve returns comes from the channel.
func start(v settings.Values, open func(node.Config) (broker, error)) (signals chan os.Signal, done chan error) {
	signals, done = make(chan os.Signal, 2), make(chan error, 1)
	go func() { done <- serve(v, slog.New(slog.DiscardHandler), signals, open) }()
	return signals, done
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		t.Fatalf("error without exit code: %v", err)
	}
	return exit.code
}

func TestSignalStopsInOrder(t *testing.T) {
	b := newStandIn()
	signals, done := start(values(t), func(node.Config) (broker, error) { return b, nil })
	close(b.ready)
	signals <- syscall.SIGTERM
	ctx := <-b.closing
	if _, bounded := ctx.Deadline(); !bounded {
		t.Error("the stop is not bounded")
	}
	b.closed <- nil
	if code := exitCode(t, <-done); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
}

func TestHangupReloads(t *testing.T) {
	b := newStandIn()
	signals, done := start(values(t), func(node.Config) (broker, error) { return b, nil })
	signals <- syscall.SIGHUP
	<-b.reloaded
	signals <- syscall.SIGTERM
	<-b.closing
	b.closed <- nil
	if code := exitCode(t, <-done); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
}

func TestSecondSignalLeavesAtOnce(t *testing.T) {
	b := newStandIn()
	signals, done := start(values(t), func(node.Config) (broker, error) { return b, nil })
	signals <- syscall.SIGTERM
	<-b.closing // and Close does not return
	signals <- syscall.SIGINT
	if code := exitCode(t, <-done); code != exitSignal+int(syscall.SIGINT) {
		t.Errorf("exit code %d, want 130", code)
	}
	b.closed <- nil
}

func TestSignalsWhileOpening(t *testing.T) {
	b, opening := newStandIn(), make(chan struct{})
	open := func(node.Config) (broker, error) { <-opening; return b, nil }

	signals, done := start(values(t), open)
	signals <- syscall.SIGTERM
	close(opening)
	<-b.closing
	b.closed <- nil
	if code := exitCode(t, <-done); code != exitOK {
		t.Errorf("one signal: exit code %d, want %d", code, exitOK)
	}

	never := make(chan struct{})
	defer close(never)
	signals, done = start(values(t), func(node.Config) (broker, error) { <-never; return nil, errors.New("late") })
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM
	if code := exitCode(t, <-done); code != exitSignal+int(syscall.SIGTERM) {
		t.Errorf("two signals: exit code %d, want 143", code)
	}
}

func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	_, done := start(values(t), func(node.Config) (broker, error) { return nil, broken })
	if err := <-done; !errors.Is(err, broken) || exitCode(t, err) != exitFailure {
		t.Errorf("failed open: %v", err)
	}

	b := newStandIn()
	_, done = start(values(t), func(node.Config) (broker, error) { return b, nil })
	b.failure <- broken
	<-b.closing
	b.closed <- nil
	if err := <-done; !errors.Is(err, broken) || exitCode(t, err) != exitFailure {
		t.Errorf("node that failed: %v", err)
	}

	b = newStandIn()
	signals, done := start(values(t), func(node.Config) (broker, error) { return b, nil })
	signals <- syscall.SIGTERM
	<-b.closing
	b.closed <- broken
	if err := <-done; !errors.Is(err, broken) || exitCode(t, err) != exitFailure {
		t.Errorf("stop that failed: %v", err)
	}
}

func TestDataDirBelongsToOneProcess(t *testing.T) {
	v, b := values(t), newStandIn()
	opened := make(chan struct{})
	signals, done := start(v, func(node.Config) (broker, error) { close(opened); return b, nil })
	<-opened

	_, second := start(v, func(node.Config) (broker, error) {
		t.Error("a second node was opened on the same data directory")
		return nil, errors.New("opened twice")
	})
	err := <-second
	if exitCode(t, err) != exitFailure || !strings.Contains(err.Error(), "in use by another warren (process ") {
		t.Errorf("second node: %v", err)
	}

	signals <- syscall.SIGTERM
	<-b.closing
	b.closed <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	unlock, err := lockDataDir(v.DataDir)
	if err != nil {
		t.Fatalf("the directory is not free after the stop: %v", err)
	}
	unlock()
}

func TestSettingsReachTheNode(t *testing.T) {
	v := settings.Values{
		DataDir: "d", NodeName: "n", AMQPAddr: "a", HTTPAddr: "h", ClusterAddr: "c", ClusterAdvertise: "ca",
		AMQPSAddr: "as", HTTPSAddr: "hs", TLSCert: "tc", MetricsAddr: "ma",
		ClusterName: "cn", Join: []string{"j"}, Expect: 1, ClusterSecret: []string{"s"}, ClusterTLS: true, DefaultUser: "u", DefaultPass: "p",
		AnonymousUser: "a", AnonymousPass: "b", LoopbackUsers: []string{},
		DefaultVHost:   "v",
		MaxMessageSize: 2, FrameMax: 3, ChannelMax: 4, ChannelMaxPerNode: 14, ConnectionMax: 15, ConsumerMaxPerChannel: 16, Heartbeat: 5, HandshakeTimeout: 6,
		LogStore: "ls", HeartbeatTimeout: 7, ElectionTimeout: 8, NodeGrace: 9, SnapshotBytes: 10,
		MessageMemory: 11, SegmentBytes: 12,
		MemoryHighWatermark: settings.Watermark{Bytes: 13}, DiskFreeLimit: 14, DiskStallTimeout: 17,
	}
	log := slog.New(slog.DiscardHandler)
	cfg, err := nodeConfig(v, log)
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(cfg.DataDir) || filepath.Base(cfg.DataDir) != "d" {
		t.Errorf("data directory is %q", cfg.DataDir)
	}
	if cfg.LoopbackUsers == nil {
		t.Error("an empty list of loopback users became the default")
	}
	if cfg.Version == "" || cfg.Logger != log {
		t.Errorf("version %q, logger %v", cfg.Version, cfg.Logger)
	}
	missing := slices.DeleteFunc(missingFields(cfg), func(field string) bool {
		return field == "Settings" || field == "Stop" || field == "Reread" || field == "SetLogLevel" // what the command adds: the texts of all, and what changes them or stops
	})
	if len(missing) > 0 {
		t.Errorf("fields of node.Config that no setting reaches: %v", missing)
	}
}

func TestClusterSecretFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	v := settings.Values{ClusterSecret: []string{"unused"}, ClusterSecretFile: file}
	if _, err := clusterSecrets(v); err == nil {
		t.Error("a file that is not there was read")
	}
	for text, want := range map[string][]string{"one\n": {"one"}, "new\r\n\n old ": {"new", "old"}, " \n": nil} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := clusterSecrets(v)
		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
	}{
		{"--help", exitOK},
		{"version", exitOK},
		{"serve --help", exitOK},
		{"serve --channel-max 0", exitUsage},
		{"serve --expect 3", exitUsage},
		{"serve here", exitUsage},
		{"nonsense", exitUsage},
		{"dev --nodes 0", exitFailure},
		{"dev three", exitUsage},
		{"healthcheck --url http://127.0.0.1:0/health", exitFailure},
	} {
		if code := run(strings.Fields(tt.args)); code != tt.code {
			t.Errorf("warren %s: exit code %d, want %d", tt.args, code, tt.code)
		}
	}
}

func TestHealthURL(t *testing.T) {
	for in, want := range map[string]string{
		":15672": "http://127.0.0.1:15672/health", "0.0.0.0:1": "http://127.0.0.1:1/health",
		"[::]:1": "http://[::1]:1/health", "10.0.0.1:1": "http://10.0.0.1:1/health", "name:1": "http://name:1/health",
	} {
		if got := healthURL(in); got != want {
			t.Errorf("healthURL(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestCheckHealth(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("no leader\n"))
	}))
	defer server.Close()
	var out strings.Builder
	if err := checkHealth(t.Context(), server.URL, &out); err != nil || out.String() != "no leader\n" {
		t.Errorf("%v, printed %q", err, out.String())
	}
	status = http.StatusServiceUnavailable
	err := checkHealth(t.Context(), server.URL, &out)
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "no leader") {
		t.Errorf("unhealthy node: %v", err)
	}
}
