package management

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// ErrBackupRunning means that the node is sending a backup already.
var ErrBackupRunning = errors.New("a backup is being taken from this node: wait for its end, or ask another node")

// RabbitMQ has no backup of messages over HTTP.
func (s *server) backupRoutes() []route {
	return []route{handle(http.MethodGet, "backup", (*call).backup)}
}

const (
	backupChunk = 256 << 10 // bytes of one write
	// backupStall is how long a client may leave a write waiting: the files that its
	// backup needs take room as long as it does.
	backupStall = time.Minute
	// backupBegins bounds the wait for the snapshot.
	backupBegins = 10 * time.Minute
)

// backup sends an image of the cluster. What goes wrong in the middle ends the connection,
// short of the length that was announced.
func (c *call) backup() error {
	if c.r.Method != http.MethodGet { // as HEAD would take a snapshot for nothing
		c.w.Header().Set("Allow", http.MethodGet)
		return &failure{http.StatusMethodNotAllowed, "method_not_allowed", "Method Not Allowed"}
	}
	ctx, cancel := c.longer(backupBegins)
	defer cancel()
	file, size, err := c.cfg.Broker.Backup(ctx)
	switch {
	case errors.Is(err, ErrBackupRunning):
		return &failure{http.StatusConflict, "conflict", err.Error()}
	case err != nil:
		return errUnavailable(err.Error())
	}
	c.w.Header().Set("Content-Type", "application/octet-stream")
	c.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	c.w.Header().Set("Cache-Control", "no-store")
	began := time.Now()
	to := &patientWriter{w: c.w, control: http.NewResponseController(c.w)}
	n, err := io.CopyBuffer(to, file, make([]byte, backupChunk))
	err = errors.Join(err, file.Close(), to.until(time.Time{}))
	if err != nil {
		c.log.Error("backup was not sent to its end", "user", c.user, "remote", c.r.RemoteAddr, "sent", n, "bytes", size, "err", err)
		return nil // the connection ends short of its length: the client sees that
	}
	c.log.Info("backup sent", "user", c.user, "remote", c.r.RemoteAddr, "bytes", size, "took", time.Since(began))
	return nil
}

// patientWriter sends to a client that takes all in its own time, as long as it takes something.
type patientWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.until(time.Now().Add(backupStall)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// until sets the end of the next write, the zero time for none.
func (p *patientWriter) until(t time.Time) error {
	if err := p.control.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
