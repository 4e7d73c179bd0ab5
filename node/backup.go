package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"warren/fsm/command"
	"warren/node/image"
	"warren/node/management"
)

// backupTries is how often a backup tries to take its snapshot: Raft takes none for the
// moment in which a change of the members is under way.
const backupTries = 5

// Backup takes an image of the whole cluster at one entry of the log: a snapshot of this node, once
// the node has applied all that was confirmed anywhere before the call. It is read from disk
// as it is sent, so its size costs no memory; while it is open no file of messages goes that it
// needs. One at a time: another one is refused with management.ErrBackupRunning.
func (b broker) Backup(ctx context.Context) (file io.ReadCloser, size int64, err error) {
	if !b.backup.CompareAndSwap(false, true) {
		return nil, 0, management.ErrBackupRunning
	}
	defer func() {
		if err != nil {
			b.backup.Store(false)
		}
	}()
	if err := b.snapshotOfNow(ctx); err != nil {
		return nil, 0, err
	}
	meta, rc, err := b.disk.Newest()
	if err != nil {
		return nil, 0, fmt.Errorf("backup: %w", err)
	}
	head := image.Head{
		ClusterName: b.cfg.ClusterName, ClusterID: b.cluster.Stats().ClusterID,
		Node: b.cfg.NodeName, Version: b.cfg.Version,
		Index: meta.Index, Term: meta.Term, Taken: time.Now().UTC(), Bytes: meta.Size,
	}
	r, size, err := image.New(head, rc)
	if err != nil {
		return nil, 0, errors.Join(err, rc.Close())
	}
	b.log.Info("backup begins", "index", meta.Index, "bytes", size)
	return &backupFile{Reader: r, rc: rc, running: &b.backup}, size, nil
}

// snapshotOfNow takes a snapshot that holds all that was confirmed before. A Tick that went
// through the log is behind all of it.
func (b broker) snapshotOfNow(ctx context.Context) (err error) {
	for range backupTries {
		if _, err := b.Propose(ctx, &command.Tick{}); err != nil {
			return err
		}
		done := make(chan error, 1)
		b.spawn(func() { done <- b.cluster.Snapshot() })
		select {
		case err = <-done:
		case <-ctx.Done():
			return fmt.Errorf("the snapshot takes too long: %w", ctx.Err())
		}
		if err == nil {
			return nil
		}
	}
	return err
}

// backupFile is an image that is being sent.
type backupFile struct {
	io.Reader
	rc      io.Closer
	running *atomic.Bool
}

// Close lets go of what the image needs.
func (f *backupFile) Close() error {
	defer f.running.Store(false)
	return f.rc.Close()
}
