package main

import "testing"

func TestRoute(t *testing.T) {
	f := newFake(t, answers{
		"POST /api/exchanges/%2F/x/route": {200, `{"queues":[{"name":"q","certain":true}],"hops":[
			{"why":"binding","source":"x","destination":"q","destination_type":"queue","routing_key":"a.#","arguments":{}}],"truncated":false}`},
		"POST /api/exchanges/%2F/amq.default/route": {200, `{"queues":[],"hops":[],"truncated":false}`},
	})
	f.expect(t, []string{"route", "x", "a.b", "--headers", `{"n":7}`}, 0, `Routing a message with key 'a.b' from exchange 'x' in vhost '/' ...
why	source_name	destination_name	destination_kind	routing_key	arguments
binding	x	q	queue	a.#	[]
`, "")
	if want := `{"properties":{"headers":{"n":7}},"routing_key":"a.b"}`; f.body != want {
		t.Errorf("sent %s, want %s", f.body, want)
	}
	f.expect(t, []string{"route", "", "none"}, 0, "Routing a message with key 'none' from exchange '' in vhost '/' ...\nNo queue gets it.\n", "")
	f.expect(t, []string{"route", "-q", "none", "k"}, exitData, "", "Error: Exchange 'none' in vhost '/' does not exist\n")
	f.expect(t, []string{"route", "-q", "x", "k", "--headers", "{"}, exitData, "", "Error: Could not parse JSON document: unexpected end of JSON input\n")
}
