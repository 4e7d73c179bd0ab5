package main

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// suggestFor is how long a shell waits for suggestions.
	suggestFor = 2 * time.Second
	// suggestMax is how many there are at most: a page.
	suggestMax = "500"
)

// A nameSource is where the names of a kind of thing come from: a list of the API whose items have them in a field, or
// words that are always the same.
type nameSource struct {
	path  func(o *options) string
	field string
	words []string
}

func namesAt(field string, segments ...string) nameSource {
	return nameSource{path: func(*options) string { return path(segments...) }, field: field}
}

func namesInVHost(kind string) nameSource {
	return nameSource{path: func(o *options) string { return path(kind, o.vhost) }, field: "name"}
}

var (
	someUser       = namesAt("name", "users")
	someVHost      = namesAt("name", "vhosts")
	someNode       = namesAt("name", "nodes")
	someConnection = namesAt("name", "connections")
	someTrace      = namesInVHost("trace")
	someLogLevel   = nameSource{words: []string{"debug", "info", "warning", "error"}}
	someFlag       = namesAt("name", "feature-flags")
	someQueue      = namesInVHost("queues")
	someExchange   = namesInVHost("exchanges")
	somePolicy     = namesInVHost("policies")
	someOperator   = namesInVHost("operator-policies")
	someTag        = nameSource{words: []string{"administrator", "monitoring", "policymaker", "management", "impersonator"}}
	someLimit      = nameSource{words: []string{"max-connections", "max-channels", "all"}}
	someProtocol   = nameSource{words: []string{"amqp", "amqp/ssl", "clustering", "http", "http/prometheus", "https"}}
	someComponent  = nameSource{words: []string{"federation-upstream", "federation-upstream-set", "shovel"}}
)

// argumentNames are what the arguments of commands name, one after the other.
var argumentNames = map[string][]nameSource{
	"purge_queue": {someQueue}, "delete_queue": {someQueue}, "browse": {someQueue}, "move": {someQueue}, "quorum_status": {someQueue},
	"route":            {someExchange},
	"close_connection": {someConnection}, "close_all_user_connections": {someUser},
	"forget_cluster_node": {someNode}, "transfer_leadership": {someNode}, "add_member": {someNode},
	"drain": {someNode}, "revive": {someNode}, "reload": {someNode}, "await_online_quorum_plus_one": {someNode},
	"delete_user": {someUser}, "change_password": {someUser}, "clear_password": {someUser}, "authenticate_user": {someUser},
	"set_user_tags": {someUser, someTag, someTag, someTag}, "set_permissions": {someUser}, "clear_permissions": {someUser},
	"set_topic_permissions": {someUser, someExchange}, "clear_topic_permissions": {someUser, someExchange},
	"list_user_permissions": {someUser}, "list_user_topic_permissions": {someUser},
	"set_user_limits": {someUser}, "clear_user_limits": {someUser, someLimit},
	"delete_vhost": {someVHost}, "update_vhost_metadata": {someVHost}, "set_vhost_tags": {someVHost},
	"enable_vhost_deletion_protection": {someVHost}, "disable_vhost_deletion_protection": {someVHost},
	"set_policy": {somePolicy}, "clear_policy": {somePolicy}, "set_operator_policy": {someOperator}, "clear_operator_policy": {someOperator},
	"show_trace": {someTrace}, "stop_trace": {someTrace}, "delete_trace": {someTrace}, "set_log_level": {someLogLevel, someNode},
	"set_parameter": {someComponent}, "clear_parameter": {someComponent},
	"enable_feature_flag": {someFlag}, "check_protocol_listener": {someProtocol},
}

// flagNames are what flags of commands name.
var flagNames = map[string]nameSource{
	"vhost": someVHost, "to-queue": someQueue, "to-exchange": someExchange, "exchange": someExchange, "queue": someQueue,
	"default-queue-type": {words: queueTypes}, "redrive": {words: []string{"first", "last"}},
	"apply-to": {words: []string{"all", "queues", "exchanges", "classic_queues", "quorum_queues"}},
	"unit":     {words: []string{"days", "weeks", "months", "years"}},
}

// takesFiles are the commands whose argument is a file.
var takesFiles = []string{"backup", "export_definitions", "import_definitions"}

// completeNames has the shell complete what commands and flags name.
func (o *options) completeNames(root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("vhost", o.suggestFlag(someVHost)) // it is there
	for _, cmd := range root.Commands() {
		switch kinds := argumentNames[cmd.Name()]; {
		case kinds != nil:
			cmd.ValidArgsFunction = o.suggestArguments(kinds)
		case cmd.ValidArgsFunction != nil || slices.Contains(takesFiles, cmd.Name()):
		case len(cmd.ValidArgs) > 0:
			cmd.ValidArgsFunction = suggestColumns(cmd.ValidArgs)
			cmd.ValidArgs = nil // both are not allowed
		default:
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		for name, kind := range flagNames {
			if cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, o.suggestFlag(kind)) // it is there
			}
		}
	}
}

func (o *options) suggestArguments(kinds []nameSource) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(kinds) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return o.suggest(cmd.Context(), kinds[len(args)], toComplete), cobra.ShellCompDirectiveNoFileComp
	}
}

func (o *options) suggestFlag(kind nameSource) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return o.suggest(cmd.Context(), kind, toComplete), cobra.ShellCompDirectiveNoFileComp
	}
}

// suggestColumns suggests columns that are not named yet.
func suggestColumns(columns []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		var some []string
		for _, c := range columns {
			if strings.HasPrefix(c, toComplete) && !slices.Contains(args, c) {
				some = append(some, c)
			}
		}
		return some, cobra.ShellCompDirectiveNoFileComp
	}
}

// suggest returns names that begin with what is typed already. Where no node answers there are none: a shell has no
// place for errors.
func (o *options) suggest(ctx context.Context, kind nameSource, prefix string) []string {
	if kind.path == nil {
		return startingWith(kind.words, prefix)
	}
	if o.check() != nil {
		return nil
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, suggestFor)
	defer cancel()
	query := url.Values{"columns": {kind.field}, "page": {"1"}, "page_size": {suggestMax}, "name": {prefix}}
	var page struct{ Items []map[string]any }
	if o.get(ctx, kind.path(o)+"?"+query.Encode(), &page) != nil {
		return nil
	}
	var names []string
	for _, item := range page.Items {
		if name, ok := item[kind.field].(string); ok {
			names = append(names, name)
		}
	}
	return startingWith(names, prefix)
}

func startingWith(words []string, prefix string) []string {
	var some []string
	for _, w := range words {
		if w != "" && strings.HasPrefix(w, prefix) {
			some = append(some, w)
		}
	}
	return some
}

// names lists a field of all items of a list.
func (o *options) names(ctx context.Context, path, field string) (all []string, err error) {
	err = o.each(ctx, path+"?columns="+field, func(item map[string]any) error {
		if name, ok := item[field].(string); ok {
			all = append(all, name)
		}
		return nil
	})
	return all, err
}
