package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warren/internal/doctor"
	"warren/cmd/warren/internal/settings"
	"warren/node"
)

func doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with this machine or with the settings of a node, and what to do about it",
		Long: `Look at this machine and at the settings of a node, before it is started or while it runs: limits of the system, the data
directory, the disk and how long it takes to sync, memory, clocks, ports, names, the cluster secret, certificates, and settings that do not go
together. Give it the settings that 'warren serve' gets, and run it as the node's user.

It starts no node. In the data directory, or around it, it writes a small file and removes it, to measure the disk.

Exit codes: 0 when nothing fails (there may be warnings), 1 when something does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var findings []doctor.Finding
			values, err := settings.Load(cmd.Flags(), os.LookupEnv)
			if err == nil {
				values.DataDir, err = filepath.Abs(values.DataDir)
			}
			if err != nil {
				findings = []doctor.Finding{{Check: "settings", Level: doctor.Fail, Text: err.Error(), Next: "correct it: docs/settings.md tells all settings"}}
			} else {
				findings = doctor.Examine(cmd.Context(), thisMachine(values), values)
			}
			show := doctor.Print
			if asJSON {
				show = doctor.PrintJSON
			}
			if err := show(cmd.OutOrStdout(), findings); err != nil {
				return &exitError{exitFailure, err}
			}
			if doctor.Count(findings, doctor.Fail) > 0 {
				return &exitError{code: exitFailure}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: findings with check, level (ok, warn, fail), text and next; failed; warnings")
	settings.AddFlags(cmd.Flags())
	return cmd
}

// thisMachine is the machine, with what only a node knows how to look at.
func thisMachine(v settings.Values) doctor.System {
	sys := doctor.ThisMachine()
	sys.DiskFree = func(dir string) (int64, error) { return node.DiskFree(doctor.Existing(dir)) }
	sys.Memory = node.MemoryAvailable
	sys.Running = dataDirLocked
	sys.Damaged = func(dir string) (all []error) {
		node.VerifyIdentity(dir, func(f node.Finding) {
			if f.Err != nil {
				all = append(all, fmt.Errorf("%s: %w", f.Path, f.Err))
			}
		})
		return all
	}
	sys.Secrets = func() ([]string, error) { return clusterSecrets(v) }
	sys.ErrSecret = node.ErrSecret
	sys.Knock = func(ctx context.Context, addr string) error {
		secrets, err := clusterSecrets(v)
		if err != nil {
			return err
		}
		var t *node.TLS
		if c := tlsConfig(v); v.ClusterTLS {
			t = &c
		}
		return node.Knock(ctx, addr, secrets, t)
	}
	sys.CertExpiry = func() (time.Time, error) { return node.CertificateExpiry(tlsConfig(v)) }
	sys.Unknown = func() []string { return settings.UnknownVariables(os.Environ()) }
	return sys
}

// dataDirLocked reports whether a process has the data directory. See lockDataDir.
func dataDirLocked(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // gives the lock back
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
