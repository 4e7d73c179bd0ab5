// Command warren is the broker: "warren serve" runs one node, "warren dev" a
// cluster of node processes on this machine.
//
// It reads settings, opens a node.Node and turns signals into an orderly stop. It
// holds nothing of the broker itself.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of the process.
const (
	exitOK      = 0
	exitFailure = 1   // what was asked for did not work
	exitUsage   = 2   // a setting or a flag is wrong: nothing was started
	exitSignal  = 128 // plus the signal's number: a second signal cut the stop short
)

// An exitError ends the process with a code of its own.
type exitError struct {
	code int
	err  error // nil when all was said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() { os.Exit(run(os.Args[1:])) }

// run runs the command line, prints its error and returns the exit code.
func run(args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{exitUsage, err} // cobra's own: an unknown command, a bad flag
	}
	if exit.err != nil {
		fmt.Fprintln(root.ErrOrStderr(), "warren:", exit.err)
	}
	if exit.code == exitUsage {
		fmt.Fprintln(root.ErrOrStderr(), `Try "warren --help", or "warren serve --help" for all settings.`)
	}
	return exit.code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "warren",
		Short:         "A clustered, replicated message broker for AMQP 0-9-1 clients",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 100"))
	root.AddCommand(serveCommand(), devCommand(), doctorCommand(), restoreCommand(), verifyCommand(), resetCommand(), healthcheckCommand(), versionCommand())
	return root
}
