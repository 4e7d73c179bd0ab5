package main

import "testing"

func TestMessageTraceVerbs(t *testing.T) {
	f := newFake(t, answers{
		"PUT /api/trace/%2F/t":       {201, ""},
		"PUT /api/trace/eu/t":        {400, `{"error":"bad_request","reason":"seconds must be a number from 1 to 86400, not 0"}`},
		"POST /api/trace/%2F/t/stop": {204, ""},
		"DELETE /api/trace/%2F/t":    {204, ""},
		"GET /api/trace/%2F":         {200, `[{"name":"t","vhost":"/","state":"running","user":"guest","filter":{"queue":"q"},"messages":5,"ends_at":"2026-01-01T00:00:00.000Z"}]`},
	})
	f.expect(t, []string{"start_trace", "t"}, 0, "Starting trace \"t\" for vhost \"/\" ...\n'warrenctl show_trace t' tells what it finds.\n", "")
	f.wantSent(t, []string{"PUT /api/trace/%2F/t"}, []string{`{"messages":100,"seconds":600}`})
	f.expect(t, []string{
		"start_trace", "-q", "t", "--queue", "q", "--exchange", "", "--routing-key", "a.*", "--message-id", "m", "--headers", `{"a":1}`, "--for", "60", "--messages", "5",
	}, 0, "", "")
	f.wantSent(t, []string{"PUT /api/trace/%2F/t"},
		[]string{`{"exchange":"","headers":{"a":1},"message_id":"m","messages":5,"queue":"q","routing_key":"a.*","seconds":60}`})
	f.expect(t, []string{"start_trace", "-q", "-p", "eu", "t", "--for", "0"}, exitData, "", "Error: node NODE: seconds must be a number from 1 to 86400, not 0\n")
	f.expect(t, []string{"start_trace", "-q", "-p", "none", "t"}, exitData, "", "Error: Virtual host 'none' does not exist\n")
	f.expect(t, []string{"stop_trace", "t"}, 0, "Stopping trace \"t\" in vhost \"/\" ...\n", "")
	f.expect(t, []string{"delete_trace", "t"}, 0, "Deleting trace \"t\" in vhost \"/\" ...\n", "")
	f.expect(t, []string{"stop_trace", "-q", "u"}, exitData, "", "Error: Trace 'u' does not exist in virtual host '/'\n")
	f.expect(t, []string{"list_traces", "-q"}, 0,
		"name\tstate\tfilter\tmessages\tuser\tends_at\nt\trunning\t{\"queue\":\"q\"}\t5\tguest\t2026-01-01T00:00:00.000Z\n", "")
}

func TestShowTrace(t *testing.T) {
	const events = `{"events":[
		{"time":"T1","index":7,"event":"published","message":"7.1","node":"n1","connection":"a -> b","user":"u","channel":2,"queues":["q"],"why":[{"why":"default"}]},
		{"time":"T2","index":8,"event":"queued","message":"7.1","queue":"q","sequence":"1"}],
		"next":"8.0","more":false,"complete":false,"nodes":[]}`
	f := newFake(t, answers{
		"GET /api/trace/%2F/t/events": {200, events},
		"GET /api/trace/%2F/t":        {200, `{"state":"ended"}`},
	})
	const rows = "time\tmessage\tevent\tqueue\tqueues\treason\tnode\tconnection\tuser\nT1\t7.1\tpublished\t\t[q]\t\tn1\ta -> b\tu\nT2\t7.1\tqueued\tq\t\t\t\t\t\n"
	f.expect(t, []string{"show_trace", "-q", "t"}, 0, rows, "")
	f.expect(t, []string{"show_trace", "t", "event"}, 0, "Events of trace \"t\" in vhost \"/\" ...\nevent\npublished\nqueued\n"+
		"No node that answers knows all from the beginning of the trace: events may be missing.\n", "")
	f.expect(t, []string{"show_trace", "-q", "t", "--follow"}, 0, rows, "") // it has ended
	f.expect(t, []string{"show_trace", "-q", "t", "event", "why", "--formatter", "csv", "--follow"}, exitUsage, "",
		"Error: --follow writes each event as it comes: as a table or json_stream\n")
	f.expect(t, []string{"show_trace", "-q", "t", "event", "why", "--formatter", "csv"}, 0,
		"event,why\npublished,\"[{\"\"why\"\":\"\"default\"\"}]\"\nqueued,\n", "")
	f.expect(t, []string{"show_trace", "t", "event", "--formatter", "json_stream", "--follow"}, 0, "{\"event\":\"published\"}\n{\"event\":\"queued\"}\n", "")
	f.expect(t, []string{"show_trace", "-q", "u"}, exitData, "", "Error: Trace 'u' does not exist in virtual host '/'\n")
	f.expect(t, []string{"show_trace", "-q", "u", "--follow"}, exitData, "", "Error: Trace 'u' does not exist in virtual host '/'\n")
}

func TestSetLogLevel(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/cluster":                       {200, `{"id":"id1","node":"n1"}`},
		"GET /api/nodes":                         {200, `[{"name":"n1","running":true},{"name":"n2","running":false},{"name":"n3","running":true}]`},
		"PUT /api/cluster/nodes/id1/log-level":   {204, ""},
		"PUT /api/cluster/nodes/n1/log-level":    {204, ""},
		"PUT /api/cluster/nodes/n3/log-level":    {204, ""},
		"PUT /api/cluster/nodes/quiet/log-level": {400, `{"error":"bad_request","reason":"the level of the log stays as it was: it cannot"}`},
	})
	f.expect(t, []string{"set_log_level", "debug"}, 0, "Setting log level \"debug\" ...\n", "")
	f.wantSent(t, []string{"GET /api/cluster", "PUT /api/cluster/nodes/id1/log-level"}, []string{`{"level":"debug"}`})
	f.expect(t, []string{"set_log_level", "-q", "warning", "n3"}, 0, "", "")
	f.wantSent(t, []string{"PUT /api/cluster/nodes/n3/log-level"}, []string{`{"level":"warning"}`})
	f.expect(t, []string{"set_log_level", "-q", "info", "--all-nodes"}, 0, "", "")
	f.wantSent(t, []string{"GET /api/nodes", "PUT /api/cluster/nodes/n1/log-level", "PUT /api/cluster/nodes/n3/log-level"}, []string{`{"level":"info"}`, `{"level":"info"}`})
	f.expect(t, []string{"set_log_level", "-q", "info", "n1", "--all-nodes"}, exitUsage, "", "Error: name a node or say --all-nodes\n")
	f.expect(t, []string{"set_log_level", "-q", "info", "n9"}, exitData, "", "Error: the cluster has no node n9\n")
	f.expect(t, []string{"set_log_level", "-q", "info", "quiet"}, exitData, "", "Error: node NODE: the level of the log stays as it was: it cannot\n")
}
