package management

import (
	"encoding/json"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol/wire"
)

// TestDelayed lists and cancels delayed messages.
func TestDelayed(t *testing.T) {
	a := newAPI(t)
	a.apply(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version})
	a.do("GET", "/api/delayed", "", 200, `[]`)
	a.do("PUT", "/api/exchanges/%2F/later", `{"type":"x-delayed-message","arguments":{"x-delayed-type":"direct"}}`, 201, "")
	a.do("GET", "/api/exchanges/%2F/later", "", 200, `{"type":"x-delayed-message","messages_delayed":0}`)
	for exchange, delay := range map[string]string{"later": "60000", "amq.default": "30000"} {
		a.do("POST", "/api/exchanges/%2F/"+exchange+"/publish",
			`{"properties":{"headers":{"x-delay":`+delay+`}},"routing_key":"k","payload":"text"}`, 200, `{"routed":true}`)
	}
	a.do("GET", "/api/delayed", "", 200, `[{"vhost":"/","exchange":"","routing_key":"k","delay":30000,"due":31000,"due_at":"1970-01-01T00:00:31.000Z","bytes":4},
		{"exchange":"later","delay":60000,"due":61000}]`)
	a.do("GET", "/api/delayed/%2F?limit=1", "", 200, `[{"exchange":""}]`)
	a.do("GET", "/api/exchanges/%2F/later/delayed", "", 200, `[{"exchange":"later"}]`)
	a.do("GET", "/api/exchanges/%2F/nosuch/delayed", "", 404, notFoundBody)
	a.do("GET", "/api/delayed/nosuch", "", 404, notFoundBody)
	a.do("GET", "/api/delayed?limit=0", "", 400, `{"reason":"limit must be a number from 1 to 10000"}`)
	a.do("GET", "/api/overview", "", 200, `{"queue_totals":{"messages_delayed":2}}`)
	a.do("GET", "/api/exchanges/%2F/later", "", 200, `{"messages_delayed":1}`)
	first, _ := a.machine.Delayed("/", nil, 1)
	id := first[0].ID
	b, _ := json.Marshal(id)
	a.do("DELETE", "/api/delayed/%2F/"+string(b), "", 204, "")
	a.do("DELETE", "/api/delayed/%2F/"+string(b), "", 404, `{"error":"not_found"}`)
	a.do("DELETE", "/api/delayed/%2F/id", "", 404, notFoundBody)
	a.do("DELETE", "/api/delayed/nosuch/1", "", 404, notFoundBody)
	a.do("GET", "/api/delayed", "", 200, `[{"exchange":"later"}]`)
}

// TestDelayedMore says when there were too many to look at all.
func TestDelayedMore(t *testing.T) {
	a := newAPI(t)
	a.apply(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version})
	if w := a.request("GET", "/api/exchanges/%2F/amq.topic/delayed", ""); w.Code != 200 || w.Header().Get(delayedMore) != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	properties := func(ms int32) []byte {
		return wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagHeaders, Headers: wire.Table{{Name: "x-delay", Value: ms}}})
	}
	for i := range int32(11_000) {
		exchange := "amq.fanout"
		if i == 10_500 {
			exchange = "amq.topic"
		}
		a.must(&command.Publish{VHost: []byte("/"), Exchange: []byte(exchange), Properties: properties(i + 1)})
	}
	for path, want := range map[string]string{
		"/api/delayed": "", "/api/exchanges/%2F/amq.direct/delayed": "", "/api/exchanges/%2F/amq.topic/delayed": "true",
	} {
		if w := a.request("GET", path, ""); w.Code != 200 || w.Header().Get(delayedMore) != want {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
}

// TestWhoIsActive shows the active consumer, the exclusive one, and what an exchange remembers.
func TestWhoIsActive(t *testing.T) {
	a := newAPI(t)
	a.apply(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version})
	a.must(&command.QueueDeclare{VHost: "/", Conn: 7, Name: "single", Args: wire.Table{{Name: "x-single-active-consumer", Value: true}}})
	a.must(&command.QueueDeclare{VHost: "/", Conn: 7, Name: "exclusive"})
	ch := command.Channel{Conn: 7, Number: 1}
	a.do("GET", "/api/queues/%2F/single", "", 200, `{"single_active_consumer_tag":null,"exclusive_consumer_tag":null}`)
	a.must(&command.Consume{VHost: "/", Channel: ch, Queue: "single", Tag: "one"})
	a.must(&command.Consume{VHost: "/", Channel: ch, Queue: "single", Tag: "two"})
	a.must(&command.Consume{VHost: "/", Channel: ch, Queue: "exclusive", Tag: "only", Exclusive: true})
	a.do("GET", "/api/queues/%2F/single", "", 200, `{"single_active_consumer_tag":"one","consumer_details":[
		{"consumer_tag":"one","active":true,"activity_status":"single_active"},{"consumer_tag":"two","active":false,"activity_status":"waiting"}]}`)
	a.do("GET", "/api/queues/%2F/exclusive", "", 200, `{"single_active_consumer_tag":null,"exclusive_consumer_tag":"only",
		"consumer_details":[{"active":true,"activity_status":"up","exclusive":true}]}`)
	a.must(&command.ExchangeDeclare{VHost: "/", Name: "once", Type: "x-message-deduplication", Args: wire.Table{{Name: "x-cache-size", Value: int32(5)}}})
	a.do("GET", "/api/exchanges/%2F/once", "", 200, `{"cache_info":{"entries":0,"size":5}}`)
}
