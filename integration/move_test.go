package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/proc"
)

// page is what a node shows of a queue's messages.
type page struct {
	Messages []struct {
		Sequence, State, Payload, Exchange string
		Key                                string `json:"routing_key"`
		Redelivered                        bool
	}
	Next *string
}

func browsePage(t testing.TB, n *node, queue, query string) page {
	t.Helper()
	status, body := n.api(t, "guest", "guest", "GET", "/api/queues/%2F/"+queue+"/messages?"+query, nil)
	var p page
	if err := json.Unmarshal([]byte(body), &p); status != 200 || err != nil {
		t.Fatalf("browse %s: %d %s %v", queue, status, body, err)
	}
	return p
}

// browseAll looks at a whole queue page by page, and returns its payloads.
func browseAll(t testing.TB, n *node, queue, query string) []string {
	t.Helper()
	var all []string
	from := ""
	for {
		p := browsePage(t, n, queue, "count=400&from="+from+"&"+query)
		for _, m := range p.Messages {
			all = append(all, m.Payload)
		}
		if p.Next == nil {
			return all
		}
		from = *p.Next
	}
}

func numbers(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// TestBrowse looks at messages in all states, on every node, also when they are on disk only, and finds that nothing
// changed by that.
func TestBrowse(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			testBrowse(t, startCluster(t, size))
		})
	}
}

func testBrowse(t *testing.T, c *cluster) {
	const count = 1000
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	declareNamed(t, ch, c.node(0), "q", amqp.Table{"x-delivery-limit": int32(0)})
	for i := range count - 1 {
		publishTo(t, ch, "", "q", amqp.Publishing{Body: fmt.Append(nil, i), Headers: amqp.Table{"tens": int32(i / 10)}})
	}
	confirmed(t, ch, "", "q", amqp.Publishing{Body: fmt.Append(nil, count-1), Headers: amqp.Table{"tens": int32(99)}})
	if err := get(t, ch, "q", "0").Nack(false, true); err != nil { // once too often
		t.Fatal(err)
	}
	get(t, ch, "q", "1")
	look := func(unacked bool) {
		t.Helper()
		for _, n := range c.nodes {
			ready := numbers(1, count)
			if unacked {
				ready = ready[1:]
			}
			eventually(t, n.name+" shows the parked message", func() error {
				if got := browseAll(t, n, "q", "state=parked"); !slices.Equal(got, []string{"0"}) {
					return fmt.Errorf("it shows %v", got)
				}
				return nil
			})
			if got := browseAll(t, n, "q", "state=ready"); !slices.Equal(got, ready) {
				t.Errorf("%s shows %d messages as ready: %v", n.name, len(got), got)
			}
			if got := browseAll(t, n, "q", `headers={"tens":50}`); !slices.Equal(got, numbers(500, 510)) {
				t.Errorf("%s finds %v by their header", n.name, got)
			}
			for _, m := range browsePage(t, n, "q", "count=2&state=ready").Messages {
				if m.Redelivered != (m.Payload == "1") {
					t.Errorf("%s shows %+v", n.name, m)
				}
			}
		}
	}
	look(true)
	if p := browsePage(t, c.node(1), "q", "state=unacknowledged"); len(p.Messages) != 1 || p.Messages[0].Payload != "1" || p.Next != nil {
		t.Errorf("unacknowledged are %+v", p)
	}
	if out := c.node(2).ctl(t, "browse", "-q", "q", "--state", "parked"); !strings.Contains(out, "parked") || strings.Count(out, "\n") != 2 {
		t.Errorf("warrenctl browse prints\n%s", out)
	}
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	eventually(t, "what was unacknowledged is ready", func() error {
		if p := browsePage(t, c.node(0), "q", "state=unacknowledged"); len(p.Messages) > 0 {
			return fmt.Errorf("%+v is not", p)
		}
		return nil
	})
	look(false)
	ch = open(t, c.node(1))
	if d := get(t, ch, "q", "1"); !d.Redelivered {
		t.Error("what was given out is not marked as redelivered")
	}
	if d := get(t, ch, "q", "2"); d.Redelivered {
		t.Error("what was looked at is marked as redelivered")
	}
	// An operator lets the parked message go back.
	if out := c.node(0).ctl(t, "move", "-q", "q", "--to-queue", "q", "--parked"); out != "1 messages were moved\n" {
		t.Errorf("warrenctl move prints %s", out)
	}
	if got := browseAll(t, c.node(2), "q", "state=ready"); !slices.Equal(got, append(numbers(3, count), "0")) {
		t.Errorf("with the parked message back there are %d: %v", len(got), got)
	}
}

// TestMoveThroughLeaderKills moves dead letters back to where they came from, in steps, while leaders are killed: none is
// lost and none comes twice.
func TestMoveThroughLeaderKills(t *testing.T) {
	t.Parallel()
	const count = 6000
	c := startCluster(t, 3)
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"in", "dlx"} {
		if err := ch.ExchangeDeclare(name, "fanout", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	declareNamed(t, ch, c.node(0), "work", amqp.Table{"x-dead-letter-exchange": "dlx", "x-message-ttl": int32(0)})
	declareNamed(t, ch, c.node(0), "dead", nil)
	for queue, exchange := range map[string]string{"work": "in", "dead": "dlx"} {
		if err := ch.QueueBind(queue, "", exchange, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count - 1 {
		publishTo(t, ch, "in", fmt.Sprint("key ", i), amqp.Publishing{Body: fmt.Append(nil, i)})
	}
	confirmed(t, ch, "in", fmt.Sprint("key ", count-1), amqp.Publishing{Body: fmt.Append(nil, count-1)})
	wantDepth(t, ch, "dead", count)
	// The queue comes anew, and lets messages wait.
	if _, err := ch.QueueDelete("work", false, false, false); err != nil {
		t.Fatal(err)
	}
	declareNamed(t, ch, c.node(0), "work", nil)

	moved := 0
	for round := 0; moved < count; round++ {
		if round > 100 {
			t.Fatalf("%d of %d messages were moved in %d rounds", moved, count, round)
		}
		leader := c.leader(t)
		answers := make(chan moveAnswer, 1)
		asked := c.others(leader)[round%2]
		go func() { answers <- redrive(asked, 1500) }() // two steps, each an entry
		leader.kill(t)
		answer := receive(t, "answer to a move", answers)
		if answer.err != nil {
			t.Fatalf("move: %v", answer.err)
		}
		moved += answer.Moved
		leader.start(t)
		c.waitReady(t)
	}
	c.waitReady(t)
	there := open(t, c.node(2))
	wantDepth(t, there, "dead", 0)
	wantDepth(t, there, "work", count)
	for i := range count {
		d, ok, err := there.Get("work", true)
		if err != nil || !ok || string(d.Body) != fmt.Sprint(i) || d.Exchange != "in" || d.RoutingKey != fmt.Sprint("key ", i) {
			t.Fatalf("message %d is %+v, %v, %v", i, d, ok, err)
		}
	}
}

type moveAnswer struct {
	Moved int
	err   error
}

// redrive lets a node move dead letters back to the queue that they died in first.
func redrive(n *node, count int) (a moveAnswer) {
	body := fmt.Sprintf(`{"to":{"redrive":"first"},"count":%d}`, count)
	req, err := http.NewRequest("POST", "http://"+n.http+"/api/queues/%2F/dead/move", strings.NewReader(body))
	if err != nil {
		return moveAnswer{err: err}
	}
	req.SetBasicAuth("guest", "guest")
	resp, err := proc.HTTP.Do(req)
	if err != nil {
		return moveAnswer{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%d %s", resp.StatusCode, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	a.err = err
	return a
}

// TestRoutePreview asks every node where a message would go, and publishes one to see that it does.
func TestRoutePreview(t *testing.T) {
	c := sharedCluster(t, 3)
	if c.peer {
		t.Skip("a peer has no such thing")
	}
	ch := open(t, c.node(0))
	exchange, q := unique(t), unique(t)
	if err := ch.ExchangeDeclare(exchange, "topic", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	declareNamed(t, ch, c.node(0), q, nil)
	if err := ch.QueueBind(q, "a.*.#", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		eventually(t, n.name+" knows the way", func() error {
			out, err := n.tryCtl("route", "-q", exchange, "a.b.c", "why", "destination_name", "routing_key")
			if want := "why\tdestination_name\trouting_key\nbinding\t" + q + "\ta.*.#\n"; out != want {
				return fmt.Errorf("it says %q (%v), want %q", out, err, want)
			}
			return nil
		})
	}
	if out := c.node(1).ctl(t, "route", exchange, "b"); !strings.Contains(out, "No queue gets it.") {
		t.Errorf("it says %s", out)
	}
	wantDepth(t, ch, q, 0)
	publishTo(t, ch, exchange, "a.b.c", amqp.Publishing{})
	wantDepth(t, ch, q, 1)
}
