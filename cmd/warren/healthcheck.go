package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warren/internal/settings"
)

// healthcheckCommand is for containers: an image FROM scratch has no curl.
func healthcheckCommand() *cobra.Command {
	timeout := 5 * time.Second
	url := ""
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the node of this machine for its health; exit code 0 when it is well",
		Long: `Ask the node of this machine over HTTP whether it is well: exit code 0 when it says so,
1 when it does not, or does not answer.

The address is that of --http-addr, so the node's own variables or file are enough.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			values, err := settings.Load(cmd.Flags(), os.LookupEnv)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if url == "" {
				url = healthURL(values.HTTPAddr)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := checkHealth(ctx, url, cmd.OutOrStdout()); err != nil {
				return &exitError{exitFailure, err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "`URL` to ask in place of the one that --http-addr gives")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "`DURATION` to wait for an answer")
	settings.AddFlags(cmd.Flags())
	hideSettingsBut(cmd, "http-addr", settings.ConfigFlag)
	return cmd
}

// hideSettingsBut keeps the help of a command to the settings that it uses;
// the others are accepted, so that a node's whole command line may be.
func hideSettingsBut(cmd *cobra.Command, shown ...string) {
	for _, s := range settings.Table() {
		hidden := true
		for _, name := range shown {
			hidden = hidden && s.Flag != name
		}
		cmd.Flags().Lookup(s.Flag).Hidden = hidden
	}
}

// healthURL is where a node that listens on addr is asked. An address of all
// interfaces is asked over loopback.
func healthURL(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil { // settings have checked it
		host, port = "", strings.TrimPrefix(addr, ":")
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port) + "/health"
}

// checkHealth returns nil when url answers 200, and prints what it says.
func checkHealth(ctx context.Context, url string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	said := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, said)
	}
	_, err = fmt.Fprintln(out, said)
	return err
}
