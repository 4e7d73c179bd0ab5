package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warren/internal/settings"
	"warren/node"
)

func verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read all files of a stopped node and say which are damaged",
		Long: `Read all files of a stopped node, compare their checksums and what belongs together, and print a line for each:
"ok" or "damaged", the path, and what is wrong. It reads as much as there is of log and messages.

Exit codes: 0 when all is sound, 1 when not, or when a node runs on the directory, 2 when a setting is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			values, err := settings.Load(cmd.Flags(), os.LookupEnv)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if err := verify(cmd.OutOrStdout(), values.DataDir); err != nil {
				return &exitError{exitFailure, fmt.Errorf("verify: %w", err)}
			}
			return nil
		},
	}
	settings.AddFlags(cmd.Flags())
	hideSettingsBut(cmd, "data-dir")
	return cmd
}

func verify(w io.Writer, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	unlock, err := lockDataDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	bad, bytes, began := 0, int64(0), time.Now()
	node.Verify(dir, func(f node.Finding) {
		bytes += f.Bytes
		if f.Err != nil {
			bad++
			fmt.Fprintf(w, "damaged  %s: %v\n", f.Path, f.Err)
			return
		}
		fmt.Fprintf(w, "ok       %s (%d bytes)\n", f.Path, f.Bytes)
	})
	if bad == 0 {
		fmt.Fprintf(w, "All is sound: %d MiB read in %v.\n", bytes>>20, time.Since(began).Round(time.Millisecond))
		return nil
	}
	return fmt.Errorf("%d files of %s cannot be used\n%s", bad, dir, wayOut(dir))
}

// wayOut tells what to do with a damaged data directory.
func wayOut(dir string) string {
	return "What to do: if this node is one of a cluster of which a majority runs, 'warren reset --data-dir " + dir + "' sets its data aside;\n" +
		"start it again with the same command line, and it joins as a new node and gets everything from the others.\n" +
		"If it was the whole cluster, 'warren restore' a backup. 'warren verify --data-dir " + dir + "' lists all that is damaged."
}
