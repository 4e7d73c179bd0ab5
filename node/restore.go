package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"warren/cluster"
	"warren/fsm"
	"warren/node/image"
	"warren/node/msgstore"
	"warren/node/replica"
)

// restoringFile stands in a data directory while a backup is being restored into it: a
// directory that holds half a cluster must not become a node.
const restoringFile = "restoring"

// RestoreConfig says what Restore restores, and where.
type RestoreConfig struct {
	File         io.Reader // a backup
	DataDir      string    // made when missing; has to be empty but for a lock
	LogStore     string    // as Config.LogStore
	SegmentBytes int64     // as Config.SegmentBytes
	// Progress is told how many bytes of a total were read, after each read. nil: nobody is.
	Progress func(done, total int64)
	Logger   *slog.Logger // default: slog.Default()
}

// Restored is what a backup held.
type Restored struct {
	Backup    image.Head
	ClusterID string // of the new cluster
	VHosts    int
	Queues    int
	Messages  int
}

// Restore makes a data directory of a backup. The node that is then started with it is a new
// cluster of one that has the state of the old one at the moment of the backup, as after a restart of
// all its nodes; others may join it. After an error the directory is not to be used: what is
// in it has to be removed.
func Restore(cfg RestoreConfig) (Restored, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	file, err := image.Open(cfg.File)
	if err != nil {
		return Restored{}, err
	}
	out := Restored{Backup: file.Head}
	marker := filepath.Join(cfg.DataDir, restoringFile)
	if err := beginRestore(cfg.DataDir, marker); err != nil {
		return out, err
	}
	id, err := newIdentity(cfg.DataDir, filepath.Join(cfg.DataDir, nodeIDFile))
	if err != nil {
		return out, err
	}
	if err := restoreState(cfg, file, id, &out); err != nil {
		return out, fmt.Errorf("%w (%s holds nothing of use now: empty it before you try again)", err, cfg.DataDir)
	}
	out.ClusterID, err = cluster.Seed{
		DataDir: filepath.Join(cfg.DataDir, clusterDir), Node: id, LogStore: cfg.LogStore, Term: file.Head.Term,
	}.Write()
	if err != nil {
		return out, err
	}
	return out, errors.Join(syncDir(cfg.DataDir), os.Remove(marker), syncDir(cfg.DataDir))
}

// beginRestore wants an empty directory, and marks it.
func beginRestore(dir, marker string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name != lockFile && name != "lost+found" {
			return fmt.Errorf("data directory %s is not empty (it holds %s): a backup is restored into an empty one", dir, name)
		}
	}
	f, err := os.OpenFile(marker, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(dir))
}

// checkRestored refuses a directory whose restore did not come to its end.
func checkRestored(dir string) error {
	marker := filepath.Join(dir, restoringFile)
	switch _, err := os.Stat(marker); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("data directory: %w", err)
	}
	return fmt.Errorf("a restore into %s did not come to its end (%s is there): empty the directory and restore again", dir, marker)
}

// restoreState fills the message store and leaves there the snapshot that the new cluster begins with.
func restoreState(cfg RestoreConfig, file *image.File, id string, out *Restored) (err error) {
	disk, err := msgstore.Open(msgstore.Config{
		Dir: filepath.Join(cfg.DataDir, messagesDir), SegmentBytes: cfg.SegmentBytes, Logger: cfg.Logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	r := replica.New(replica.Config{
		Disk: disk, MessageMemory: DefaultMessageMemory,
		Applied: func(*fsm.Output) {}, Restored: func(*fsm.Machine) {},
	})
	stream := io.Reader(file)
	if cfg.Progress != nil {
		stream = &counted{Reader: file, total: file.Head.Bytes, tell: cfg.Progress}
	}
	if _, err := r.Found(disk, stream, file.Head.Index, file.Head.Term, id); err != nil {
		return err
	}
	r.View(func(m *fsm.Machine) {
		t := m.Totals()
		out.VHosts, out.Queues, out.Messages = t.VHosts, t.Queues, t.Ready+t.Unacked+t.Parked+t.Delayed
	})
	return nil
}

// counted tells how much was read.
type counted struct {
	io.Reader
	done, total int64
	tell        func(done, total int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.done += int64(n)
	c.tell(c.done, c.total)
	return n, err
}
