package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

var listFeatureFlags = list{
	name:     "list_feature_flags",
	short:    "List what a node of another version may not know, and whether it is in use",
	path:     func(string) string { return path("feature-flags") },
	banner:   func(o *options) { o.banner("Listing feature flags ...") },
	columns:  []column{col("name"), col("state"), col("stability"), col("provided_by"), col("desc"), col("doc_url")},
	defaults: []string{"name", "state"},
}

var deprecatedColumns = []column{col("name"), col("deprecation_phase"), col("provided_by"), col("desc"), col("doc_url")}

func (o *options) featureCommands() []*cobra.Command {
	return []*cobra.Command{o.enableFeatureCommand(), o.deprecatedCommand()}
}

func (o *options) enableFeatureCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "enable_feature_flag FLAG",
		Short: "Enable a feature flag; all is for those that can be",
		Long: `Enable a feature flag, or with "all" those that can be. Here flags are enabled by themselves as soon as all nodes know them: there is
nothing to do, and scripts that call this after an upgrade work.`,
		Args: cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if args[0] == "all" {
				o.banner("Enabling all feature flags ...")
				return o.get(ctx, path("feature-flags"), new([]any)) // the cluster answers: all that can be are
			}
			o.banner("Enabling feature flag \"%s\" ...", args[0])
			return o.tell(ctx, http.MethodPut, path("feature-flags", args[0], "enable"), object{})
		}),
	}
	cmd.Flags().Bool("opt-in", false, "also experimental ones; there are none")
	cmd.Flags().Bool("experimental", false, "as --opt-in")
	return cmd
}

func (o *options) deprecatedCommand() *cobra.Command {
	var used bool
	l := list{name: "list_deprecated_features", columns: deprecatedColumns, defaults: []string{"name", "deprecation_phase"}}
	cmd := &cobra.Command{Use: l.name + " [COLUMN...]", Short: "List what will go in a later version", ValidArgs: l.names()}
	cmd.Flags().BoolVar(&used, "used", false, "only what is in use")
	cmd.RunE = o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
		columns, err := l.choose(args)
		if err != nil {
			return err
		}
		o.banner("Listing deprecated features ...")
		segments := []string{"deprecated-features"}
		if used {
			segments = append(segments, "used")
		}
		return o.list(ctx, &l, path(segments...), columns)
	})
	return cmd
}
