package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"warren/cmd/warrenperf/internal/client"
	"warren/cmd/warrenperf/internal/growth"
)

// growthFlags are the command line of growth.
type growthFlags struct {
	uris, axes      []string
	dir, about      string
	seconds, warmup float64
	nodes, most     int
	verbose         bool
}

func growthCommand() *cobra.Command {
	var g growthFlags
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "Measure how cost grows, and write tables and plots",
		Long: `Measure throughput and latency over the size of messages, the number of queues, of
connections and of nodes, and the backlog that stands in a queue. The points go into
growth.json in the directory --out, beside those of earlier runs; tables (growth.md) and plots
(growth-AXIS.svg) are made of all that are there. With no axis nothing is measured, and
tables and plots are made anew.

Axes:
` + axisList(),
		Example: `  warrenperf growth --uris amqp://n1,amqp://n2,amqp://n3 --axes size,queues,connections,backlog --time 3
  warrenperf growth --uris amqp://localhost --axes nodes --nodes 1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			setup, axes, err := g.parse()
			if err != nil {
				return err
			}
			setup.Log = cmd.ErrOrStderr()
			if g.verbose {
				setup.Progress = cmd.ErrOrStderr()
			}
			if err := g.measure(cmd.Context(), setup, axes); err != nil {
				return &runError{err}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&g.uris, "uris", []string{"amqp://localhost"}, "`URI`s of the nodes, separated by commas")
	f.StringSliceVar(&g.axes, "axes", nil, "`AXES` to measure, separated by commas")
	f.StringVar(&g.dir, "out", "docs/performance", "`DIR` of the points, tables and plots")
	f.StringVar(&g.about, "about", "", "`TEXT` about the machine, for the head of the tables")
	f.Float64VarP(&g.seconds, "time", "z", 3, "`SECONDS` of each of a point's two runs")
	f.Float64Var(&g.warmup, "warmup", 1, "`SECONDS` of load before each of them")
	f.IntVar(&g.nodes, "nodes", 0, "the cluster has `N` nodes, for the axis nodes")
	f.IntVar(&g.most, "max", 0, "leave out steps above `N`; 0: none")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "print the progress of each run, a line a second")
	return cmd
}

// parse returns what the flags say, or what is wrong with them.
func (g *growthFlags) parse() (setup growth.Setup, axes []growth.Axis, err error) {
	if !(g.seconds > 0) || g.seconds > 1e6 || g.warmup < 0 || g.warmup > 1e6 {
		return setup, nil, errors.New("--time must be more than 0, --warmup at least 0, both at most 1e6 seconds")
	}
	setup.Time = time.Duration(g.seconds * float64(time.Second))
	setup.Warmup = time.Duration(g.warmup * float64(time.Second))
	for _, u := range g.uris {
		e, err := client.ParseURI(u)
		if err != nil {
			return setup, nil, fmt.Errorf("--uris: %w", err)
		}
		setup.URIs = append(setup.URIs, e)
	}
	for _, name := range g.axes {
		a, err := growth.Find(name)
		if err != nil {
			return setup, nil, err
		}
		axes = append(axes, a)
	}
	if slices.Contains(g.axes, "nodes") && g.nodes < 1 {
		return setup, nil, errors.New("--axes nodes measures one cluster: say with --nodes how large it is")
	}
	return setup, axes, nil
}

// measure measures the axes and writes all files after each point.
func (g *growthFlags) measure(ctx context.Context, setup growth.Setup, axes []growth.Axis) error {
	result, err := growth.Load(g.dir)
	if err != nil {
		return err
	}
	if g.about != "" {
		result.About = g.about
	}
	failed := 0
	for _, a := range axes {
		steps := a.Choose(g.most)
		if a.Name == "nodes" {
			steps = []int{g.nodes}
		}
		err := a.Measure(ctx, setup, steps, func(p growth.Point) error {
			if p.Error != "" {
				failed++
			}
			result.Put(p)
			return result.Save(g.dir)
		})
		if err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d points failed: see %s", failed, g.dir)
	}
	return result.Save(g.dir)
}

func axisList() string {
	var b strings.Builder
	for _, a := range growth.Axes() {
		fmt.Fprintf(&b, "  %-12s%s\n", a.Name, a.Title)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
