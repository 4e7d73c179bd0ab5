package management

import (
	"net/http"
	"testing"

	"warren/fsm/command"
)

// row: 1.8 vhosts
func TestVHosts(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/vhosts", "", 200, `[{"name":"/","description":"Default virtual host","tags":[],"default_queue_type":"classic"}]`)
	a.do("PUT", "/api/vhosts/v", "", 201, "")
	a.do("PUT", "/api/vhosts/v", `{}`, 204, "")
	a.do("GET", "/api/vhosts/v", "", 200, `{"name":"v","description":"","tags":[],"messages":0,"protected_from_deletion":false}`)
	a.do("PUT", "/api/vhosts/v", `{"description":"d","tags":"a, b,","default_queue_type":"quorum","tracing":false}`, 204, "")
	a.do("GET", "/api/vhosts/v", "", 200, `{"description":"d","tags":["a","b"],"default_queue_type":"quorum",
		"metadata":{"description":"d","tags":["a","b"],"default_queue_type":"quorum"}}`)
	a.do("PUT", "/api/vhosts/v", `{"tags":["x"],"default_queue_type":"undefined"}`, 204, "")
	a.do("GET", "/api/vhosts/v", "", 200, `{"description":"d","tags":["x"],"default_queue_type":"quorum"}`)
	a.do("PUT", "/api/vhosts/v", `{"default_queue_type":"odd"}`, 400, `{"error":"bad_request","reason":"Unsupported default queue type 'odd'"}`)
	a.do("PUT", "/api/vhosts/v", `{"tags":5}`, 400, `{"error":"bad_request"}`)
	a.do("PUT", "/api/vhosts/v", `junk`, 400, `{"error":"bad_request"}`)
	a.do("GET", "/api/vhosts/none", "", 404, notFoundBody)
	a.do("DELETE", "/api/vhosts/none", "", 404, notFoundBody)
	a.do("POST", "/api/vhosts/none/deletion/protection", "", 404, notFoundBody)

	a.do("POST", "/api/vhosts/v/deletion/protection", "", 204, "")
	a.do("DELETE", "/api/vhosts/v", "", 412, `{"error":"precondition_failed",
		"reason":"Refusing to delete virtual host 'v' because it is protected from deletion"}`)
	a.do("DELETE", "/api/vhosts/v/deletion/protection", "", 204, "")
	a.do("POST", "/api/vhosts/v/start/n1", "", 204, "")
	a.do("POST", "/api/vhosts/v/start/n3", "", 400, `{"error":"bad_request"}`) // it does not run
	a.do("POST", "/api/vhosts/none/start/n1", "", 400, `{"error":"bad_request"}`)
	a.do("DELETE", "/api/vhosts/v", "", 204, "")
	a.do("GET", "/api/queues/v", "", 404, notFoundBody)
}

// TestVHostNames works in vhosts whose names have to be escaped, with equal names in each.
func TestVHostNames(t *testing.T) {
	a := newAPI(t)
	for path, name := range map[string]string{
		"a%2Fb": "a/b", "%2Fa": "/a", "a%20b": "a b", "%C3%BCml%C3%A4ut": "ümläut", "100%25": "100%", "%252F": "%2F", "a+b": "a+b",
	} {
		a.do("PUT", "/api/vhosts/"+path, "", 201, "")
		a.do("GET", "/api/vhosts/"+path, "", 200, `{"name":"`+name+`"}`)
		a.do("PUT", "/api/queues/"+path+"/q", `{"durable":true}`, 201, "")
		a.do("PUT", "/api/exchanges/"+path+"/x", `{"type":"fanout"}`, 201, "")
		a.do("POST", "/api/bindings/"+path+"/e/x/q/q", `{"routing_key":"k"}`, 201, "")
		a.do("GET", "/api/queues/"+path, "", 200, `[{"name":"q","vhost":"`+name+`"}]`)
		a.do("GET", "/api/bindings/"+path+"/e/x/q/q", "", 200, `[{"vhost":"`+name+`","routing_key":"k"}]`)
		a.do("POST", "/api/exchanges/"+path+"/x/publish", `{"properties":{},"routing_key":"","payload":"m","payload_encoding":"string"}`, 200, `{"routed":true}`)
		a.do("GET", "/api/vhosts/"+path, "", 200, `{"messages":1,"messages_ready":1,"message_stats":{"publish":1}}`)
		a.do("GET", "/api/vhosts/"+path+"/connections", "", 200, `[]`)
		a.do("DELETE", "/api/vhosts/"+path, "", 204, "")
		a.do("GET", "/api/vhosts/"+path, "", 404, notFoundBody)
	}
}

// row: 1.8 policies and limits
func TestLimits(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/vhost-limits", "", 200, `[]`)
	a.do("PUT", "/api/vhost-limits/%2F/max-queues", `{"value":1}`, 204, "")
	a.do("PUT", "/api/vhost-limits/%2F/max-connections", `{"value":-1}`, 204, "")
	a.do("GET", "/api/vhost-limits", "", 200, `[{"vhost":"/","value":{"max-queues":1,"max-connections":-1}}]`)
	a.do("GET", "/api/vhost-limits/%2F", "", 200, `[{"vhost":"/","value":{"max-queues":1}}]`)
	a.do("GET", "/api/vhost-limits/none", "", 404, notFoundBody)
	a.do("PUT", "/api/vhost-limits/%2F/max-queues", `{}`, 400, `{"error":"bad_request","reason":"[{key_missing,value}]"}`)
	a.do("PUT", "/api/vhost-limits/%2F/max-queues", `{"value":"a"}`, 400,
		`{"reason":"Validation failed\n\nmax-queues should be a number, actually was <<\"a\">>\n"}`)
	a.do("PUT", "/api/vhost-limits/%2F/max-queues", `{"value":1.5}`, 400, `{"error":"bad_request"}`)
	a.do("PUT", "/api/vhost-limits/%2F/max-queues", `{"value":null}`, 400, `{"error":"bad_request"}`)
	a.do("PUT", "/api/vhost-limits/%2F/max-odd", `{"value":1}`, 400,
		`{"reason":"Validation failed\n\nUnrecognised terms [{<<\"max-odd\">>,1}] in limits\n"}`)
	a.do("PUT", "/api/vhost-limits/none/max-queues", `{"value":1}`, 404, `{"error":"not_found","reason":"vhost_not_found"}`)
	a.do("PUT", "/api/queues/%2F/a", `{}`, 201, "")
	a.do("PUT", "/api/queues/%2F/a", `{}`, 204, "")
	a.do("PUT", "/api/queues/%2F/b", `{}`, 400, `{"reason":"cannot declare queue 'b': queue limit in vhost '/' (1) is reached"}`)
	a.do("DELETE", "/api/vhost-limits/%2F/max-queues", "", 204, "")
	a.do("DELETE", "/api/vhost-limits/%2F/max-queues", "", 204, "")
	a.do("DELETE", "/api/vhost-limits/none/max-queues", "", 404, `{"error":"not_found","reason":"vhost_not_found"}`)
	a.do("PUT", "/api/queues/%2F/b", `{}`, 201, "")
	a.do("PUT", "/api/parameters/vhost-limits/%2F/limits", `{"value":{"max-queues":7}}`, 204, "")
	a.do("GET", "/api/vhost-limits/%2F", "", 200, `[{"value":{"max-queues":7}}]`)
	if w := a.request("GET", "/api/vhost-limits/%2F", ""); w.Body.String() != `[{"value":{"max-queues":7},"vhost":"/"}]`+"\n" {
		t.Errorf("limits that were replaced: %s", w.Body)
	}
	a.do("DELETE", "/api/parameters/vhost-limits/%2F/limits", "", 204, "")
	a.do("DELETE", "/api/parameters/vhost-limits/%2F/limits", "", 404, notFoundBody)
	a.do("PUT", "/api/parameters/vhost-limits/%2F/limits", `{"value":{"max-queues":7}}`, 201, "")
	a.do("GET", "/api/parameters/vhost-limits/%2F/limits", "", 200, `{"component":"vhost-limits","value":{"max-queues":7}}`)
	a.do("PUT", "/api/parameters/vhost-limits/%2F/other", `{"value":{"max-queues":7}}`, 400, `{"error":"bad_request"}`)

	a.do("PUT", "/api/user-limits/guest/max-channels", `{"value":2}`, 204, "")
	a.do("PUT", "/api/user-limits/guest/max-connections", `{"value":3}`, 204, "")
	a.do("GET", "/api/user-limits", "", 200, `[{"user":"guest","value":{"max-channels":2,"max-connections":3}}]`)
	a.do("PUT", "/api/user-limits/guest/max-channels", `{"value":"a"}`, 400, `{"reason":"max-channels should be a number, actually was <<\"a\">>"}`)
	a.do("PUT", "/api/user-limits/guest/max-queues", `{"value":1}`, 400, `{"reason":"Unrecognised terms [{<<\"max-queues\">>,1}] in user-limits"}`)
	a.do("DELETE", "/api/user-limits/guest/max-channels", "", 204, "")
	a.do("GET", "/api/user-limits/guest", "", 200, `[{"user":"guest","value":{"max-connections":3}}]`)
	a.do("DELETE", "/api/user-limits/guest/all", "", 204, "")
	a.do("GET", "/api/user-limits/guest", "", 200, `[]`)
}

func TestCloseUserConnections(t *testing.T) {
	a := newAPI(t)
	w := a.request("DELETE", "/api/connections/username/u", "", func(r *http.Request) { r.Header.Set("X-Reason", "why") })
	if w.Code != 204 || a.closed != "all of u: why" {
		t.Errorf("%d %s, closed %q", w.Code, w.Body, a.closed)
	}
}

// TestVHostTotals counts the messages of each vhost.
func TestVHostTotals(t *testing.T) {
	a := newAPI(t)
	a.must(&command.VHostPut{Name: "v"})
	for _, vhost := range []string{"/", "v", "v"} {
		a.must(&command.QueueDeclare{VHost: vhost, Name: "q", Durable: true})
		a.must(&command.Publish{VHost: []byte(vhost), Key: []byte("q"), Properties: []byte{0, 0}})
	}
	a.do("GET", "/api/vhosts", "", 200, `[{"name":"/","messages":1},{"name":"v","messages":2,"messages_ready":2,"messages_unacknowledged":0}]`)
}
