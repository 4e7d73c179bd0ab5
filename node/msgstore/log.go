package msgstore

import (
	"bytes"
	"log/slog"
)

// raftLog takes the lines that Raft's snapshot files log.
type raftLog struct{ log *slog.Logger }

// Write logs one line. Only what is wrong is of interest. A temporary snapshot is one
// that is being written.
func (l raftLog) Write(b []byte) (int, error) {
	line := string(bytes.TrimSpace(b))
	if bytes.Contains(b, []byte("[WARN]")) && !bytes.Contains(b, []byte("found temporary")) || bytes.Contains(b, []byte("[ERROR]")) {
		l.log.Warn("snapshot files", "raft", line)
	} else {
		l.log.Debug("snapshot files", "raft", line)
	}
	return len(b), nil
}
