package management

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/trace"
	"warren/protocol/wire"
)

func TestTraces(t *testing.T) {
	a := newAPI(t)
	a.must(&command.VHostPut{Name: "v"})
	a.do("GET", "/api/trace", "", 200, `[]`)
	a.do("GET", "/api/trace/none", "", 404, "")
	a.do("GET", "/api/trace/v/t", "", 404, notFoundBody)
	a.do("PUT", "/api/trace/v/t", `{"queue":"q","exchange":"amq.default","routing_key":"a.#","headers":{"tenant":7},"seconds":60,"messages":5}`, 201, "")
	one := `{"name":"t","vhost":"v","state":"running","user":"guest","messages":5,
		"filter":{"queue":"q","exchange":"","routing_key":"a.#","headers":{"tenant":7}}}`
	a.do("GET", "/api/trace/v", "", 200, `[`+one+`]`)
	a.do("GET", "/api/trace/%2F", "", 200, `[]`)
	a.do("GET", "/api/trace?columns=name", "", 200, `[{"name":"t"}]`)
	a.do("GET", "/api/trace/v/t", "", 200, one)
	var all []Trace
	a.broker.View(func(m *fsm.Machine) { all = Traces(m) })
	if len(all) != 1 || all[0].VHost != "v" || all[0].Name != "t" || all[0].By != "guest" {
		t.Fatalf("%+v", all)
	}
	got := all[0].Machine()
	if left := time.Until(time.UnixMilli(got.Until)); left <= 0 || left > time.Minute {
		t.Errorf("it ends in %v", left)
	}
	if got.Queue != "q" || !got.ByExchange || got.Exchange != "" || got.Key != "a.#" || got.Messages != 5 || !wire.EqualTable(got.Headers, wire.Table{{Name: "tenant", Value: int64(7)}}) {
		t.Errorf("%+v", got)
	}
	first := all[0].ID
	a.do("PUT", "/api/trace/v/t", "", 204, "") // another one
	a.do("GET", "/api/trace/v/t", "", 200, `{"state":"running","messages":100,"filter":{}}`)
	a.broker.View(func(m *fsm.Machine) { all = Traces(m) })
	if len(all) != 1 || all[0].ID == first {
		t.Errorf("%+v", all)
	}
	// It is no parameter for others to see.
	a.do("GET", "/api/parameters", "", 200, `[]`)
	a.do("PUT", "/api/parameters/internal-trace/v/x", `{"value":{}}`, 400, "")
	a.do("POST", "/api/definitions", `{"parameters":[{"component":"internal-trace","name":"x","vhost":"v","value":{}}]}`, 400, "")
	a.do("POST", "/api/trace/v/t/stop", "", 204, "")
	a.do("POST", "/api/trace/v/t/stop", "", 204, "")
	a.do("GET", "/api/trace/v/t", "", 200, `{"state":"ended"}`)
	a.do("DELETE", "/api/trace/v/t", "", 204, "")
	a.do("DELETE", "/api/trace/v/t", "", 404, notFoundBody)
	a.do("POST", "/api/trace/v/t/stop", "", 404, notFoundBody)
	for body, want := range map[string]string{
		`{"seconds":0}`:     "seconds must be a number from 1 to 86400, not 0",
		`{"seconds":86401}`: "seconds must be a number from 1 to 86400, not 86401",
		`{"messages":1001}`: "messages must be a number from 1 to 1000, not 1001",
		`{"messages":-1}`:   "messages must be a number from 1 to 1000, not -1",
		`{"queue":"` + strings.Repeat("q", 256) + `"}`: "queue is longer than 255 bytes",
	} {
		a.do("PUT", "/api/trace/v/t", body, 400, fmt.Sprintf(`{"reason":%q}`, want))
	}
	a.do("PUT", "/api/trace/v/t", `{"seconds":"x"}`, 400, "")
	a.do("PUT", "/api/trace/none/t", "", 404, "")
	for i := range tracesMost {
		a.do("PUT", fmt.Sprintf("/api/trace/v/%d", i), "", 201, "")
	}
	a.do("PUT", "/api/trace/v/more", "", 400, `{"reason":"16 traces are running, and no more may: stop one"}`)
	a.do("PUT", "/api/trace/v/3", "", 204, "")
}

// TestTraceRights: whoever may see all connections may read traces, and only administrators start and end them.
func TestTraceRights(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/trace/%2F/t", "", 201, "")
	for _, tag := range []string{"monitoring", "policymaker", "management"} {
		a.do("PUT", "/api/users/"+tag, `{"password":"pw","tags":"`+tag+`"}`, 201, "")
		a.do("PUT", "/api/permissions/%2F/"+tag, `{"configure":".*","write":".*","read":".*"}`, 201, "")
		read := 401
		if tag == "monitoring" {
			read = 200
		}
		for _, path := range []string{"/api/trace", "/api/trace/%2F", "/api/trace/%2F/t", "/api/trace/%2F/t/events"} {
			a.as(tag, "GET", path, "", read, "")
		}
		a.as(tag, "PUT", "/api/trace/%2F/t", "", 401, "")
		a.as(tag, "POST", "/api/trace/%2F/t/stop", "", 401, "")
		a.as(tag, "DELETE", "/api/trace/%2F/t", "", 401, "")
	}
}

func TestTraceEvents(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/trace/%2F/t/events", "", 404, notFoundBody)
	a.do("PUT", "/api/trace/%2F/t", "", 201, "")
	event := func(index uint64, n int, e fsm.TraceEvent) trace.Event {
		e.Index, e.Number, e.Message, e.Time = index, n, "7.1", 1_700_000_000_123
		return trace.Event{TraceEvent: e}
	}
	published := event(7, 0, fsm.TraceEvent{
		Event: fsm.EventPublished, Default: true, Key: "q", Size: 3, Node: "n1", Epoch: 3, Queues: []string{"q"}, MessageID: "m",
		Hops: []fsm.TraceHop{{Why: "binding", Source: "", Destination: "q", Key: "q", Args: wire.AppendTable(nil, wire.Table{{Name: "a", Value: int32(1)}})}},
	})
	published.Conn, published.Channel, published.Connection, published.User = 4, 2, "a -> b", "u"
	other := event(9, 0, fsm.TraceEvent{Event: fsm.EventDelivered, Queue: "q", QueueID: 5, Sequence: 1, Node: "n2", Conn: 8, Channel: 1, Tag: "c", Ordinal: 1, Redelivered: true, Acquired: 2, Failed: 1})
	foreign := event(8, 0, fsm.TraceEvent{Event: fsm.EventUnroutable})
	foreign.Message = "8.1"
	a.broker.story = []trace.Part{{Node: "n1", Since: 5, Whole: true, Events: []trace.Event{published, foreign, other}}, {Node: "n2", Since: 8, Lost: 1, Events: []trace.Event{other}}}
	first := `{"time":"2023-11-14T22:13:20.123Z","index":7,"event":"published","message":"7.1","message_id":"m","exchange":"","routing_key":"q","payload_bytes":3,
		"node":"n1","connection":"a -> b","user":"u","channel":2,"queues":["q"],
		"why":[{"why":"binding","source":"","destination":"q","destination_type":"queue","routing_key":"q","arguments":{"a":1}}]}`
	last := `{"index":9,"event":"delivered","message":"7.1","queue":"q","sequence":"1","node":"n2","connection":"connection 8 of node n2","channel":1,"consumer_tag":"c",
		"delivery":1,"redelivered":true,"acquired_count":2,"delivery_count":1,"auto_ack":false}`
	a.do("GET", "/api/trace/%2F/t/events", "", 200, `{"events":[`+first+`,{"index":8,"event":"unroutable","message":"8.1"},`+last+`],"complete":true,"more":false,"next":"9.0",
		"nodes":[{"name":"n1","since_index":5,"from_start":true,"lost":0},{"name":"n2","since_index":8,"from_start":false,"lost":1}]}`)
	a.do("GET", "/api/trace/%2F/t/events?message=7.1&count=1", "", 200, `{"events":[`+first+`],"more":true,"next":"7.0"}`)
	a.do("GET", "/api/trace/%2F/t/events?message=m", "", 200, `{"events":[`+first+`]}`)
	a.do("GET", "/api/trace/%2F/t/events?message=7.1&after=7.0", "", 200, `{"events":[`+last+`],"more":false,"next":"9.0"}`)
	a.do("GET", "/api/trace/%2F/t/events?after=9.0", "", 200, `{"events":[],"next":"9.0"}`)
	for _, query := range []string{"after=x", "after=1", "count=0", "count=x", "count=10001"} {
		a.do("GET", "/api/trace/%2F/t/events?"+query, "", 400, "")
	}
	var all []Trace
	a.broker.View(func(m *fsm.Machine) { all = Traces(m) })
	if a.broker.traced != all[0].ID {
		t.Errorf("asked for trace %q, it is %q", a.broker.traced, all[0].ID)
	}
	a.broker.story = nil
	a.do("GET", "/api/trace/%2F/t/events", "", 200, `{"events":[],"complete":false,"next":null,"nodes":[]}`)
}

// FuzzTrace: what stands in the parameter of a trace may come from another version.
func FuzzTrace(f *testing.F) {
	f.Add(`{"id":"a","until":5,"messages":3,"headers":{"a":[1,{"b":null}]},"exchange":"amq.default"}`)
	f.Add(`{"headers":[]}`)
	f.Fuzz(func(t *testing.T, value string) {
		a := newAPI(t)
		a.must(&command.ParameterPut{VHost: "/", Component: traceComponent, Name: "t", Value: value})
		a.broker.View(func(m *fsm.Machine) {
			for _, one := range Traces(m) {
				m.Trace([]fsm.Trace{one.Machine()})
				if _, err := json.Marshal(one.object(time.Now())); err != nil {
					t.Errorf("%q: %v", value, err)
				}
			}
		})
	})
}
