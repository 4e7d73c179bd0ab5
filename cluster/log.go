package cluster

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLog hands hashicorp/raft's log to slog. Its info is our debug: it tells of
// every step of every replication.
type raftLog struct {
	to   *slog.Logger
	args []any
}

func newRaftLog(l *slog.Logger) hclog.Logger { return &raftLog{to: l.With("part", "raft")} }

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelDebug
	default:
		return slog.LevelDebug - 4
	}
}

// ordinary are messages that hashicorp/raft thinks errors or warnings, many a
// second, while a node is away or a commit notice overtakes an entry. What an
// operator must know of it, this package says itself.
var ordinary = map[string]bool{
	"failed to heartbeat to":                                   true,
	"failed to appendEntries to":                               true,
	"failed to pipeline appendEntries":                         true,
	"failed to start pipeline replication to":                  true,
	"failed to make requestVote RPC":                           true,
	"failed to decode incoming command":                        true,
	"failed to flush response":                                 true,
	"failed to get previous log":                               true,
	"appendEntries rejected, sending older logs":               true,
	"rejecting pre-vote request since we have a leader":        true,
	"rejecting vote request since we have a leader":            true,
	"no known peers, aborting election":                        true,
	"peer has newer term, stopping replication":                true,
	"unable to get address for server, using fallback address": true,
}

func (l *raftLog) Log(level hclog.Level, msg string, args ...any) {
	at := slogLevel(level)
	if ordinary[msg] {
		at = slog.LevelDebug
	}
	if level == hclog.Off || !l.to.Enabled(context.Background(), at) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = f[1:]
		}
	}
	l.to.Log(context.Background(), at, msg, args...)
}

func (l *raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLog) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLog) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLog) enabled(level hclog.Level) bool {
	return l.to.Enabled(context.Background(), slogLevel(level))
}
func (l *raftLog) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l *raftLog) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l *raftLog) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l *raftLog) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l *raftLog) IsError() bool { return l.enabled(hclog.Error) }

func (l *raftLog) ImpliedArgs() []any { return l.args }
func (l *raftLog) With(args ...any) hclog.Logger {
	return &raftLog{to: l.to.With(args...), args: append(l.args[:len(l.args):len(l.args)], args...)}
}
func (l *raftLog) Name() string                                          { return "raft" }
func (l *raftLog) Named(string) hclog.Logger                             { return l }
func (l *raftLog) ResetNamed(string) hclog.Logger                        { return l }
func (l *raftLog) SetLevel(hclog.Level)                                  {}
func (l *raftLog) GetLevel() hclog.Level                                 { return hclog.NoLevel }
func (l *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
func (l *raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}

// gossipLog hands memberlist's lines, which begin with a level in brackets, to
// slog. What it calls an error is often a peer that went away, so everything
// goes one level down.
type gossipLog struct{ to *slog.Logger }

func newGossipLog(l *slog.Logger) *log.Logger {
	return log.New(&gossipLog{to: l.With("part", "gossip")}, "", 0)
}

func (l *gossipLog) Write(line []byte) (int, error) {
	msg := bytes.TrimSpace(line)
	level := slog.LevelDebug
	for prefix, at := range map[string]slog.Level{
		"[ERR]": slog.LevelWarn, "[WARN]": slog.LevelInfo, "[INFO]": slog.LevelDebug, "[DEBUG]": slog.LevelDebug - 4,
	} {
		if rest, ok := bytes.CutPrefix(msg, []byte(prefix)); ok {
			msg, level = bytes.TrimSpace(rest), at
		}
	}
	msg = bytes.TrimPrefix(msg, []byte("memberlist: "))
	l.to.Log(context.Background(), level, string(msg))
	return len(line), nil
}
