package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warren/internal/settings"
	"warren/node"
)

func resetCommand() *cobra.Command {
	var alone, remove bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Set the data of a stopped node aside, so that it joins its cluster as a new one",
		Long: `Set the data of a stopped node aside, so that the node, started again with the same command line, joins its
cluster as a new one and gets all data from the others. It is the way out when a file is damaged.

Nothing is deleted: the data goes into a directory old-… beside the new, which may be removed when the node has
caught up; --delete removes it at once, where there is no room for both. A node that knows of no other one is refused, as
its data may be all that there is; --alone does it all the same.

Reset one node at a time: the next only when 'warrenctl cluster_status' shows that the one before votes again, and its
old id was forgotten ('warrenctl forget_cluster_node ID').

Exit codes: 0 when it was done, 1 when not, 2 when a setting is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			values, err := settings.Load(cmd.Flags(), os.LookupEnv)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if err := reset(cmd.OutOrStdout(), values.DataDir, alone, remove); err != nil {
				return &exitError{exitFailure, fmt.Errorf("reset: %w", err)}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&alone, "alone", false, "also when no other node is known")
	cmd.Flags().BoolVar(&remove, "delete", false, "delete the data in place of setting it aside")
	settings.AddFlags(cmd.Flags())
	hideSettingsBut(cmd, "data-dir")
	return cmd
}

func reset(w io.Writer, dir string, alone, remove bool) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	unlock, err := lockDataDir(dir)
	if err != nil {
		return err
	}
	defer unlock()
	id, single := node.Describe(dir)
	if single && !alone {
		return fmt.Errorf("%s knows of no other node: its data may be all that there is of the cluster; "+
			"'warren restore' a backup into an empty directory instead, or say --alone", dir)
	}
	aside := filepath.Join(dir, "old-"+time.Now().UTC().Format("20060102T150405.000"))
	if err := node.SetAside(dir, aside); err != nil {
		return err
	}
	if remove {
		if err := os.RemoveAll(aside); err != nil {
			return err
		}
		fmt.Fprintf(w, "The data in %s is deleted.\n", dir)
	} else {
		fmt.Fprintf(w, "The data is in %s now. Remove it when the node has caught up.\n", aside)
	}
	fmt.Fprintln(w, "Start the node again with the same command line: it joins as a new one.")
	if id != "" {
		_, err = fmt.Fprintf(w, "When it votes, forget its former self: warrenctl forget_cluster_node %s\n", id)
	}
	return err
}
