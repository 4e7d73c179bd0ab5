package management

import (
	"net/http"
	"testing"
	"time"

	"warren/fsm/command"
)

func TestShovels(t *testing.T) {
	a := newAPI(t)
	a.must(&command.VHostPut{Name: "v"})
	value := `{"src-uri":"amqp://u:secret@h","src-queue":"q","dest-uri":"amqp://","dest-queue":"r"}`
	a.do("GET", "/api/shovels", "", 200, `[]`)
	a.do("PUT", "/api/parameters/shovel/%2F/s", `{"value":`+value+`}`, 201, "")
	a.do("PUT", "/api/parameters/shovel/v/s", `{"value":`+value+`}`, 201, "")
	a.do("GET", "/api/shovels", "", 200, `[{"name":"s","vhost":"/","type":"dynamic","state":"starting"},{"name":"s","vhost":"v","state":"starting"}]`)
	when := time.Date(2026, 5, 1, 2, 3, 4, 0, time.UTC)
	a.shovels = []ShovelStatus{
		{Node: "n1", VHost: "/", Name: "s", State: "terminated", Reason: "no leader any more", Changed: when.Add(-time.Second)},
		{
			Node: "n2", VHost: "/", Name: "s", State: "running", SrcURI: "amqp://h", DestURI: "amqp:", SrcProtocol: "amqp091", DestProtocol: "local",
			Ends: map[string]string{"src-queue": "q", "dest-queue": "r"}, Remaining: 10, Forwarded: 5, Pending: 2, Changed: when,
		},
		{Node: "n2", VHost: "v", Name: "s", State: "terminated", Reason: "destination: no", Remaining: -1, Changed: when},
		{Node: "n2", VHost: "v", Name: "deleted", State: "running", Changed: when},
	}
	a.do("GET", "/api/shovels", "", 200, `[
		{"name":"s","vhost":"/","type":"dynamic","state":"running","blocked_status":"running","node":"n2","timestamp":"2026-05-01 02:03:04",
		 "src_uri":"amqp://h","dest_uri":"amqp:","src_protocol":"amqp091","dest_protocol":"local","src_queue":"q","dest_queue":"r",
		 "remaining":10,"remaining_unacked":8,"forwarded":5,"pending":2},
		{"name":"s","vhost":"v","state":"terminated","reason":"destination: no","node":"n2"}]`)
	a.do("GET", "/api/shovels/v?columns=name,state", "", 200, `[{"name":"s","state":"terminated"}]`)
	a.do("GET", "/api/shovels/none", "", 404, notFoundBody)
	a.do("GET", "/api/shovels/vhost/v/s", "", 200, `{"component":"shovel","vhost":"v","name":"s","value":`+value+`}`)
	a.do("GET", "/api/shovels/vhost/v/none", "", 404, notFoundBody)
	a.do("DELETE", "/api/shovels/vhost/v/s/restart", "", 204, "")
	if a.closed != "shovel v s" {
		t.Errorf("restarted %q", a.closed)
	}
	// Who only looks on sees how it does, and not the passwords in its URIs.
	a.must(&command.UserPut{Name: "looker", SetPassword: true, Hash: guestHash, Algorithm: "rabbit_password_hashing_sha256", SetTags: true, Tags: []string{"monitoring"}})
	for path, code := range map[string]int{"/api/shovels": 200, "/api/shovels/v": 200, "/api/shovels/vhost/v/s": 401} {
		if w := a.request("GET", path, "", func(r *http.Request) { r.SetBasicAuth("looker", "guest") }); w.Code != code {
			t.Errorf("%s for who looks on: %d %s", path, w.Code, w.Body)
		}
	}
	a.do("DELETE", "/api/shovels/vhost/v/none/restart", "", 404, notFoundBody)
	a.do("DELETE", "/api/shovels/vhost/v/s", "", 204, "")
	a.do("DELETE", "/api/shovels/vhost/v/s", "", 404, notFoundBody)
	a.do("GET", "/api/shovels/v", "", 200, `[]`)
}

func TestTracing(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/vhosts/%2F", "", 200, `{"tracing":false}`)
	a.do("PUT", "/api/vhosts/v", `{"tracing":true}`, 201, "")
	a.do("PUT", "/api/vhosts/%2F", `{"tracing":"true"}`, 204, "")
	a.do("PUT", "/api/vhosts/%2F", `{"tracing":true}`, 204, "")
	a.do("GET", "/api/vhosts?columns=name,tracing", "", 200, `[{"name":"/","tracing":true},{"name":"v","tracing":true}]`)
	a.do("PUT", "/api/vhosts/v", `{"description":"d"}`, 204, "")
	a.do("GET", "/api/vhosts/v", "", 200, `{"tracing":true}`)
	a.do("GET", "/api/parameters", "", 200, `[]`)
	a.do("PUT", "/api/vhosts/v", `{"tracing":false}`, 204, "")
	a.do("PUT", "/api/vhosts/v", `{"tracing":"false"}`, 204, "")
	a.do("GET", "/api/vhosts/v", "", 200, `{"tracing":false}`)
	a.do("PUT", "/api/vhosts/v", `{"tracing":5}`, 400, `{"reason":"tracing is neither true nor false"}`)
	a.do("POST", "/api/definitions", `{"parameters":[{"component":"internal-tracing","name":"firehose","vhost":"v","value":true}]}`, 400, "")
	a.do("DELETE", "/api/vhosts/v", "", 204, "")
	// A file of a RabbitMQ that has a vhost without a name comes in but for that.
	a.do("POST", "/api/definitions", `{"vhosts":[{"name":"","limits":[],"metadata":{"tags":[]}},{"name":"w"}]}`, 204, "")
	a.do("GET", "/api/vhosts?columns=name", "", 200, `[{"name":"/"},{"name":"w"}]`)
	a.do("PUT", "/api/vhosts/v", "", 201, "")
	a.do("GET", "/api/vhosts/v", "", 200, `{"tracing":false}`)
}
