package main

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// A column is a name that can be asked for and where its value stands in what
// the API answers: the path of a field, or several of which the first that is
// there counts.
type column struct {
	name     string
	paths    []string
	constant any  // the value where paths is empty
	document bool // the value is shown as a JSON document
	atoms    bool // the value is a list of words
}

// col is a column; its value is the field of the same name unless paths are given.
func col(name string, paths ...string) column {
	if len(paths) == 0 {
		paths = []string{name}
	}
	return column{name: name, paths: paths}
}

// list is a command that prints a table.
type list struct {
	name, short string
	path        func(vhost string) string
	inVHost     func(vhost string) string // instead of path, when a vhost is named; nil: path
	ofVHost     bool                      // path answers for all vhosts: those of others than -p are left out
	banner      func(o *options)          // nil: none
	columns     []column
	defaults    []string
}

func lists() []list {
	return []list{
		listDelayed,
		listExchanges, listBindings, listConsumers, listConnections, listChannels, listVHosts,
		listPolicies, listOperatorPolicies, listParameters, listGlobalParameters, shovelStatus, listTraces,
		listUsers, listPermissions, listTopicPermissions, listFeatureFlags,
	}
}

func (l *list) names() []string { return columnNames(l.columns) }

func (o *options) listCommand(l list) *cobra.Command {
	return &cobra.Command{
		Use:   l.name + " [COLUMN...]",
		Short: l.short,
		Long: l.short + ".\n\nColumns: " + strings.Join(l.names(), ", ") +
			".\nWithout any: " + strings.Join(l.defaults, ", ") + ".",
		ValidArgs: l.names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			columns, err := l.choose(args)
			if err != nil {
				return err
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			l.banner(o)
			from := l.path
			if l.inVHost != nil && cmd.Flags().Changed("vhost") {
				from = l.inVHost
			}
			return o.list(ctx, &l, from(o.vhost), columns)
		},
	}
}

// list prints a table of what stands at a path of the API: the columns that are asked for, of one item after the other,
// as they come.
func (o *options) list(ctx context.Context, l *list, from string, columns []column) error {
	asked := columns
	if l.ofVHost {
		if err := o.hasVHost(ctx, o.vhost); err != nil {
			return noVHost(err, o.vhost)
		}
		asked = append(slices.Clip(columns), col("vhost"))
	}
	w := o.rows(columnNames(columns))
	err := o.each(ctx, from+"?columns="+url.QueryEscape(fields(asked)), func(item map[string]any) error {
		if l.ofVHost && item["vhost"] != o.vhost {
			return nil
		}
		return w.row(values(columns, item))
	})
	if err != nil {
		return nameMissing(err, "Virtual host '%s' does not exist", o.vhost)
	}
	return w.end()
}

// choose returns the columns of the arguments, which may be separated by commas
// as well as by spaces.
func (l *list) choose(args []string) ([]column, error) {
	names := strings.FieldsFunc(strings.Join(args, ","), func(r rune) bool { return r == ',' || r == ' ' })
	if len(names) == 0 {
		names = l.defaults
	}
	var columns []column
	var unknown []string
	for _, name := range names {
		i := slices.IndexFunc(l.columns, func(c column) bool { return c.name == name })
		if i < 0 {
			unknown = append(unknown, name)
		} else {
			columns = append(columns, l.columns[i])
		}
	}
	if len(unknown) > 0 {
		return nil, usageError("%s has no column %s. Columns: %s", l.name, strings.Join(unknown, ", "), strings.Join(l.names(), ", "))
	}
	return columns, nil
}

// fields lists the fields that columns need, for the API's parameter.
func fields(columns []column) string {
	var all []string
	for _, c := range columns {
		for _, p := range c.paths {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	if len(all) == 0 {
		all = []string{"vhost"} // any: no columns at all would mean all of them
	}
	return strings.Join(all, ",")
}

func columnNames(columns []column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// values is the row of an item.
func values(columns []column, item map[string]any) []any {
	row := make([]any, len(columns))
	for i := range columns {
		row[i] = columns[i].value(item)
	}
	return row
}

func fill(columns []column, items []map[string]any) *table {
	t := &table{columns: columnNames(columns), rows: make([][]any, len(items))}
	for i, item := range items {
		t.rows[i] = values(columns, item)
	}
	return t
}

func (c *column) value(item map[string]any) any {
	if len(c.paths) == 0 {
		return c.constant
	}
	for _, p := range c.paths {
		var v any = item
		for name := range strings.SplitSeq(p, ".") {
			o, _ := v.(map[string]any)
			v = o[name]
		}
		if v != nil && c.document {
			b, _ := json.Marshal(v) // it came from JSON
			return string(b)
		}
		if list, ok := v.([]any); ok && c.atoms {
			return atoms(list)
		}
		if v != nil {
			return v
		}
	}
	return nil
}
