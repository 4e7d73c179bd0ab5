package management

import (
	"strings"
	"testing"

	"warren/fsm/command"
)

func TestRoutePreview(t *testing.T) {
	a := newAPI(t)
	for _, name := range []string{"q", "r"} {
		a.must(&command.QueueDeclare{VHost: "/", Name: name, Durable: true})
		a.must(&command.Bind{Binding: command.Binding{VHost: "/", Source: "amq.topic", Destination: name, Key: name + ".#"}})
	}
	a.must(&command.ExchangeDeclare{VHost: "/", Name: "inner", Type: "fanout", Internal: true})
	a.must(&command.ExchangeDeclare{VHost: "/", Name: "any", Type: "x-random"})
	for _, name := range []string{"q", "r"} {
		a.must(&command.Bind{Binding: command.Binding{VHost: "/", Source: "any", Destination: name}})
	}
	a.do("POST", "/api/exchanges/%2F/amq.topic/route", `{"routing_key":"q.x"}`, 200, `{"queues":[{"name":"q","certain":true}],"truncated":false,
		"hops":[{"why":"binding","source":"amq.topic","destination":"q","destination_type":"queue","routing_key":"q.#","arguments":{}}]}`)
	a.do("POST", "/api/exchanges/%2F/amq.topic/route", `{"routing_key":"q.x","properties":{"headers":{"CC":["r"]}}}`, 200, `{"queues":[{"name":"q"},{"name":"r"}]}`)
	a.do("POST", "/api/exchanges/%2F/amq.default/route", `{"routing_key":"r"}`, 200, `{"queues":[{"name":"r"}],"hops":[{"why":"default","source":""}]}`)
	a.do("POST", "/api/exchanges/%2F/any/route", `{}`, 200, `{"queues":[{"name":"q","certain":false},{"name":"r","certain":false}],"hops":[{"why":"chance"},{"why":"chance"}]}`)
	a.do("POST", "/api/exchanges/%2F/inner/route", `{}`, 401, `{"reason":"cannot publish to internal exchange 'inner' in vhost '/'"}`)
	a.do("POST", "/api/exchanges/%2F/none/route", `{}`, 404, notFoundBody)
	a.do("POST", "/api/exchanges/%2F/amq.topic/route", `{"properties":{"headers":{"CC":"r"}}}`, 400, `{"error":"bad_request"}`)
	many := strings.Repeat(`"q",`, explainKeys)
	a.do("POST", "/api/exchanges/%2F/amq.topic/route", `{"properties":{"headers":{"CC":[`+many+`"r"]}}}`, 400, `{"reason":"101 keys in CC and BCC are more than the 100 that are looked at here"}`)
	a.do("POST", "/api/exchanges/%2F/amq.topic/route", `{"properties":{"headers":{"CC":[`+many[:len(many)-1]+`]}}}`, 200, `{"queues":[{"name":"q"}]}`)
	long := strings.Repeat("x", explainProperties)
	a.do("POST", "/api/exchanges/%2F/amq.topic/route", `{"properties":{"headers":{"h":"`+long+`"}}}`, 400, `{"error":"bad_request"}`)
	a.do("GET", "/api/queues", "", 200, `[{"messages":0},{"messages":0}]`)
}
