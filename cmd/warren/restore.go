package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warren/internal/settings"
	"warren/node"
)

// progressEvery is the time between two lines of progress.
const progressEvery = 5 * time.Second

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory of a backup, from which a new cluster starts",
		Long: `Make a data directory of a backup that 'warrenctl backup' has written; - is the standard input.

The directory has to be empty. The node that is started with it is a new cluster with all that the backup holds:
users, policies, queues, messages. What belonged to connections is gone, as after a restart of all nodes.
Others join it as they would any cluster, with empty data directories: --join, and no matter what --expect.

A file that is cut off or changed is refused. Exit codes: 0 when all is restored, 1 when not, 2 when a setting is wrong.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := settings.Load(cmd.Flags(), os.LookupEnv)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if err := restore(cmd, values, args[0]); err != nil {
				return &exitError{exitFailure, fmt.Errorf("restore: %w", err)}
			}
			return nil
		},
	}
	settings.AddFlags(cmd.Flags())
	hideSettingsBut(cmd, "data-dir", "log-store", "segment-bytes")
	return cmd
}

func restore(cmd *cobra.Command, v settings.Values, name string) (err error) {
	in, err := openBackup(cmd, name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read from
	unlock, err := lockDataDir(v.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	errs := cmd.ErrOrStderr()
	next := time.Now().Add(progressEvery)
	r, err := node.Restore(node.RestoreConfig{
		File: in, DataDir: v.DataDir, LogStore: v.LogStore, SegmentBytes: v.SegmentBytes,
		Logger: slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Progress: func(done, total int64) {
			if now := time.Now(); now.After(next) && total > 0 {
				next = now.Add(progressEvery)
				fmt.Fprintf(errs, "%3d %%, %d of %d MiB\n", done*100/total, done>>20, total>>20)
			}
		},
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), `Restored into %s: %d virtual hosts, %d queues, %d messages,
of entry %d of cluster %q, taken on node %s at %s.
Start it with 'warren serve --data-dir %s'. It is cluster %s; empty nodes may join it.
`, v.DataDir, r.VHosts, r.Queues, r.Messages, r.Backup.Index, r.Backup.ClusterName, r.Backup.Node, r.Backup.Taken.Format(time.RFC3339), v.DataDir, r.ClusterID)
	return err
}

func openBackup(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("file %s does not exist", name)
	}
	return f, err
}
