package management

import (
	"encoding/json"
	"net/url"
	"reflect"
	"testing"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// TestEachColumn asks for each field of objects alone: it is the one that stands in the whole object. What a list is sorted by need not
// be among the columns.
//
// row: 1.8 list parameters
func TestEachColumn(t *testing.T) {
	a := newAPI(t)
	a.must(&command.VHostPut{Name: "v", SetDescription: true, Description: "d"})
	a.must(&command.PolicyPut{VHost: "/", Name: "p", Pattern: ".", ApplyTo: "all", Definition: wire.Table{{Name: "max-length", Value: int64(9)}, {Name: "alternate-exchange", Value: "y"}}})
	for _, name := range []string{"b", "a"} {
		a.must(&command.QueueDeclare{VHost: "/", Name: name, Durable: name == "b", Args: wire.Table{{Name: "x-message-ttl", Value: int64(90_000)}}})
		a.must(&command.ExchangeDeclare{VHost: "/", Name: name, Type: "topic"})
	}
	for range 3 {
		a.must(&command.Publish{VHost: []byte("/"), Key: []byte("a"), Properties: []byte{0, 0}, Body: []byte("body")})
	}
	a.server.sampler.survey.take(a.View, 1000)
	a.server.sampler.survey.take(a.View, 6000)
	a.connections = []Connection{{ConnectionKey: ConnectionKey{"id1", 5}, Name: "c", User: "u", VHost: "/", Node: "n1"}}
	for _, path := range []string{
		"queues/%2F/a", "queues", "queues?disable_stats=true", "queues?disable_stats=true&enable_queue_totals=true",
		"exchanges", "exchanges?disable_stats=true", "vhosts", "vhosts/%2F", "overview", "users", "connections", "bindings",
	} {
		u, err := url.Parse("/api/" + path)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(columns string) []map[string]any {
			q := u.Query()
			if columns != "" {
				q.Set("columns", columns)
			}
			at := *u
			at.RawQuery = q.Encode()
			w := a.request("GET", at.String(), "")
			if w.Code != 200 {
				t.Fatalf("%s: %d %s", &at, w.Code, w.Body)
			}
			var list []map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
				list = make([]map[string]any, 1)
				if err := json.Unmarshal(w.Body.Bytes(), &list[0]); err != nil {
					t.Fatal(err)
				}
			}
			return list
		}
		whole := ask("")
		for name := range whole[0] {
			for i, o := range ask(name) {
				if want := map[string]any{name: whole[i][name]}; !reflect.DeepEqual(o, want) {
					t.Errorf("%s: column %s of item %d is %v, not %v", path, name, i, o, want)
				}
			}
		}
	}
	a.do("GET", "/api/queues?columns=name&sort=messages&sort_reverse=true", "", 200, `[{"name":"a"},{"name":"b"}]`)
	a.do("GET", "/api/queues?columns=state&sort=durable&sort_reverse=true&page=1&name=B", "", 200, `{"items":[{"state":"running"}],"filtered_count":1}`)
	a.do("GET", "/api/queues?columns=message_stats.publish&sort=name", "", 200, `[{"message_stats":{"publish":3}},{"message_stats":{"publish":0}}]`)
	a.do("GET", "/api/queues?columns=name&sort=effective_policy_definition.max-length", "", 200, `[{"name":"a"},{"name":"b"}]`)
}
