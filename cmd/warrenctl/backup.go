package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

const (
	// sumSize is the length of the SHA-256 that a backup ends with.
	sumSize = sha256.Size
)

func (o *options) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write an image of the whole cluster, messages included, to a file; - is the standard output",
		Long: `Write an image of the whole cluster at one moment to a file, while it runs: users, policies, all
definitions, and all messages. Whatever was confirmed before the command began is in it. The file is whole or
not there: it gets its name when all has come and its checksum is right. - is the standard output.

'warren restore FILE' starts a new cluster from it. It holds hashes of passwords: keep it as you keep those.
--timeout is how long the node may send nothing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.backup(cmd.Context(), args[0], cmd.ErrOrStderr())
		},
	}
}

func (o *options) backup(ctx context.Context, name string, progress io.Writer) error {
	if o.quiet || o.silent {
		progress = io.Discard
	}
	if name == "-" {
		return o.fetchBackup(ctx, o.out, progress)
	}
	o.banner("Writing a backup of the cluster to %q ...", name)
	// Made anew, readable for its owner alone: one that is there may be readable for others, or written by another backup.
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.part")
	if err != nil {
		return dataError("could not write to file %s: %w", name, errors.Unwrap(err))
	}
	part := f.Name()
	err = o.fetchBackup(ctx, f, progress)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, name)
	}
	if err == nil {
		return syncDir(filepath.Dir(name))
	}
	return errors.Join(asWriteError(name, err), os.Remove(part))
}

// asWriteError gives errors of the file system the exit code of what they are about.
func asWriteError(name string, err error) error {
	var e *exitError
	if errors.As(err, &e) {
		return err
	}
	return dataError("could not write to file %s: %w", name, err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return dataError("%w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return dataError("%w", err)
	}
	return nil
}

// fetchBackup has a node write the image to w, and checks it.
func (o *options) fetchBackup(ctx context.Context, w, progress io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.Duration(o.timeout * float64(time.Second))
	silence := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, node, err := o.openStream(ctx, path("backup"))
	if err != nil {
		return o.streamError(ctx, node, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	in := &receiver{from: resp.Body, heard: func() { silence.Reset(patience) }, progress: progress, size: resp.ContentLength, sum: sha256.New(), next: time.Now().Add(progressEvery)}
	var failed *writeError
	switch _, err := io.Copy(&marked{w}, in); {
	case errors.As(err, &failed):
		return failed.err
	case err != nil:
		return o.streamError(ctx, node, err)
	}
	if in.size >= 0 && in.got != in.size || !in.right() {
		return &exitError{code: exitSoftware, err: fmt.Errorf("node %s: the backup came damaged: %d bytes of %d, or its checksum is wrong", node, in.got, in.size)}
	}
	fmt.Fprintf(progress, "%d bytes, checksum right.\n", in.got)
	return nil
}

var errSilent = errors.New("silent")

// streamError is the error of an answer that did not come to its end.
func (o *options) streamError(ctx context.Context, node string, err error) error {
	var e *exitError
	var n *net.OpError
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		return &exitError{code: exitTempFail, err: fmt.Errorf("node %s has sent nothing for %v seconds", node, o.timeout), hint: "--timeout SECONDS waits longer."}
	case errors.Is(ctx.Err(), context.Canceled):
		return &exitError{code: exitSoftware, err: errors.New("interrupted")}
	case errors.As(err, &e):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &n):
		return &exitError{code: exitUnavailable, err: fmt.Errorf("node %s ended the backup before its end: %w", node, err), hint: "Its log says why. Nothing was kept; ask again, or another node."}
	}
	return &exitError{code: exitSoftware, err: fmt.Errorf("node %s: %w", node, plain(err))}
}

// receiver reads the answer, tells how far it is, and computes the checksum of all but
// the last bytes, which are it.
type receiver struct {
	from     io.Reader
	heard    func()
	progress io.Writer
	size     int64 // -1: not known
	got      int64
	next     time.Time
	sum      hash.Hash
	tail     []byte // the last bytes that came
}

func (r *receiver) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.heard()
	r.got += int64(n)
	r.tail = append(r.tail, p[:n]...)
	if more := len(r.tail) - sumSize; more > 0 {
		r.sum.Write(r.tail[:more])
		r.tail = append(r.tail[:0], r.tail[more:]...)
	}
	if now := time.Now(); now.After(r.next) {
		r.next = now.Add(progressEvery)
		r.report()
	}
	return n, err
}

func (r *receiver) report() {
	if r.size > 0 {
		fmt.Fprintf(r.progress, "%3d %%, %d of %d MiB\n", r.got*100/r.size, r.got>>20, r.size>>20)
		return
	}
	fmt.Fprintf(r.progress, "%d MiB\n", r.got>>20)
}

func (r *receiver) right() bool { return bytes.Equal(r.tail, r.sum.Sum(nil)) }

// marked tells errors of writing from those of reading.
type marked struct{ w io.Writer }

type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

func (m *marked) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	if err != nil {
		return n, &writeError{err}
	}
	return n, nil
}
