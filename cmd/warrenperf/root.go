package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/load"
)

// Exit codes.
const (
	exitOK    = 0
	exitRun   = 1  // the run could not be made, messages were lost, or a client failed
	exitUsage = 64 // sysexits.h EX_USAGE
)

// A runError is an error behind the reading of the command line.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// Run carries out one command line and returns the exit code. Summaries go to
// stdout, progress and errors to stderr.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "Error: %v\n", err)
	if errors.As(err, new(*runError)) {
		return exitRun
	}
	fmt.Fprintln(stderr, "See 'warrenperf --help'.")
	return exitUsage
}

// A summary is what a run ends with.
type summary interface {
	Print(w io.Writer) error
	Failed() error
}

// output says how a command tells its outcome.
type output struct {
	json  bool
	quiet bool
}

func (o *output) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.json, "json", false, "print the summary as JSON")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print no progress lines")
}

// progress is where progress lines go, nil for nowhere.
func (o *output) progress(cmd *cobra.Command) io.Writer {
	if o.quiet {
		return nil
	}
	return cmd.ErrOrStderr()
}

// finish prints the summary of a run, which is there although the run had an
// error when it was interrupted, and makes one error of all.
func (o *output) finish(cmd *cobra.Command, s summary, there bool, err error) error {
	if there {
		if printed := o.print(cmd.OutOrStdout(), s); printed != nil {
			err = errors.Join(err, printed)
		}
		err = errors.Join(err, s.Failed())
	}
	if err == nil || errors.As(err, new(*load.OptionError)) {
		return err
	}
	return &runError{err}
}

func (o *output) print(w io.Writer, s summary) error {
	if !o.json {
		return s.Print(w)
	}
	return encode(w, s)
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeJSON writes a file, in place of one that is there.
func writeJSON(name string, v any) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(encode(f, v), f.Close())
}
