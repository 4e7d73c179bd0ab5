package management

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// RabbitMQ refuses parameters of components that no plugin has made known. Those of shovels and of
// federation are known here and checked as the plugins check them, so that definitions of a
// RabbitMQ with them come in, and out again, as they are.
var components = map[string]func(name string, value any) []string{
	"shovel":                  shovelFaults,
	"federation-upstream":     upstreamFaults,
	"federation-upstream-set": upstreamSetFaults,
}

// parameterFaults returns what is wrong with the value of a parameter, in RabbitMQ's words.
func parameterFaults(component, name string, raw json.RawMessage) []string {
	check := components[component]
	if check == nil {
		return []string{fmt.Sprintf("component %s not found", component)}
	}
	var value any
	if err := item(raw, "parameter", &value); err != nil {
		return []string{err.Error()}
	}
	return check(name, value)
}

// A rule is what a key of a parameter has to be. check returns what is wrong with its value, "" for nothing.
type rule struct {
	key    string
	check  func(key string, value any) string
	needed bool
}

// keyed checks an object by rules. What is found later stands before it, and what no rule knows first of all,
// as in RabbitMQ.
func keyed(name string, value any, rules []rule) []string {
	o, ok := value.(map[string]any)
	if !ok {
		if list, isList := value.([]any); !isList || len(list) > 0 { // Erlang writes [] for {}
			return []string{fmt.Sprintf("%s not a list %s", name, erlangTerm(value))}
		}
	}
	rest := maps.Clone(o)
	var faults []string
	for _, r := range rules {
		v, there := o[r.key]
		delete(rest, r.key)
		fault := ""
		switch {
		case there:
			fault = r.check(r.key, v)
		case r.needed:
			fault = fmt.Sprintf("Key %q not found in %s", r.key, name)
		}
		if fault != "" {
			faults = append(faults, fault)
		}
	}
	if len(rest) > 0 {
		faults = append(faults, fmt.Sprintf("Unrecognised terms %s in %s", erlangFields(rest), name))
	}
	slices.Reverse(faults)
	return faults
}

func isNumber(key string, v any) string {
	if _, ok := v.(json.Number); ok {
		return ""
	}
	return fmt.Sprintf("%s should be a number, actually was %s", key, erlangTerm(v))
}

func isText(key string, v any) string {
	if _, ok := v.(string); ok {
		return ""
	}
	return fmt.Sprintf("%s should be binary, actually was %s", key, erlangTerm(v))
}

func isBool(key string, v any) string {
	if _, ok := v.(bool); ok {
		return ""
	}
	return fmt.Sprintf("%s should be boolean, actually was %s", key, erlangTerm(v))
}

func isQueueName(key string, v any) string {
	if s, ok := v.(string); ok && len(s) > maxShortString {
		return fmt.Sprintf("%s should be less than 255 bytes, actually was %d", key, len(s))
	}
	return isText(key, v)
}

func isObject(key string, v any) string {
	if _, ok := v.(map[string]any); ok {
		return ""
	}
	if list, ok := v.([]any); ok && len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("%s not a list %s", key, erlangTerm(v))
}

func isOneOf(words ...string) func(string, any) string {
	return func(key string, v any) string {
		s, ok := v.(string)
		if !ok {
			return isText(key, v)
		}
		if slices.Contains(words, s) {
			return ""
		}
		list := make([]any, len(words))
		for i := range words {
			list[i] = words[i]
		}
		return fmt.Sprintf("%s should be one of %s, actually was %s", key, erlangTerm(list), erlangTerm(s))
	}
}

// isURI takes a URI of AMQP, or a list of some.
func isURI(key string, v any) string {
	switch v := v.(type) {
	case string:
		u, err := url.Parse(v)
		switch {
		case err != nil:
			return fmt.Sprintf("\"%s\" not a valid URI: %s", v, erlangTerm(strings.TrimPrefix(err.Error(), "parse ")))
		case u.Scheme != "amqp" && u.Scheme != "amqps":
			return fmt.Sprintf("\"%s\" not a valid URI: {unexpected_uri_scheme,%q}", v, u.Scheme)
		}
	case []any:
		for _, one := range v {
			if fault := isURI(key, one); fault != "" {
				return fault
			}
		}
	default:
		return fmt.Sprintf("%s should be list, actually was %s", key, erlangTerm(v))
	}
	return ""
}

// isDeleteAfter takes a number of messages or one of two words.
func isDeleteAfter(key string, v any) string {
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil && i >= 0 {
			return ""
		}
	}
	if v == "never" || v == "queue-length" {
		return ""
	}
	return fmt.Sprintf(`%s should be a number greater than or equal to 0, "never" or "queue-length", actually was %s`, key, erlangTerm(v))
}

// publishProperties are the properties that a shovel may set.
func publishProperties(key string, v any) string {
	var rules []rule
	for _, name := range []string{"content_type", "content_encoding", "correlation_id", "reply_to", "expiration", "message_id", "type", "user_id", "app_id", "cluster_id"} {
		rules = append(rules, rule{name, isText, false})
	}
	for _, name := range []string{"delivery_mode", "priority", "timestamp"} {
		rules = append(rules, rule{name, isNumber, false})
	}
	return strings.Join(keyed(key, v, rules), "\n")
}

// The rules of shovels, by the protocol of the side. Local shovels have the keys of AMQP 0-9-1.
// https://www.rabbitmq.com/docs/shovel-dynamic
var (
	shovelRules = []rule{
		{"reconnect-delay", isNumber, false},
		{"ack-mode", isOneOf("no-ack", "on-publish", "on-confirm"), false},
		{"src-protocol", isOneOf("amqp10", "amqp091", "local"), false},
		{"dest-protocol", isOneOf("amqp10", "amqp091", "local"), false},
	}
	shovelSource = []rule{
		{"src-uri", isURI, true},
		{"src-exchange", isText, false},
		{"src-exchange-key", isText, false},
		{"src-queue", isText, false},
		{"src-queue-args", isObject, false},
		{"src-consumer-args", isObject, false},
		{"prefetch-count", isNumber, false},
		{"src-prefetch-count", isNumber, false},
		{"delete-after", isDeleteAfter, false},
		{"src-delete-after", isDeleteAfter, false},
		{"src-predeclared", isBool, false},
	}
	shovelSource10 = []rule{
		{"src-uri", isURI, true},
		{"src-address", isText, true},
		{"src-prefetch-count", isNumber, false},
		{"src-delete-after", isDeleteAfter, false},
	}
	shovelDestination = []rule{
		{"dest-uri", isURI, true},
		{"dest-exchange", isText, false},
		{"dest-exchange-key", isText, false},
		{"dest-queue", isQueueName, false},
		{"dest-queue-args", isObject, false},
		{"add-forward-headers", isBool, false},
		{"add-timestamp-header", isBool, false},
		{"dest-add-forward-headers", isBool, false},
		{"dest-add-timestamp-header", isBool, false},
		{"publish-properties", publishProperties, false},
		{"dest-publish-properties", publishProperties, false},
		{"dest-predeclared", isBool, false},
	}
	shovelDestination10 = []rule{
		{"dest-uri", isURI, true},
		{"dest-address", isText, true},
		{"dest-add-forward-headers", isBool, false},
		{"dest-add-timestamp-header", isBool, false},
		{"dest-application-properties", isObject, false},
		{"dest-message-annotations", isObject, false},
		{"dest-properties", isObject, false},
	}
)

func shovelFaults(name string, value any) []string {
	o, _ := value.(map[string]any)
	both := func(a, b string) int {
		n := 0
		for _, key := range []string{a, b} {
			if _, ok := o[key]; ok {
				n++
			}
		}
		return n
	}
	rules := slices.Clone(shovelRules)
	var faults []string
	if o["src-protocol"] == "amqp10" {
		rules = append(rules, shovelSource10...)
	} else {
		rules = append(rules, shovelSource...)
		switch both("src-exchange", "src-queue") {
		case 0:
			faults = append(faults, "Must specify 'src-exchange' or 'src-queue'")
		case 2:
			faults = append(faults, "Cannot specify 'src-exchange' and 'src-queue'")
		}
		after, ok := o["src-delete-after"]
		if !ok {
			after = o["delete-after"]
		}
		if _, number := after.(json.Number); number && o["ack-mode"] == "no-ack" {
			faults = append(faults, "Cannot specify 'no-ack' and numerical 'delete-after'")
		}
	}
	if o["dest-protocol"] == "amqp10" {
		rules = append(rules, shovelDestination10...)
	} else {
		rules = append(rules, shovelDestination...)
		if both("dest-exchange", "dest-queue") == 2 {
			faults = append(faults, "Cannot specify 'dest-exchange' and 'dest-queue'")
		}
	}
	return append(faults, keyed(name, value, rules)...)
}

// upstreamRules are what an upstream and a member of a set of upstreams have in common.
// https://www.rabbitmq.com/docs/federation-reference
var upstreamRules = []rule{
	{"exchange", isText, false},
	{"queue", isText, false},
	{"consumer-tag", isText, false},
	{"prefetch-count", isNumber, false},
	{"reconnect-delay", isNumber, false},
	{"max-hops", isNumber, false},
	{"expires", isNumber, false},
	{"message-ttl", isNumber, false},
	{"trust-user-id", isBool, false},
	{"ack-mode", isOneOf("no-ack", "on-publish", "on-confirm"), false},
	{"resource-cleanup-mode", isOneOf("default", "never"), false},
	{"queue-type", isOneOf("classic", "quorum"), false},
	{"bind-nowait", isBool, false},
	{"channel-use-mode", isOneOf("multiple", "single"), false},
}

func upstreamFaults(name string, value any) []string {
	return keyed(name, value, append([]rule{{"uri", isURI, true}}, upstreamRules...))
}

func upstreamSetFaults(name string, value any) []string {
	list, ok := value.([]any)
	if !ok {
		return []string{fmt.Sprintf("%s not a list %s", name, erlangTerm(value))}
	}
	var faults []string
	for _, one := range list {
		faults = append(faults, keyed(name, one, append([]rule{{"upstream", isText, true}}, upstreamRules...))...)
	}
	return faults
}

// erlangTerm is a value of JSON as RabbitMQ quotes it.
func erlangTerm(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("<<%q>>", v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = erlangTerm(v[i])
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, erlangTerm(key)+" => "+erlangTerm(v[key]))
		}
		return "#{" + strings.Join(parts, ",") + "}"
	default:
		return fmt.Sprint(v)
	}
}

// erlangFields is an object as a list of pairs.
func erlangFields(o map[string]any) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(o)) {
		parts = append(parts, "{"+erlangTerm(key)+","+erlangTerm(o[key])+"}")
	}
	return "[" + strings.Join(parts, ",") + "]"
}
