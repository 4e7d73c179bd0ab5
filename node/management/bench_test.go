package management

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"warren/fsm/command"
)

// BenchmarkLists measures what the node does for one request, with 10,000 queues and 2,000 connections: the machine and the API are the
// real ones, the network is left out, and connections are in memory. docs/http.md has the numbers.
func BenchmarkLists(b *testing.B) {
	a := newAPI(b)
	for i := range 10_000 {
		a.must(&command.QueueDeclare{VHost: "/", Name: fmt.Sprintf("queue-%05d", i), Durable: true})
	}
	for i := range 2_000 {
		c := Connection{
			ConnectionKey: ConnectionKey{"id1", uint64(i)}, Name: fmt.Sprintf("127.0.0.1:%d -> 127.0.0.1:5672", 10_000+i), User: "guest", VHost: "/", Node: "n1",
		}
		c.ChannelInfos = []Channel{{Number: 1, Name: c.Name + " (1)", User: "guest", VHost: "/"}}
		a.connections = append(a.connections, c)
	}
	a.server.sampler.survey.take(a.View, 1000)
	for _, path := range []string{
		"queues?page=1&page_size=100",
		"queues?page=100&page_size=100",
		"queues?page=1&page_size=100&columns=name,messages",
		"queues?page=1&page_size=100&sort=messages&sort_reverse=true",
		"queues?page=1&page_size=100&name=999",
		"queues?columns=name,messages",
		"queues",
		"connections?page=1&page_size=100",
		"channels?page=1&page_size=100",
		"overview",
	} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/api/"+path, nil)
				r.SetBasicAuth("guest", "guest")
				w := httptest.NewRecorder()
				a.handler.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Code, w.Body)
				}
				b.SetBytes(int64(w.Body.Len()))
			}
		})
	}
}
