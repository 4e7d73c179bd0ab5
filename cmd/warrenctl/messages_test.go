package main

import (
	"slices"
	"testing"
)

func TestBrowse(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/queues/%2F/q/messages": {200, `{"messages":[{"sequence":"1","state":"ready","exchange":"x","routing_key":"k","payload_bytes":3,"payload":"one","properties":{"headers":{"a":1}}}],"next":"2"}`},
		"GET /api/queues/%2F/e/messages": {200, `{"messages":[],"next":null}`},
	})
	f.expect(t, []string{"browse", "q", "--count", "1"}, 0, `Browsing queue 'q' in vhost '/' ...
sequence	state	exchange	routing_key	payload_bytes	payload
1	ready	x	k	3	one
There may be more: --from 2
`, "")
	f.expect(t, []string{"browse", "-q", "q", "--count", "2", "properties"}, 0, "properties\n{\"headers\":{\"a\":1}}\n{\"headers\":{\"a\":1}}\n", "")
	f.expect(t, []string{"browse", "-q", "e"}, 0, "", "")
	f.expect(t, []string{"browse", "-q", "none"}, exitData, "", "Error: Queue 'none' in vhost '/' does not exist\n")
	f.expect(t, []string{"browse", "-q", "q", "--count", "0"}, exitUsage, "", "Error: count must be a positive number, not 0\n")
	f.expect(t, []string{"browse", "-q", "q", "--headers", "{"}, exitData, "", "Error: Could not parse JSON document: unexpected end of JSON input\n")
	f.expect(t, []string{"browse", "-q", "q", "odd"}, exitUsage, "",
		"Error: browse has no column odd. Columns: sequence, state, redelivered, delivery_count, exchange, routing_key, properties, expires_at, payload_bytes, payload, payload_encoding\n")
}

func TestMove(t *testing.T) {
	f := newFake(t, answers{
		"POST /api/queues/%2F/q/move":    {200, `{"moved":3,"kept":1,"full":false,"done":true,"next":"9"}`},
		"POST /api/queues/%2F/end/move":  {200, `{"moved":2,"kept":0,"full":true,"done":true,"next":"4"}`},
		"POST /api/queues/%2F/some/move": {200, `{"moved":2,"kept":0,"full":false,"done":true,"next":"4"}`},
		"GET /api/queues/%2F/some":       {200, `{"messages_ready":4,"messages_parked":9}`},
	})
	f.expect(t, []string{"move", "q", "--to-queue", "r"}, 0,
		"Moving messages of queue 'q' in vhost '/' ...\n3 messages were moved\n1 stay, as no queue would take them\n", "")
	f.expect(t, []string{"move", "-q", "q", "--redrive", "first", "--parked", "--headers", `{"a":1}`, "--routing-key", "k"}, 0,
		"3 messages were moved\n1 stay, as no queue would take them\n", "")
	f.expect(t, []string{"move", "-q", "end", "--to-exchange", "x", "--with-key", "k", "--count", "9"}, 0, "2 messages were moved\nit ended at a queue that is full\n", "")
	f.expect(t, []string{"move", "--formatter", "json", "q", "--to-queue", "r"}, 0, `{"full":false,"kept":1,"moved":3}`+"\n", "")
	want := []string{
		`{"filter":{},"state":"ready","to":{"queue":"r"}}`,
		`{"filter":{"headers":{"a":1},"routing_key":"k"},"state":"parked","to":{"redrive":"first"}}`,
		`{"count":9,"filter":{},"state":"ready","to":{"exchange":"x","routing_key":"k"}}`,
		`{"filter":{},"state":"ready","to":{"queue":"r"}}`,
	}
	if !slices.Equal(f.bodies, want) {
		t.Errorf("sent %q, want %q", f.bodies, want)
	}
	f.bodies = nil
	f.expect(t, []string{"move", "-q", "some", "--to-queue", "r", "--rate", "2"}, 0, "4 messages were moved\n", "")
	want = []string{`{"count":2,"filter":{},"state":"ready","to":{"queue":"r"}}`, `{"count":2,"filter":{},"from":"4","state":"ready","to":{"queue":"r"}}`}
	if !slices.Equal(f.bodies, want) {
		t.Errorf("sent %q, want %q", f.bodies, want)
	}
	f.expect(t, []string{"move", "-q", "q"}, exitUsage, "", "Error: where to? Use --to-queue, --to-exchange or --redrive\n")
	f.expect(t, []string{"move", "-q", "none", "--to-queue", "r"}, exitData, "", "Error: Queue 'none' in vhost '/' does not exist\n")
}
