package management

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestLoose(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "false 0", `{"b":true,"n":3}`: "true 3", `{"b":"true","n":"-3"}`: "true -3", `{"b":"false"}`: "false 0", `{"b":null}`: "false 0",
		`{"b":"yes"}`: `"yes" is neither true nor false`, `{"b":1}`: "1 is neither true nor false",
		`{"n":"x"}`: `"x" is no whole number`, `{"n":1.5}`: "1.5 is no whole number", `{"n":[]}`: "[] is no whole number",
	} {
		var v struct {
			B looseBool
			N looseInt
		}
		err := json.Unmarshal([]byte(text), &v)
		got := fmt.Sprint(v.B, " ", v.N)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestTexts declares with texts in place of booleans and numbers, as RabbitMQ's rabbitmqadmin does.
//
// row: 1.8 queues; 1.8 exchanges
func TestTexts(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/queues/%2F/q", `{"durable":"true","auto_delete":"false","arguments":{}}`, 201, "")
	a.do("PUT", "/api/exchanges/%2F/x", `{"type":"topic","durable":"true","auto_delete":"false","internal":"false","arguments":{}}`, 201, "")
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"durable":true,"auto_delete":false}`)
	a.do("GET", "/api/exchanges/%2F/x", "", 200, `{"durable":true,"internal":false}`)
	a.do("POST", "/api/queues/%2F/q/get", `{"count":"1","ackmode":"ack_requeue_true","encoding":"auto","truncate":"50000"}`, 200, `[]`)
	a.do("PUT", "/api/queues/%2F/r", `{"durable":"perhaps"}`, 400, `{"error":"bad_request"}`)
}
