package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"warren/cmd/warren/internal/settings"
	"warren/node"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node, until SIGTERM or SIGINT",
		Long: `Run one node, until SIGTERM or SIGINT. With no settings it is a working single node.

Every setting may also be given by its variable (in brackets) or in the file that
--config names; a flag wins over a variable, a variable over the file.

Exit codes: 0 after a clean stop, 1 when the node could not start, failed or did not
stop in time, 2 when a setting is wrong, 128 and the signal's number when a second
signal cut the stop short.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reader := settings.NewReader(cmd.Flags(), os.LookupEnv)
			values, _, err := reader.Read()
			if err != nil {
				return &exitError{exitUsage, err}
			}
			level := new(slog.LevelVar)
			open := func(cfg node.Config) (broker, error) {
				cfg.Settings = reader.Shown()
				cfg.Reread = rereader(reader, level)
				cfg.SetLogLevel = func(name string) error { return setLevel(level, name) }
				return openNode(cfg)
			}
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
			defer signal.Stop(signals)
			return serve(values, newLogger(cmd.ErrOrStderr(), values, level), signals, open)
		},
	}
	settings.AddFlags(cmd.Flags())
	return cmd
}

// A broker is what serve needs of a *node.Node.
type broker interface {
	AMQPAddr() string
	HTTPAddr() string
	Ready() <-chan struct{}
	Wait() error
	Alive() // returns when its parts answer; one that is stuck never does
	Reload() (node.Reloaded, error)
	Close(ctx context.Context) error
}

func openNode(cfg node.Config) (broker, error) {
	n, err := node.Open(cfg)
	if err != nil {
		return nil, err // not a broker that holds a nil *node.Node
	}
	return n, nil
}

// serve runs one node until a signal comes or the node fails.
func serve(v settings.Values, log *slog.Logger, signals <-chan os.Signal, open func(node.Config) (broker, error)) error {
	for _, name := range settings.UnknownVariables(os.Environ()) {
		log.Warn("variable is no setting of this version", "name", name)
	}
	cfg, err := nodeConfig(v, log)
	if err != nil {
		return &exitError{exitFailure, err}
	}
	// Before anything of the node's is read or written.
	unlock, err := lockDataDir(cfg.DataDir)
	if err != nil {
		return &exitError{exitFailure, err}
	}
	defer unlock()

	stops, reload := sortSignals(signals)
	cfg.Stop = sync.OnceFunc(func() { stops <- syscall.SIGTERM }) // once: a second one cuts the stop short
	log.Info("starting", "version", cfg.Version, "data_dir", cfg.DataDir, "pid", os.Getpid())
	// Opening replays the log, which may take long: a first signal must not be
	// lost in it, a second must be able to cut it short.
	opened := make(chan opening, 1)
	go func() {
		b, err := open(cfg)
		opened <- opening{b, err}
	}()
	var stop os.Signal
	var o opening
	select {
	case o = <-opened:
	case stop = <-stops:
		log.Info("signal received, stopping as soon as the node is open", "signal", stop.String())
		select {
		case o = <-opened:
		case s := <-stops:
			return cutShort(log, s)
		}
	}
	if o.err != nil {
		return &exitError{exitFailure, withWayOut(cfg.DataDir, o.err)}
	}
	return untilStopped(v, log, stops, reload, stop, o.broker)
}

// sortSignals parts SIGHUP, which reads settings and certificates again, from the signals that stop.
func sortSignals(signals <-chan os.Signal) (stops chan os.Signal, reload <-chan struct{}) {
	s, r := make(chan os.Signal, 2), make(chan struct{}, 1)
	go func() { // as long as the process
		for sig := range signals {
			if sig != syscall.SIGHUP {
				s <- sig
				continue
			}
			select {
			case r <- struct{}{}:
			default: // one is due already
			}
		}
	}()
	return s, r
}

type opening struct {
	broker broker
	err    error
}

// untilStopped waits for a signal, unless there was one, or for the node to
// fail, and closes the node.
func untilStopped(v settings.Values, log *slog.Logger, signals <-chan os.Signal, reload <-chan struct{}, stop os.Signal, b broker) error {
	failed := make(chan error, 1)
	go func() { failed <- b.Wait() }()
	tellSystemd(log, sdOpened)
	ended := make(chan struct{})
	defer close(ended)
	go watchdog(ended, log, b.Alive)

	var failure error
	ready := b.Ready()
	for stop == nil && failure == nil {
		select {
		case <-ready:
			log.Info("ready", "amqp", b.AMQPAddr(), "http", b.HTTPAddr())
			ready = nil
			tellSystemd(log, sdServing)
		case <-reload:
			_, _ = b.Reload() // the node logs what came of it
		case stop = <-signals:
			log.Info("signal received, stopping", "signal", stop.String(), "at_most", v.ShutdownTimeout)
		case failure = <-failed:
			if failure == nil {
				failure = errors.New("node stopped by itself")
			}
			failure = withWayOut(v.DataDir, failure)
			log.Error("node failed, stopping", "err", failure)
		}
	}

	tellSystemd(log, daemon.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), v.ShutdownTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- b.Close(ctx) }()
	select {
	case err := <-closed:
		return stopped(log, failure, err)
	case s := <-signals:
		return cutShort(log, s)
	case <-time.After(v.ShutdownTimeout + closeGrace):
		return stopped(log, failure, errors.New("the node did not close in time: a disk that stands still, most likely; what was confirmed is safe"))
	}
}

// closeGrace is how long after its time is up a node may take to close in order.
const closeGrace = 3 * time.Second

// withWayOut adds what to do to an error of damaged files.
func withWayOut(dir string, err error) error {
	if !node.Damaged(err) {
		return err
	}
	return fmt.Errorf("%w\n%s", err, wayOut(dir))
}

// stopped is the outcome of an orderly stop: of what made the node stop, and
// of stopping.
func stopped(log *slog.Logger, failure, closing error) error {
	if closing != nil {
		closing = fmt.Errorf("stop: %w", closing)
	}
	if err := errors.Join(failure, closing); err != nil {
		return &exitError{exitFailure, err}
	}
	log.Info("stopped")
	return nil
}

// cutShort is the outcome of a second signal. Nothing that was confirmed is lost
// by it: that is in the log already.
func cutShort(log *slog.Logger, s os.Signal) error {
	log.Warn("second signal, leaving at once", "signal", s.String())
	code := exitFailure
	if n, ok := s.(syscall.Signal); ok {
		code = exitSignal + int(n)
	}
	return &exitError{code: code}
}

func nodeConfig(v settings.Values, log *slog.Logger) (node.Config, error) {
	dir, err := filepath.Abs(v.DataDir)
	if err != nil {
		return node.Config{}, fmt.Errorf("data directory: %w", err)
	}
	secrets, err := clusterSecrets(v)
	if err != nil {
		return node.Config{}, err
	}
	if len(secrets) == 0 && len(v.Join) > 0 {
		log.Warn("no cluster secret is set: whoever reaches the cluster's port takes part; see --cluster-secret", "cluster_addr", v.ClusterAddr)
	}
	return node.Config{
		DataDir:  dir,
		NodeName: v.NodeName,
		Version:  versionString(),

		AMQPAddr:         v.AMQPAddr,
		HTTPAddr:         v.HTTPAddr,
		ClusterAddr:      v.ClusterAddr,
		ClusterAdvertise: v.ClusterAdvertise,
		MetricsAddr:      v.MetricsAddr,

		AMQPSAddr: v.AMQPSAddr,
		HTTPSAddr: v.HTTPSAddr,
		TLS:       tlsConfig(v),

		ClusterName: v.ClusterName,
		Join:        v.Join,
		Expect:      v.Expect,

		ClusterSecrets: secrets,
		ClusterTLS:     v.ClusterTLS,

		DefaultUser:   v.DefaultUser,
		DefaultVHost:  v.DefaultVHost,
		DefaultPass:   v.DefaultPass,
		AnonymousUser: v.AnonymousUser,
		AnonymousPass: v.AnonymousPass,
		LoopbackUsers: v.LoopbackUsers,

		FrameMax:          v.FrameMax,
		ChannelMax:        v.ChannelMax,
		ChannelMaxPerNode: v.ChannelMaxPerNode,
		ConnectionMax:     v.ConnectionMax,
		ConsumerMax:       v.ConsumerMaxPerChannel,
		Heartbeat:         v.Heartbeat,
		HandshakeTimeout:  v.HandshakeTimeout,
		MaxMessageSize:    v.MaxMessageSize,

		LogStore:         v.LogStore,
		HeartbeatTimeout: v.HeartbeatTimeout,
		ElectionTimeout:  v.ElectionTimeout,
		NodeGrace:        v.NodeGrace,
		SnapshotBytes:    v.SnapshotBytes,
		MessageMemory:    v.MessageMemory,
		SegmentBytes:     v.SegmentBytes,

		MemoryWatermark: node.Watermark(v.MemoryHighWatermark),
		DiskFreeLimit:   diskFreeLimit(v.DiskFreeLimit),
		DiskStall:       diskStall(v.DiskStallTimeout),

		Logger: log,
	}, nil
}

func tlsConfig(v settings.Values) node.TLS {
	c := node.TLS{
		Cert: v.TLSCert, Key: v.TLSKey, CA: v.TLSCA,
		VerifyPeer: v.TLSVerify == settings.VerifyPeer, FailIfNoPeerCert: v.TLSFailIfNoPeerCert,
		MinVersion: tls.VersionTLS12,
		LoginFrom:  v.SSLCertLoginFrom, SANType: v.SSLCertLoginSANType, SANIndex: v.SSLCertLoginSANIndex,
	}
	if v.TLSMinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	return c
}

// clusterSecrets are those of the setting, or the lines of the file.
func clusterSecrets(v settings.Values) ([]string, error) {
	if v.ClusterSecretFile == "" {
		return v.ClusterSecret, nil
	}
	b, err := os.ReadFile(v.ClusterSecretFile)
	if err != nil {
		return nil, fmt.Errorf("cluster secret: %w", err)
	}
	var secrets []string
	for line := range strings.Lines(string(b)) {
		if s := strings.TrimSpace(line); s != "" {
			secrets = append(secrets, s)
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("cluster secret: %s is empty", v.ClusterSecretFile)
	}
	return secrets, nil
}

// diskFreeLimit is the setting as package node takes it, where 0 means the default.
func diskFreeLimit(bytes int64) int64 {
	if bytes == 0 {
		return -1
	}
	return bytes
}

// diskStall is the setting as package node takes it, where 0 means the default.
func diskStall(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func newLogger(w io.Writer, v settings.Values, level *slog.LevelVar) *slog.Logger {
	level.Set(v.LogLevel)
	opts := &slog.HandlerOptions{Level: level}
	if v.LogFormat == settings.LogJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
