package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
)

// policyKinds are policies and operator policies: their words in commands and in the API.
var policyKinds = []struct{ verb, text, path string }{
	{"policy", "policy", "policies"},
	{"operator_policy", "operator policy override", "operator-policies"},
}

func (o *options) policyCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, k := range policyKinds {
		all = append(all, o.setPolicyCommand(k.verb, k.text, k.path), o.clearPolicyCommand(k.verb, k.text, k.path))
	}
	return all
}

func (o *options) setPolicyCommand(verb, text, where string) *cobra.Command {
	var priority, applyTo string
	cmd := &cobra.Command{
		Use:   "set_" + verb + " NAME PATTERN DEFINITION",
		Short: "Set or change a " + text,
		Long:  "Set or change a " + text + ". PATTERN is a regular expression, DEFINITION a JSON object.",
		Args:  cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			var definition map[string]any
			if err := json.Unmarshal([]byte(args[2]), &definition); err != nil {
				return &exitError{code: exitData, err: fmt.Errorf("could not parse JSON document: %w", err)}
			}
			number, err := strconv.ParseInt(priority, 10, 64)
			if err != nil {
				return &exitError{code: exitData, err: fmt.Errorf("%s priority must be a number", priority)}
			}
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Setting %s \"%s\" for pattern \"%s\" to \"%s\" with priority \"%s\" for vhost \"%s\" ...", text, args[0], args[1], args[2], priority, o.vhost)
			err = o.put(ctx, path(where, o.vhost, args[0]), map[string]any{
				"pattern": args[1], "definition": json.RawMessage(args[2]), "priority": number, "apply-to": applyTo,
			})
			return nameMissing(err, "Virtual host '%s' does not exist", o.vhost)
		},
	}
	cmd.Flags().StringVar(&priority, "priority", "0", "`N`: of several policies that fit, the one with the highest counts")
	cmd.Flags().StringVar(&applyTo, "apply-to", "all", "`WHAT` it applies to: queues, classic_queues, quorum_queues, streams, exchanges, all")
	return cmd
}

func (o *options) clearPolicyCommand(verb, text, where string) *cobra.Command {
	return &cobra.Command{
		Use:   "clear_" + verb + " NAME",
		Short: "Remove a " + text,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := o.deadline(cmd.Context())
			defer cancel()
			o.banner("Clearing %s \"%s\" on vhost \"%s\" ...", text, args[0], o.vhost)
			_, _, err := o.do(ctx, http.MethodDelete, path(where, o.vhost, args[0]), nil)
			return nameMissing(err, "there is no %s '%s' in vhost '%s'", text, args[0], o.vhost)
		},
	}
}

func policyList(name, text, where string) list {
	return list{
		name:   name,
		short:  "List " + text,
		path:   func(vhost string) string { return path(where, vhost) },
		banner: func(o *options) { o.banner("Listing %s for vhost \"%s\" ...", text, o.vhost) },
		columns: []column{
			col("vhost"), col("name"), col("pattern"), col("apply-to"), {name: "definition", paths: []string{"definition"}, document: true}, col("priority"),
		},
		defaults: []string{"vhost", "name", "pattern", "apply-to", "definition", "priority"},
	}
}

var (
	listPolicies         = policyList("list_policies", "policies", "policies")
	listOperatorPolicies = policyList("list_operator_policies", "operator policy overrides", "operator-policies")
)
