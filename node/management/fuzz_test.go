package management

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest sends any path and body to the API: the answer is never a failure
// of the server itself, and the state machine takes every command.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/api/queues/%2F/q?page=1&sort=a.b&columns=x,y.z&name=(", ""},
		{"PUT", "/api/queues/%2F/a%2Fb", `{"durable":true,"arguments":{"x-max-length":1e400,"t":{"a":[1,null,1.5]}}}`},
		{"PUT", "/api/exchanges/%2F/x", `{"type":"headers","arguments":{"alternate-exchange":{}}}`},
		{"POST", "/api/bindings/%2F/e/amq.headers/q/q", `{"routing_key":"a~b","arguments":{"x-match":"any","h":null}}`},
		{"DELETE", "/api/bindings/%2F/e/amq.topic/q/q/~", ""},
		{"POST", "/api/exchanges/%2F/amq.default/publish", `{"routing_key":"q","payload":"eA==","payload_encoding":"base64","properties":{"headers":{"h":1},"priority":9}}`},
		{"POST", "/api/queues/%2F/q/get", `{"count":2,"ackmode":"ack_requeue_true","encoding":"auto","truncate":1}`},
		{"DELETE", "/api/queues/%2F/q?if-empty=true", ""},
		{"PUT", "/api/parameters/shovel/%2F/s", `{"value":{"src-uri":["amqp://"],"src-queue":"q","dest-uri":"amqp://h","publish-properties":[],"src-delete-after":1}}`},
		{"PUT", "/api/global-parameters/g", `{"value":[1e999,{"a":null}]}`},
		{"POST", "/api/definitions", `{"parameters":[{"component":"federation-upstream-set","name":"s","vhost":"/","value":[{}]}],"global_parameters":[{"name":"g","value":1}]}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		switch method {
		case "GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS":
		default:
			t.Skip()
		}
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" || !strings.HasPrefix(path, "/") {
			t.Skip()
		}
		b := newBroker(t)
		handler := New(Config{Broker: b, Access: b.access(), Logger: slog.New(slog.DiscardHandler)})
		setUp := httptest.NewRequest("PUT", "/api/queues/%2F/q", strings.NewReader("{}"))
		for _, r := range []*http.Request{setUp, httptest.NewRequest(method, "/", strings.NewReader(body))} {
			if r != setUp {
				r.URL = u
			}
			r.SetBasicAuth("guest", "guest")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			// 503 is what health checks answer.
			if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
	})
}
