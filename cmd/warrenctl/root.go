package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes, from sysexits.h as rabbitmqctl's.
const (
	exitOK          = 0
	exitUsage       = 64 // a command, flag or column that is not known
	exitData        = 65 // what the command names is not there, or the broker refused
	exitNoUser      = 67 // the user that the command names is not there
	exitUnavailable = 69 // no node answers, or a check of its health fails
	exitSoftware    = 70 // anything else
	exitTempFail    = 75 // out of time
	exitNoPerm      = 77 // user name or password is wrong
)

// exitError is an error with its exit code, and what the operator can do about it.
type exitError struct {
	code   int
	err    error
	hint   string
	status int // of the HTTP answer that is the error; 0: none
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func dataError(format string, args ...any) error {
	return &exitError{code: exitData, err: fmt.Errorf(format, args...)}
}

// version is set by the linker (see the Makefile).
var version string

// options are the flags that all commands have.
type options struct {
	nodes    []string
	user     string
	password string
	vhost    string
	timeout  float64 // seconds
	quiet    bool    // no banner
	silent   bool    // no banner and no header
	noHeader bool
	format   string
	out      io.Writer
	errs     io.Writer // where progress goes
}

// Run carries out one command line and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := &options{out: stdout}
	return o.execute(ctx, args, os.Stdin, stdout, stderr)
}

func (o *options) execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o.errs = stderr
	root := o.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var e *exitError
	if !errors.As(err, &e) {
		// cobra's own errors are about arguments and flags.
		e = &exitError{code: exitUsage, err: err, hint: "See 'warrenctl --help'."}
	}
	fmt.Fprintf(stderr, "Error: %v\n", e)
	if e.hint != "" {
		fmt.Fprintln(stderr, e.hint)
	}
	return e.code
}

func (o *options) root() *cobra.Command {
	root := &cobra.Command{
		Use:     "warrenctl",
		Short:   "Look at a Warren cluster and operate it",
		Version: cmp.Or(version, "devel"),
		Long: `Look at a Warren cluster and operate it, over the HTTP API of any of its nodes.

Commands, columns and output are those of rabbitmqctl where both have them.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return o.check() },
	}
	f := root.PersistentFlags()
	f.StringSliceVarP(&o.nodes, "node", "n", nil,
		"`URL` of a node's HTTP API, or host:port; several are tried in turn (WARRENCTL_NODES or WARREN_NODES; default "+defaultNode+")")
	f.StringVar(&o.user, "user", "", "`NAME` to log in with (WARRENCTL_USER; default guest)")
	f.StringVar(&o.password, "password", "", "`PASSWORD` to log in with (WARRENCTL_PASSWORD, which other users cannot see; default guest)")
	f.StringVarP(&o.vhost, "vhost", "p", "/", "`VHOST` to look at")
	f.Float64VarP(&o.timeout, "timeout", "t", 60, "`SECONDS` to wait for an answer")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no banner")
	f.BoolVarP(&o.silent, "silent", "s", false, "print no banner and no table header")
	f.BoolVar(&o.noHeader, "no-table-headers", false, "print no table header; csv has one all the same, as rabbitmqctl's")
	f.StringVar(&o.format, "formatter", "", "`FORMAT` of the output: "+strings.Join(formats, ", "))
	_ = root.RegisterFlagCompletionFunc("formatter", o.suggestFlag(nameSource{words: formats}))
	for _, l := range lists() {
		root.AddCommand(o.listCommand(l))
	}
	root.AddCommand(
		o.listQueuesCommand(),
		o.clusterStatusCommand(), o.statusCommand(), o.transferCommand(), o.pingCommand(), o.awaitCommand(),
		o.purgeCommand(), o.cancelDelayedCommand(), o.deleteQueueCommand(),
		o.browseCommand(), o.moveCommand(), o.routeCommand(), o.backupCommand(), o.setLogLevelCommand(),
	)
	root.AddCommand(o.maintenanceCommands()...)
	root.AddCommand(o.policyCommands()...)
	root.AddCommand(o.parameterCommands()...)
	root.AddCommand(o.shovelCommands()...)
	root.AddCommand(o.traceCommands()...)
	root.AddCommand(o.messageTraceCommands()...)
	root.AddCommand(o.userCommands()...)
	root.AddCommand(o.permissionCommands()...)
	root.AddCommand(o.vhostCommands()...)
	root.AddCommand(o.limitCommands()...)
	root.AddCommand(o.connectionCommands()...)
	root.AddCommand(o.definitionCommands()...)
	root.AddCommand(o.checkCommands()...)
	root.AddCommand(o.diagnosticCommands()...)
	root.AddCommand(o.featureCommands()...)
	root.AddCommand(o.lifeCommands()...)
	root.AddCommand(o.adviceCommands()...)
	o.completeNames(root)
	return root
}

// check completes the options from the environment and refuses what cannot be.
func (o *options) check() error {
	if len(o.nodes) == 0 {
		list := cmp.Or(os.Getenv("WARRENCTL_NODES"), os.Getenv("WARREN_NODES"), defaultNode)
		o.nodes = strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	}
	o.user = cmp.Or(o.user, os.Getenv("WARRENCTL_USER"), "guest")
	o.password = cmp.Or(o.password, os.Getenv("WARRENCTL_PASSWORD"), "guest")
	if o.format != "" && !slices.Contains(formats, o.format) {
		return usageError("formatter %q is not known: use one of %s", o.format, strings.Join(formats, ", "))
	}
	if !(o.timeout > 0) || o.timeout > maxTimeout {
		return usageError("timeout must be more than 0 seconds and at most %d, not %v", maxTimeout, o.timeout)
	}
	for i, n := range o.nodes {
		u, err := nodeURL(n)
		if err != nil {
			return usageError("node %q: %w", n, err)
		}
		o.nodes[i] = u
	}
	if len(o.nodes) == 0 {
		return usageError("no node is named")
	}
	return nil
}

// maxTimeout is a year, in seconds.
const maxTimeout = 365 * 24 * 3600

func (o *options) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(o.timeout*float64(time.Second)))
}

// banner prints what is about to be done, for people.
func (o *options) banner(format string, args ...any) {
	if !o.quiet && !o.silent && !o.isJSON() && o.format != formatCSV {
		fmt.Fprintf(o.out, format+"\n", args...)
	}
}
