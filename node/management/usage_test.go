package management

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"warren/fsm/command"
	"warren/protocol/wire"
)

func TestUsage(t *testing.T) {
	var u usage
	for i, c := range []struct {
		consumers int
		ready     uint64
		happened  bool // since the survey before
		want      string
	}{
		{0, 0, true, "0.00 false 1"},  // seen for the first time
		{0, 0, false, "0.00 true 1"},  // nothing has happened since
		{1, 0, false, "1.00 false 3"}, // a consumer came
		{1, 9, true, "0.70 false 4"},  // messages wait
		{1, 9, true, "0.49 false 5"},
		{1, 0, false, "0.64 true 5"},
		{0, 0, false, "0.00 false 7"}, // it left
	} {
		now, before := queueCounts{readyGauge: c.ready}, queueCounts{readyGauge: c.ready}
		if c.happened {
			now[0]++
		}
		u.note(int64(i+1), c.consumers, &now, &before)
		since, idle := u.idleSince()
		if got := fmt.Sprintf("%.2f %v %d", u.capacity, idle, since.UnixMilli()); got != c.want {
			t.Errorf("survey %d: %s, want %s", i+1, got, c.want)
		}
	}
}

// row: 1.8 queues
func TestQueueFields(t *testing.T) {
	a := newAPI(t)
	a.must(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
	a.must(&command.QueueDeclare{VHost: "/", Name: "limited", Durable: true, Args: wire.Table{{Name: "x-delivery-limit", Value: int64(7)}}})
	a.must(&command.QueueDeclare{VHost: "/", Name: "quorum", Durable: true, Args: wire.Table{{Name: "x-queue-type", Value: "quorum"}}})
	for _, at := range []int64{1_700_000_000_000, 1_700_000_005_000} {
		a.server.sampler.survey.take(a.View, at)
	}
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"idle_since":"2023-11-14T22:13:20.000+00:00","consumer_capacity":0,"consumer_utilisation":0,
		"head_message_timestamp":null,"memory":4096,"messages_ram":0,"delivery_limit":"unlimited"}`)
	a.do("GET", "/api/queues/%2F/limited", "", 200, `{"delivery_limit":7}`)
	a.do("GET", "/api/queues/%2F/quorum", "", 200, `{"delivery_limit":20}`)

	a.do("POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{"timestamp":123},"routing_key":"q","payload":"x","payload_encoding":"string"}`, 200, "")
	a.do("POST", "/api/exchanges/%2F/amq.default/publish", `{"properties":{"timestamp":456},"routing_key":"q","payload":"x","payload_encoding":"string"}`, 200, "")
	a.server.sampler.survey.take(a.View, 1_700_000_010_000)
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"head_message_timestamp":123,"memory":4288}`)
	if w := a.request("GET", "/api/queues/%2F/q", ""); strings.Contains(w.Body.String(), "idle_since") {
		t.Errorf("a queue that was just used is idle: %s", w.Body)
	}
	if w := a.request("GET", "/api/queues/%2F", ""); strings.Contains(w.Body.String(), headTimestamp) {
		t.Errorf("a list reads messages that nobody asked for: %s", w.Body)
	}
	a.do("GET", "/api/queues/%2F?columns=name,head_message_timestamp", "", 200,
		`[{"name":"limited","head_message_timestamp":null},{"name":"q","head_message_timestamp":123},{"name":"quorum","head_message_timestamp":null}]`)
}

// TestLongList checks that a list that is sent piece by piece is the same as one that is not, and that one which cannot be
// sent to its end does not look whole.
func TestLongList(t *testing.T) {
	a := newAPI(t)
	const n = 2*wholeChunk + 1
	for i := range n {
		a.must(&command.QueueDeclare{VHost: "/", Name: fmt.Sprintf("q%05d", i), Durable: true})
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf(`{"name":"q%05d"}`, i))
	}
	a.do("GET", "/api/queues/%2F?columns=name", "", 200, "["+strings.Join(want, ",")+"]")
	if w := a.request("GET", "/api/queues/%2F?columns=name&sort=name&sort_reverse=true", ""); !strings.HasPrefix(w.Body.String(), `[{"name":"q01000"}`) {
		t.Errorf("%.100s", w.Body)
	}

	w := httptest.NewRecorder()
	c := &call{server: &server{cfg: Config{Broker: a.broker}, log: slog.New(slog.DiscardHandler)}, w: w, r: httptest.NewRequest("GET", "/api/things", nil), whole: t.Context()}
	s := source{n: n, build: func(which []int) ([]object, error) {
		if which[0] >= wholeChunk {
			return nil, errUnavailable("gone")
		}
		return make([]object, len(which)), nil // all have gone meanwhile
	}}
	defer func() {
		if r := recover(); r != http.ErrAbortHandler {
			t.Errorf("it ended with %v", r)
		}
	}()
	t.Errorf("it ended in order: %v", c.listFrom(s))
}

func TestStopNode(t *testing.T) {
	a := newAPI(t)
	a.do("POST", "/api/nodes/n1/stop", "", 503, `{"error":"service_unavailable"}`)
	stopped := 0
	a.handler = New(Config{Broker: a.broker, Access: a.access(), Node: "n1", Logger: slog.New(slog.DiscardHandler), Stop: func() { stopped++ }})
	a.do("POST", "/api/nodes/n2/stop", "", 400, `{"error":"bad_request"}`)
	a.do("POST", "/api/nodes/n9/stop", "", 404, notFoundBody)
	a.must(&command.UserPut{Name: "looker", SetPassword: true, Hash: guestHash, Algorithm: "rabbit_password_hashing_sha256", SetTags: true, Tags: []string{"monitoring"}})
	if w := a.request("POST", "/api/nodes/n1/stop", "", func(r *http.Request) { r.SetBasicAuth("looker", "guest") }); w.Code != http.StatusUnauthorized {
		t.Errorf("who may look may stop: %d", w.Code)
	}
	if stopped != 0 {
		t.Error("it was stopped by somebody who may not")
	}
	a.do("POST", "/api/nodes/n1/stop", "", 202, "")
	if stopped != 1 {
		t.Errorf("stopped %d times", stopped)
	}
}
