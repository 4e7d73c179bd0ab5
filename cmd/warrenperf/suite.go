package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/suite"
)

func suiteCommand() *cobra.Command {
	var out output
	var targets, rows []string
	var file string
	var seconds, warmup, ceiling float64
	var verbose bool
	plan := suite.Plan{Runs: 1}
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Measure brokers side by side and print the table of ratios",
		Long: `Measure brokers side by side: each row of work on one broker after the other, in turn, as
often as --runs says. The table, in Markdown, has the medians, and the median, least and
greatest of the paired runs' ratios. The first target is compared with the others; goals
are for the second. Where a second run would tell nothing new (memory behind the load of
the other rows) there is one, and the table says so.

Rows:
` + rowList(),
		Example: `  warrenperf suite --target warren=amqp://n1,amqp://n2,amqp://n3 --target peer=amqp://p1,amqp://p2,amqp://p3 --runs 5 --json-file paired.json
  warrenperf suite --target warren=amqp://localhost --rows 16b,rpc --time 5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, t := range targets {
				target, err := suite.ParseTarget(t)
				if err != nil {
					return err
				}
				plan.Targets = append(plan.Targets, target)
			}
			var err error
			if plan.Rows, err = suite.Choose(rows); err != nil {
				return err
			}
			switch {
			case len(plan.Targets) == 0:
				return errors.New("no target is given: --target NAME=URI,URI")
			case plan.Runs < 1 || plan.Runs > 1000:
				return errors.New("--runs must be from 1 to 1000")
			case ceiling < 0:
				return errors.New("--ceiling must not be negative")
			case !(seconds > 0) || seconds > 1e6 || warmup < 0 || warmup > 1e6:
				return errors.New("--time must be more than 0, --warmup at least 0, both at most 1e6 seconds")
			}
			plan.Time = time.Duration(seconds * float64(time.Second))
			plan.Warmup = time.Duration(warmup * float64(time.Second))
			plan.Ceiling = ceiling * 1e6
			plan.Log = cmd.ErrOrStderr()
			if verbose {
				plan.Progress = cmd.ErrOrStderr()
			}
			result, err := suite.Run(cmd.Context(), plan)
			if file != "" {
				err = errors.Join(err, writeJSON(file, result))
			}
			return out.finish(cmd, result, true, err)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&targets, "target", nil, "`NAME=URI,URI` of a broker's nodes; may be given again")
	f.StringSliceVar(&rows, "rows", nil, "`ROW`s to measure, separated by commas; without it all")
	f.Float64VarP(&seconds, "time", "z", 5, "`SECONDS` of a run")
	f.Float64Var(&warmup, "warmup", 1, "`SECONDS` of load before each measurement")
	f.IntVar(&plan.Runs, "runs", 1, "measure each row `N` times on each target, in turn")
	f.Uint64Var(&plan.Messages, "messages", 200_000, "`N` messages of the backlog")
	f.DurationVar(&plan.Settle, "settle", 10*time.Second, "`DURATION` without load before memory is looked at")
	f.Float64Var(&ceiling, "ceiling", 0, "`MB/S` that Raft reaches without a broker (deploy/bench measures it), to compare the row 16k with")
	f.BoolVarP(&verbose, "verbose", "v", false, "print the progress of each run, a line a second")
	f.StringVar(&file, "json-file", "", "write the result to `FILE` as JSON, beside the table")
	f.BoolVar(&out.json, "json", false, "print the result as JSON")
	return cmd
}

func rowList() string {
	var b strings.Builder
	for _, r := range suite.Rows() {
		fmt.Fprintf(&b, "  %-12s%s\n", r.Name, r.About)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
