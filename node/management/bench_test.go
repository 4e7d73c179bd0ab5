package management

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"warren/fsm/command"
	"warren/protocol/wire"
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
		"connections",
		"connections?columns=name,user",
		"connections?page=1&page_size=100",
		"channels?page=1&page_size=100",
		"overview",
	} {
		b.Run(path, func(b *testing.B) { a.ask(b, path) })
	}
}

// ask asks for a path again and again.
func (a *api) ask(b *testing.B, path string) {
	b.ReportAllocs()
	held := time.Hour
	for b.Loop() {
		a.longest = 0
		r := httptest.NewRequest("GET", "/api/"+path, nil)
		r.SetBasicAuth("guest", "guest")
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
		b.SetBytes(int64(w.Body.Len()))
		held = min(held, a.longest)
	}
	b.ReportMetric(float64(held.Microseconds())/1000, "ms-held")
}

// BenchmarkDefinitions exports 10,000 queues, bindings, users and permissions. ms-held is the longest that the machine stood still at a time,
// in that request in which it was shortest: others of a busy computer do not count.
func BenchmarkDefinitions(b *testing.B) {
	a := newAPI(b)
	a.must(&command.ExchangeDeclare{VHost: "/", Name: "x", Type: "topic", Durable: true})
	for i := range 10_000 {
		name := fmt.Sprintf("name-%05d", i*7919%10_000)
		a.must(&command.QueueDeclare{VHost: "/", Name: name, Durable: true, Args: wire.Table{{Name: "x-message-ttl", Value: int64(60_000)}}})
		a.must(&command.Bind{Binding: command.Binding{VHost: "/", Source: "x", Destination: name, Key: name + ".#"}})
		a.must(&command.UserPut{Name: name, SetPassword: true, Hash: guestHash, Algorithm: "rabbit_password_hashing_sha256"})
		a.must(&command.PermissionSet{User: name, VHost: "/", Configure: "^" + name, Write: ".*", Read: ".*"})
	}
	a.ask(b, "definitions")
}
