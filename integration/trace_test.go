package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A tracedEvent is one event of a trace, as warrenctl shows it.
type tracedEvent struct {
	Event, Message, Queue, Reason, Node, Connection, User string
	MessageID                                             string `json:"message_id"`
	Tag                                                   string `json:"consumer_tag"`
	Channel, Acquired                                     int
	Redelivered                                           bool
	Queues                                                []string
	Why                                                   string // JSON
}

const traceColumns = "event,message,message_id,queue,queues,reason,node,connection,user,channel,consumer_tag,redelivered,why"

func showTrace(n *node, name string, more ...string) (all []tracedEvent, err error) {
	out, err := n.tryCtl(append([]string{"show_trace", name, traceColumns, "--formatter", "json"}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return all, json.Unmarshal([]byte(out), &all)
}

// story is what happened to one message, an event and its queue on each line.
func story(all []tracedEvent) string {
	var lines []string
	for _, e := range all {
		lines = append(lines, strings.TrimSpace(e.Event+" "+e.Queue))
	}
	return strings.Join(lines, "\n")
}

// TestTrace follows a message that is published on the leader and consumed on another node, comes back, dies, and is acknowledged out
// of the dead-letter queue; the leader is killed in between. A third node tells it all, in order, with the names of clients of the dead one.
//
// row: 1.10 message trace
func TestTrace(t *testing.T) {
	skipWithPeer(t)
	c := startCluster(t, 3)
	leader := c.leader(t)
	rest := c.others(leader)
	there, third := rest[0], rest[1]
	publisher := dial(t, leader)
	pub, con := channel(t, publisher), open(t, there)
	graves := declare(t, con, there, nil)
	jobs := declare(t, con, there, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": graves})
	if err := con.QueueBind(jobs, "job.*", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	third.ctl(t, "start_trace", "story", "--queue", jobs, "--for", "3600")
	eventually(t, "all nodes follow", func() error { return tracedBy(third, "story", 3) })
	if err := con.Qos(1, 0, false); err != nil {
		t.Fatal(err)
	}
	work := consume(t, con, jobs)
	if err := pub.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ exchange, key, id string }{{"", graves, "other"}, {"amq.topic", "job.1", "m1"}} {
		conf, err := pub.PublishWithDeferredConfirm(p.exchange, p.key, false, false, amqp.Publishing{MessageId: p.id, DeliveryMode: amqp.Persistent, Body: []byte("secret body")})
		if err != nil {
			t.Fatal(err)
		}
		if !receiveConfirm(t, conf) {
			t.Fatal("not confirmed")
		}
	}
	if err := receive(t, "the message", work).Nack(false, true); err != nil {
		t.Fatal(err)
	}
	again := receive(t, "the message again", work)
	from := publisher.LocalAddr().String()
	eventually(t, "the others know who published", func() error {
		all, err := showTrace(third, "story")
		if err == nil && (len(all) == 0 || !strings.HasPrefix(all[0].Connection, from)) {
			err = fmt.Errorf("they know %+v", all)
		}
		return err
	})
	leader.kill(t)
	if err := again.Reject(false); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"other", "m1"} {
		var d amqp.Delivery
		eventually(t, "the dead letter is there", func() (err error) {
			var ok bool
			if d, ok, err = con.Get(graves, false); err == nil && !ok {
				err = fmt.Errorf("%s is empty", graves)
			}
			return err
		})
		if d.MessageId != id {
			t.Errorf("%s stands before %s", d.MessageId, id)
		}
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(`
published
queued JOBS
delivered JOBS
requeued JOBS
delivered JOBS
rejected JOBS
dead_lettered JOBS
queued GRAVES
got GRAVES
acked GRAVES`), "JOBS", jobs), "GRAVES", graves)
	var all []tracedEvent
	eventually(t, "the third node tells the story", func() (err error) {
		if all, err = showTrace(third, "story", "--message", "m1"); err == nil && story(all) != want {
			err = fmt.Errorf("it tells\n%s\nwant\n%s", story(all), want)
		}
		return err
	})
	for i, e := range all {
		if e.Message != all[0].Message || e.MessageID != "m1" {
			t.Errorf("event %d is of message %s (%s), and %s is meant", i, e.Message, e.MessageID, all[0].Message)
		}
	}
	if e := all[0]; e.Node != leader.name || !strings.HasPrefix(e.Connection, from) || e.User != "guest" || e.Channel != 1 || !slices.Equal(e.Queues, []string{jobs}) ||
		!strings.Contains(e.Why, `"job.*"`) || !strings.Contains(e.Why, "amq.topic") {
		t.Errorf("published: %+v", e)
	}
	for _, i := range []int{2, 4} {
		if e := all[i]; e.Node != there.name || e.Connection == "" || e.Tag == "" || e.Redelivered != (i == 4) {
			t.Errorf("delivered: %+v", e)
		}
	}
	if all[3].Reason != "basic.nack" || all[6].Reason != "rejected" || !slices.Equal(all[6].Queues, []string{graves}) {
		t.Errorf("%+v\n%+v", all[3], all[6])
	}
	if out := third.ctl(t, "show_trace", "story"); strings.Contains(out, "secret body") || !strings.Contains(out, "dead_lettered") {
		t.Errorf("%s", out)
	}
	// One that was away tells it too, and what comes over HTTP is traced as well.
	leader.start(t)
	leader.waitReady(t)
	there.operate(t, "POST", "/api/exchanges/%2F/amq.default/publish", map[string]any{
		"routing_key": jobs, "properties": map[string]any{"message_id": "m2"}, "payload": "x", "payload_encoding": "string",
	})
	eventually(t, "the node that was killed tells the story", func() error {
		all, err := showTrace(leader, "story", "--message", "m1")
		if err == nil && (story(all) != want || !strings.HasPrefix(all[0].Connection, from)) {
			err = fmt.Errorf("it tells\n%s\nof %+v", story(all), all)
		}
		return err
	})
	eventually(t, "the other message is told of", func() error {
		all, err := showTrace(leader, "story", "--message", "m2")
		if err == nil && (len(all) == 0 || all[0].Event != "published" || all[0].Connection != "HTTP API" || all[0].Node != there.name) {
			err = fmt.Errorf("it tells %+v", all)
		}
		return err
	})
	third.ctl(t, "stop_trace", "story")
	if out := third.ctl(t, "-q", "list_traces", "name,state"); !strings.Contains(out, "story\tended") {
		t.Error(out)
	}
	if out := third.ctl(t, "-q", "show_trace", "story", "--follow", "event"); !strings.Contains(out, "dead_lettered") { // and ends
		t.Error(out)
	}
	third.ctl(t, "delete_trace", "story")
	if out, err := leader.tryCtl("show_trace", "story"); err == nil || !strings.Contains(out, "Trace 'story' does not exist in virtual host '/'") {
		t.Errorf("%v %s", err, out)
	}
}

// tracedBy reports whether so many nodes follow the messages of a trace.
func tracedBy(n *node, name string, nodes int) error {
	var told struct{ Nodes []struct{ Name string } }
	err := n.getJSON("/api/trace/%2F/"+name+"/events", &told)
	if err == nil && len(told.Nodes) != nodes {
		err = fmt.Errorf("%d of %d nodes do", len(told.Nodes), nodes)
	}
	return err
}

// TestSetLogLevel: a running node changes what it logs, one or all of them.
func TestSetLogLevel(t *testing.T) {
	skipWithPeer(t)
	n := startCluster(t, 1).node(0)
	n.ctl(t, "set_log_level", "debug")
	if n.logged(t, "log level set") != 1 {
		t.Error("the change is not logged")
	}
	n.ctl(t, "set_log_level", "error", "--all-nodes")
	before := n.logged(t, "level=INFO")
	n.ctl(t, "set_log_level", "error", n.name) // tells of it at info
	if after := n.logged(t, "level=INFO"); after != before {
		t.Errorf("%d lines of level info were logged after it was set to error", after-before)
	}
	out, err := n.tryCtl("set_log_level", "loud")
	if err == nil || !strings.Contains(out, "level must be debug, info, warning or error") {
		t.Errorf("%v %s", err, out)
	}
}
