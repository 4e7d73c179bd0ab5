package management

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"warren/fsm/command"
)

// TestPageBuildsItself checks that a page costs its own items and no others, where the
// query does not need those.
func TestPageBuildsItself(t *testing.T) {
	a := newAPI(t)
	for query, want := range map[string]int{
		"page=3&page_size=10":                   10,
		"pagination=true":                       100,
		"page=100&page_size=10&columns=name":    10,
		"page=1&page_size=10&sort=name":         1000,
		"page=1&page_size=10&name=x":            1000,
		"page=1&page_size=10&sort_reverse=true": 10,
		"":                                      1000,
		"page=101&page_size=10&columns=name":    0,
		"page=102&page_size=10":                 -1,
	} {
		s := &server{cfg: Config{Broker: a.broker}}
		c := &call{server: s, w: httptest.NewRecorder(), r: httptest.NewRequest("GET", "/api/things?"+query, nil), whole: context.Background()}
		built := 0
		err := c.listEach(1000, func(int) object { built++; return object{"name": "x"} })
		if built != max(want, 0) || (err != nil) != (want < 0) {
			t.Errorf("%q: %d items built, want %d; %v", query, built, want, err)
		}
	}
}

// TestPageOfConnections checks that nodes are asked to describe the connections of the page only.
//
// row: 1.8 list parameters
func TestPageOfConnections(t *testing.T) {
	a := newAPI(t)
	for i := range 40 {
		c := Connection{
			ConnectionKey: ConnectionKey{"id2", uint64(i)}, Name: fmt.Sprintf("c%02d", i), User: "guest", VHost: "/", Node: "n2",
			ConnectedAt: int64(100 - i), State: "running", ReceivedBytes: uint64(i),
		}
		for n := range uint16(2) {
			c.ChannelInfos = append(c.ChannelInfos, Channel{Number: n + 1, Name: fmt.Sprintf("%s (%d)", c.Name, n+1), User: "guest", Unacked: i})
		}
		a.connections = append(a.connections, c)
	}
	slices.Reverse(a.connections)
	for _, c := range []struct {
		path      string
		described int
		want      string
	}{
		{"connections?page=2&page_size=2&columns=name", 2, `{"total_count":40,"items":[{"name":"c02"},{"name":"c03"}]}`},
		{"connections?page=1&page_size=1&name=39&columns=name", 1, `{"filtered_count":1,"items":[{"name":"c39"}]}`},
		{"connections?page=1&page_size=1&sort=connected_at&columns=name", 1, `{"items":[{"name":"c39"}]}`},
		{"connections?page=1&page_size=1&sort_reverse=true&columns=name", 1, `{"items":[{"name":"c39"}]}`},
		{"connections?page=1&page_size=1&sort=recv_oct&sort_reverse=true&columns=name,recv_oct", 40, `{"items":[{"name":"c39","recv_oct":39}]}`},
		{"connections/c07?columns=name,recv_oct", 1, `{"name":"c07","recv_oct":7}`},
		{"channels?page=2&page_size=3&columns=name", 2, `{"total_count":80,"items":[{"name":"c01 (2)"},{"name":"c02 (1)"},{"name":"c02 (2)"}]}`},
		{"channels?page=1&page_size=2&sort=number&sort_reverse=true&columns=name", 2, `{"items":[{"name":"c39 (2)"},{"name":"c38 (2)"}]}`},
		{"channels?page=1&page_size=2&sort=messages_unacknowledged&sort_reverse=true&columns=name", 40, `{"items":[{"name":"c39 (2)"},{"name":"c39 (1)"}]}`},
		{"channels/c05%20(2)?columns=name", 1, `{"name":"c05 (2)"}`},
		{"connections/c05/channels?columns=name", 1, `[{"name":"c05 (1)"},{"name":"c05 (2)"}]`},
		{"overview?columns=object_totals.connections,object_totals.channels", 0, `{"object_totals":{"connections":40,"channels":80}}`},
	} {
		a.described = nil
		a.do("GET", "/api/"+c.path, "", 200, c.want)
		if len(a.described) != c.described {
			t.Errorf("%s: %d connections were described, want %d", c.path, len(a.described), c.described)
		}
	}
	for _, path := range []string{"connections/none", "channels/none", "channels/c01", "channels/c01%20(x)", "channels/c01%20(9)"} {
		a.do("GET", "/api/"+path, "", 404, notFoundBody)
	}
}

// TestGone checks that what goes between listing and describing is left out.
func TestGone(t *testing.T) {
	a := newAPI(t)
	s := &server{cfg: Config{Broker: a.broker}}
	c := &call{server: s, w: httptest.NewRecorder(), r: httptest.NewRequest("GET", "/api/queues", nil)}
	list, err := c.queueList([]queueName{{"/", "gone"}}, []int{0})
	if err != nil || len(list) != 1 || list[0] != nil {
		t.Errorf("%v, %v", list, err)
	}
	q := query{}
	if got := q.project(list); len(got) != 0 || got == nil {
		t.Errorf("%v", got)
	}
}

func TestColumns(t *testing.T) {
	o := object{
		"name": "n", "messages": 3,
		"stats": object{"publish": 1, "rate": object{"rate": 2.5, "avg": 1}},
		"list":  []object{{"a": 1, "b": 2}, {"b": 3}},
		"other": []any{object{"a": 1, "b": 2}, "text"},
	}
	for columns, want := range map[string]string{
		"":                                "map[list:[map[a:1 b:2] map[b:3]] messages:3 name:n other:[map[a:1 b:2] text] stats:map[publish:1 rate:map[avg:1 rate:2.5]]]",
		"name":                            "map[name:n]",
		" name , messages.any ":           "map[messages:3 name:n]",
		"nothing,stats.nothing":           "map[stats:map[]]",
		"stats.rate.rate":                 "map[stats:map[rate:map[rate:2.5]]]",
		"stats.rate,stats.rate.avg":       "map[stats:map[rate:map[avg:1 rate:2.5]]]",
		"stats.rate.avg,stats.publish,,.": "map[stats:map[publish:1 rate:map[avg:1]]]",
		"stats.publish,stats":             "map[stats:map[publish:1 rate:map[avg:1 rate:2.5]]]",
		"list.a,other.b":                  "map[list:[map[a:1] map[]] other:[map[b:2] text]]",
	} {
		if got := fmt.Sprint(parseColumns(columns).cut(o)); got != want {
			t.Errorf("%q: %s, want %s", columns, got, want)
		}
	}
}

// row: 1.8 list parameters
func TestDisableStats(t *testing.T) {
	a := newAPI(t)
	a.fill()
	a.must(&command.Publish{VHost: []byte("/"), Key: []byte("private"), Properties: []byte{0, 0}})
	for query, want := range map[string][]string{
		"":                    {"messages", "message_stats", "consumers"},
		"?disable_stats=true": nil,
		"?disable_stats=true&enable_queue_totals=true": {"messages"},
	} {
		for _, path := range []string{"queues", "queues/%2F", "queues/detailed"} {
			var all []object
			a.get("/api/"+path+query, &all)
			for _, field := range []string{"messages", "message_stats", "consumers"} {
				if _, there := all[0][field]; there != slices.Contains(want, field) {
					t.Errorf("%s%s: %s is there: %v", path, query, field, there)
				}
			}
			if all[0]["name"] != "jobs" || all[0]["type"] != "classic" || all[0]["arguments"] == nil {
				t.Errorf("%s%s: %v", path, query, all[0])
			}
		}
	}
	a.do("GET", "/api/queues?page=1&page_size=1&sort=messages&sort_reverse=true&columns=name,messages", "", 200, `{"items":[{"name":"jobs","messages":3}]}`)
	a.do("GET", "/api/queues?page=1&page_size=1&sort=consumers&columns=name", "", 200, `{"items":[{"name":"private"}]}`)
}
