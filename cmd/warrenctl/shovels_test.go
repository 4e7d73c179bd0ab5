package main

import (
	"strings"
	"testing"

	"warren/node/shovel"
)

func TestShovelVerbs(t *testing.T) {
	f := newFake(t, answers{
		"DELETE /api/shovels/vhost/%2F/s":            {204, ""},
		"DELETE /api/shovels/vhost/eu/s/restart":     {204, ""},
		"DELETE /api/shovels/vhost/%2F/gone/restart": {404, `{"error":"Object Not Found","reason":"Not Found"}`},
		"GET /api/shovels":                           {200, `[{"name":"s","vhost":"/","type":"dynamic","state":"running","src_uri":"amqp://a","dest_uri":"amqp:","node":"n1","forwarded":5,"remaining":"unlimited"}]`},
	})
	f.expect(t, []string{"shovel_status", "-q", "name", "state", "source", "forwarded"}, 0, "name\tstate\tsource\tforwarded\ns\trunning\tamqp://a\t5\n", "")
	f.expect(t, []string{"delete_shovel", "s"}, 0, "Deleting shovel s in vhost / ...\n", "")
	f.expect(t, []string{"restart_shovel", "-p", "eu", "s"}, 0, "Restarting dynamic Shovel s in virtual host eu ...\n", "")
	f.expect(t, []string{"restart_shovel", "-q", "gone"}, exitData, "", "Error: Shovel 'gone' does not exist in virtual host '/'\n")
	f.expect(t, []string{"delete_shovel", "-q", "gone"}, exitData, "", "Error: Shovel 'gone' does not exist in virtual host '/'\n")
}

func TestOneTimeShovel(t *testing.T) {
	values := func(pairs ...string) map[string]*string {
		m := make(map[string]*string)
		for _, text := range shovelTexts {
			m[text.key] = new(string)
		}
		for i := 0; i < len(pairs); i += 2 {
			*m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	t.Setenv("WARRENCTL_DEST_URI", "amqp://to")
	both := []string{"src-uri", "amqp://from", "src-queue", "q"}
	for _, c := range []struct {
		s    oneTime
		want int64
	}{
		{oneTime{values: values(both...), count: -1}, shovel.QueueLength},
		{oneTime{values: values(both...), count: 7}, 7},
		{oneTime{values: values(both...), count: -1, keep: true}, shovel.Never},
		{oneTime{values: values("src-uri", "amqp://from", "src-exchange", "x"), count: -1}, shovel.Never},
	} {
		got, err := c.s.parse(10)
		if err != nil || got.Source.DeleteAfter != c.want || got.Destination.URIs[0] != "amqp://to" || got.Source.Prefetch != 10 {
			t.Errorf("%+v gives %+v, %v", c.s, got, err)
		}
	}
	if _, err := (&oneTime{values: values("src-queue", "q"), count: -1}).parse(1); err == nil || !strings.Contains(err.Error(), "src-uri") {
		t.Errorf("without a source: %v", err)
	}
}

func TestTraceVerbs(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/vhosts/%2F": {200, `{"name":"/"}`}, "GET /api/vhosts/eu": {200, `{"name":"eu"}`},
		"PUT /api/vhosts/%2F": {204, ""}, "PUT /api/vhosts/eu": {204, ""},
	})
	f.expect(t, []string{"trace_on"}, 0, "Starting tracing for vhost \"/\" ...\nTrace enabled for vhost /\n", "")
	f.wantSent(t, []string{"GET /api/vhosts/%2F", "PUT /api/vhosts/%2F"}, []string{`{"tracing":true}`})
	f.expect(t, []string{"trace_off", "-p", "eu"}, 0, "Stopping tracing for vhost \"eu\" ...\nTrace disabled for vhost eu\n", "")
	f.wantSent(t, []string{"GET /api/vhosts/eu", "PUT /api/vhosts/eu"}, []string{`{"tracing":false}`})
	f.expect(t, []string{"trace_on", "-q", "-p", "none"}, exitData, "", "Error: Virtual host 'none' does not exist\n")
}
