package management

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"warren/fsm/command"
	"warren/protocol/wire"
)

func (a *api) publish(queue, body string, headers ...wire.Field) {
	a.t.Helper()
	p := wire.Properties{Present: wire.FlagHeaders, Headers: headers}
	a.must(&command.Publish{VHost: []byte("/"), Key: []byte(queue), Properties: wire.AppendProperties(nil, &p), Body: []byte(body)})
}

func TestBrowse(t *testing.T) {
	a := newAPI(t)
	a.must(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true, Args: wire.Table{{Name: "x-delivery-limit", Value: int64(0)}}})
	a.do("GET", "/api/queues/%2F/q/messages", "", 200, `{"messages":[],"next":null}`)
	for i, kind := range []string{"red", "blue", "red", "blue"} {
		a.publish("q", fmt.Sprint("body ", i), wire.Field{Name: "kind", Value: kind}, wire.Field{Name: "n", Value: int32(i)})
	}
	ch := command.Channel{Conn: 7, Number: 1}
	for range 2 {
		a.must(&command.Get{VHost: "/", Channel: ch, Queue: "q"})
	}
	a.must(&command.Settle{Channel: ch, From: 1, To: 1, Outcome: command.Requeue})
	a.do("GET", "/api/queues/%2F/q/messages", "", 200, `{"messages":[
		{"sequence":"1","state":"parked","payload":"body 0","routing_key":"q","exchange":"","properties":{"headers":{"kind":"red","n":0}},"delivery_count":1},
		{"sequence":"2","state":"unacknowledged"},{"sequence":"3","state":"ready","redelivered":false,"expires_at":null},{"sequence":"4"}],"next":null}`)
	a.do("GET", "/api/queues/%2F/q/messages?state=ready,parked&count=2", "", 200, `{"messages":[{"sequence":"1"},{"sequence":"3"}],"next":"4"}`)
	a.do("GET", "/api/queues/%2F/q/messages?state=ready&from=4", "", 200, `{"messages":[{"sequence":"4"}],"next":null}`)
	a.do("GET", "/api/queues/%2F/q/messages?headers=%7B%22kind%22:%22blue%22%7D", "", 200, `{"messages":[{"sequence":"2"},{"sequence":"4"}]}`)
	a.do("GET", "/api/queues/%2F/q/messages?headers=%7B%22n%22:2%7D&routing_key=q&exchange=amq.default", "", 200, `{"messages":[{"sequence":"3"}]}`)
	a.do("GET", "/api/queues/%2F/q/messages?routing_key=other", "", 200, `{"messages":[]}`)
	a.do("GET", "/api/queues/%2F/q/messages?state=ready&truncate=4&count=1&encoding=base64", "", 200,
		`{"messages":[{"payload":"Ym9keQ==","payload_encoding":"base64","payload_bytes":6}]}`)
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"messages_ready":2,"messages_unacknowledged":1,"messages_parked":1,"message_stats":{"get":2,"redeliver":0}}`)
	for query, reason := range map[string]string{
		"state=odd": "state must be", "from=x": "from must be", "count=0": "count must be",
		"count=501": "count must be", "truncate=-1": "truncate must be", "encoding=odd": "encoding must be", "headers=%7B": "headers: ",
	} {
		w := a.request("GET", "/api/queues/%2F/q/messages?"+query, "")
		if w.Code != 400 || !strings.Contains(w.Body.String(), reason) {
			t.Errorf("%s: %d %s, want %s", query, w.Code, w.Body, reason)
		}
	}
	a.do("GET", "/api/queues/%2F/none/messages", "", 404, notFoundBody)
}

// TestBrowseAge looks for messages by the timestamps that their publishers set.
func TestBrowseAge(t *testing.T) {
	a := newAPI(t)
	a.must(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
	a.publish("q", "of no age")
	for _, age := range []time.Duration{30 * time.Second, time.Hour, 24 * time.Hour} {
		p := wire.Properties{Present: wire.FlagTimestamp, Timestamp: wire.Timestamp(time.Now().Add(-age).Unix())}
		a.must(&command.Publish{VHost: []byte("/"), Key: []byte("q"), Properties: wire.AppendProperties(nil, &p), Body: []byte(age.String())})
	}
	for query, want := range map[string]string{
		"":                              `[{"sequence":"1"},{"sequence":"2"},{"sequence":"3"},{"sequence":"4"}]`,
		"min_age=0":                     `[{"sequence":"2"},{"sequence":"3"},{"sequence":"4"}]`,
		"min_age=1800":                  `[{"sequence":"3"},{"sequence":"4"}]`,
		"max_age=1800":                  `[{"sequence":"2"}]`,
		"min_age=1800.5&max_age=7200":   `[{"sequence":"3"}]`,
		"min_age=1800&count=1":          `[{"sequence":"3"}]`,
		"min_age=1800&count=1&from=4":   `[{"sequence":"4"}]`,
		"min_age=90000":                 `[]`,
		"max_age=7200&routing_key=none": `[]`,
	} {
		a.do("GET", "/api/queues/%2F/q/messages?"+query, "", 200, `{"messages":`+want+`}`)
	}
	a.do("GET", "/api/queues/%2F/q/messages?min_age=1800&count=1", "", 200, `{"next":"4"}`)
	for _, bad := range []string{"min_age=x", "max_age=-1", "max_age=NaN"} {
		if w := a.request("GET", "/api/queues/%2F/q/messages?"+bad, ""); w.Code != 400 || !strings.Contains(w.Body.String(), "must be a number of seconds") {
			t.Errorf("%s: %d %s", bad, w.Code, w.Body)
		}
	}
}

func TestMove(t *testing.T) {
	a := newAPI(t)
	for _, name := range []string{"a", "b"} {
		a.must(&command.QueueDeclare{VHost: "/", Name: name, Durable: true})
	}
	a.must(&command.QueueDeclare{VHost: "/", Name: "small", Durable: true, Args: wire.Table{{Name: "x-max-length", Value: int64(1)}}})
	const n = 2500 // more than a step
	for i := range n {
		a.publish("a", fmt.Sprint(i), wire.Field{Name: "even", Value: i%2 == 0})
	}
	const move = "/api/queues/%2F/a/move"
	a.do("POST", move, `{"to":{"queue":"b"},"filter":{"headers":{"even":true}},"count":3}`, 200, `{"moved":3,"kept":0,"full":false,"done":true,"next":"6"}`)
	a.do("POST", move, `{"to":{"queue":"b"},"filter":{"headers":{"even":true}}}`, 200, `{"moved":1247,"done":true,"next":null}`)
	a.do("POST", move, `{"to":{"exchange":"amq.fanout"}}`, 200, `{"moved":0,"kept":1250,"done":true,"next":null}`)
	a.do("POST", move, `{"to":{"exchange":"amq.default","routing_key":"b"},"count":1}`, 200, `{"moved":1}`)
	a.do("POST", move, `{"to":{"queue":"small"}}`, 200, `{"moved":1,"full":true,"done":true}`)
	a.do("POST", move, `{"to":{"queue":"b"}}`, 200, `{"moved":1248,"next":null}`)
	a.do("POST", move, `{"to":{"queue":"b"}}`, 200, `{"moved":0,"done":true}`)
	a.do("GET", "/api/queues/%2F/b/messages?count=5", "", 200, `{"messages":[{"payload":"0"},{"payload":"2"},{"payload":"4"},{"payload":"6"},{"payload":"8"}]}`)
	a.do("GET", "/api/queues/%2F/b", "", 200, `{"messages_ready":2499}`)
	for body, reason := range map[string]string{
		`{}`:                                            "to must be",
		`{"to":{"queue":"b","exchange":"x"}}`:           "to must be",
		`{"to":{"queue":"b","routing_key":"x"}}`:        "to must be",
		`{"to":{"redrive":"middle"}}`:                   "redrive must be",
		`{"to":{"queue":"b"},"state":"unacknowledged"}`: "can be moved",
		`{"to":{"queue":"b"},"count":0}`:                "count must be",
		`{"to":{"queue":"b"},"from":"x"}`:               "from must be",
		`{"to":{"queue":"a"},"count":1}`:                "is where the messages are",
	} {
		w := a.request("POST", move, body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), reason) {
			t.Errorf("%s: %d %s, want %s", body, w.Code, w.Body, reason)
		}
	}
	a.publish("a", "one")
	a.do("POST", move, `{"to":{"queue":"none"}}`, 404, `{"reason":"no queue 'none' in vhost '/'"}`)
	a.do("POST", move, `{"to":{"exchange":"none"}}`, 404, `{"reason":"no exchange 'none' in vhost '/'"}`)
	a.do("POST", "/api/queues/%2F/none/move", `{"to":{"queue":"b"}}`, 404, notFoundBody)
}

func TestMovePermissions(t *testing.T) {
	a := newAPI(t)
	hash, algorithm, _ := a.guard.Hash(t.Context(), "pw")
	for _, tag := range []string{"management", "policymaker"} {
		a.must(&command.UserPut{Name: tag, SetPassword: true, Hash: hash, Algorithm: algorithm, SetTags: true, Tags: []string{tag}})
		a.must(&command.PermissionSet{User: tag, VHost: "/", Write: "^w|^amq.topic", Read: "^r"})
	}
	for _, name := range []string{"r", "w", "o"} {
		a.must(&command.QueueDeclare{VHost: "/", Name: name, Durable: true})
		a.publish(name, "x")
	}
	const move = "/api/queues/%2F/r/move"
	a.as("management", "GET", "/api/queues/%2F/r/messages", "", 200, `"sequence"`)
	a.as("management", "GET", "/api/queues/%2F/o/messages", "", 401, "read access to queue 'o'")
	a.must(&command.QueueDeclare{VHost: "/", Name: "replies", Exclusive: true, Conn: 7})
	a.publish("replies", "secret")
	a.as("management", "GET", "/api/queues/%2F/replies/messages", "", 401, "queue 'replies' is exclusive to a connection")
	a.as("management", "POST", "/api/queues/%2F/replies/move", `{"to":{"queue":"w"}}`, 400, "cannot obtain exclusive access")
	a.do("GET", "/api/queues/%2F/replies/messages", "", 200, `{"messages":[{"payload":"secret"}]}`)
	a.as("management", "POST", "/api/queues/%2F/o/move", `{"to":{"queue":"w"}}`, 401, "read access to queue 'o'")
	a.as("management", "POST", move, `{"to":{"queue":"o"}}`, 401, "write access to queue 'o'")
	a.as("management", "POST", move, `{"to":{"queue":"w"}}`, 200, `"moved":1`)
	a.publish("r", "x")
	a.as("management", "POST", move, `{"to":{"exchange":"amq.direct"}}`, 401, "write access to exchange 'amq.direct'")
	a.as("management", "POST", move, `{"to":{"exchange":"amq.topic"}}`, 200, `"kept":1`)
	a.must(&command.TopicPermissionSet{User: "management", VHost: "/", Exchange: "amq.topic", Write: "^a"})
	a.as("management", "POST", move, `{"to":{"exchange":"amq.topic"}}`, 401, "name the routing_key")
	a.as("management", "POST", move, `{"to":{"exchange":"amq.topic","routing_key":"b"}}`, 401, "write access to topic 'b'")
	a.as("management", "POST", move, `{"to":{"exchange":"amq.topic","routing_key":"a"}}`, 200, `"kept":1`)
	a.as("management", "POST", move, `{"to":{"redrive":"first"}}`, 401, "has to name one")
	a.as("management", "POST", move, `{"to":{"redrive":"first","queue":"w"}}`, 200, `"kept":1`)
	a.as("policymaker", "POST", move, `{"to":{"redrive":"first"}}`, 200, `"kept":1`)
}
