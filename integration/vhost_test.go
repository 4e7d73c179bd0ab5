package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/proc"
)

// admin sends a request to a node's HTTP API and returns status and body.
func (n *node) admin(t testing.TB, method, path string, body any, header ...string) (int, string) {
	t.Helper()
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, "http://"+n.http+"/api/"+path, &b)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := proc.HTTP.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(out)
}

// wantAPI sends a request that must give the status.
func (n *node) wantAPI(t testing.TB, status int, method, path string, body any, header ...string) {
	t.Helper()
	if got, out := n.admin(t, method, path, body, header...); got != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, got, status, out)
	}
}

// dialVHost connects to a vhost of a node.
func dialVHost(n *node, vhost string) (*amqp.Connection, error) {
	return amqp.DialConfig("amqp://guest:guest@"+n.amqp, amqp.Config{Vhost: vhost, Dial: amqp.DefaultDial(patience)})
}

// inVHost connects to a vhost and opens a channel; both end with the test.
func inVHost(t testing.TB, n *node, vhost string) (*amqp.Connection, *amqp.Channel) {
	t.Helper()
	conn, err := dialVHost(n, vhost)
	if err != nil {
		t.Fatalf("connect to vhost %q of %s: %v", vhost, n.name, err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
			t.Logf("close connection: %v", err)
		}
	})
	return conn, channel(t, conn)
}

// makeVHost makes a vhost that goes with the test.
func makeVHost(t testing.TB, n *node, name string, body any) {
	t.Helper()
	n.wantAPI(t, http.StatusCreated, http.MethodPut, "vhosts/"+url.PathEscape(name), body)
	t.Cleanup(func() {
		if n.running() {
			n.admin(t, http.MethodDelete, "vhosts/"+url.PathEscape(name), nil)
		}
	})
}

// bothSizes runs a test against one node and against three.
func bothSizes(t *testing.T, test func(t *testing.T, c *cluster)) {
	skipWithPeer(t)
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) { test(t, sharedCluster(t, size)) })
	}
}

// TestVHostsAreApart uses equal names in two vhosts, at different nodes.
//
// row: 1.7 vhosts
func TestVHostsAreApart(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		// As in a path and a URL nothing may be taken for something else.
		one, two := unique(t)+"/ü %2F", unique(t)
		makeVHost(t, c.node(0), one, nil)
		makeVHost(t, c.node(1), two, nil)
		const q = "same"
		var channels []*amqp.Channel
		for i, vhost := range []string{one, two} {
			_, ch := inVHost(t, c.node(i+1), vhost)
			channels = append(channels, ch)
			if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
				t.Fatal(err)
			}
			if err := ch.ExchangeDeclare(q, "fanout", true, false, false, false, nil); err != nil {
				t.Fatal(err)
			}
			if err := ch.ExchangeDeclarePassive("amq.rabbitmq.trace", "topic", true, false, true, false, nil); err != nil {
				t.Fatal(err)
			}
			if err := ch.QueueBind(q, "", q, false, nil); err != nil {
				t.Fatal(err)
			}
			if err := ch.Confirm(false); err != nil {
				t.Fatal(err)
			}
			confirmed(t, ch, q, "", amqp.Publishing{Body: []byte(vhost)})
		}
		for i, vhost := range []string{one, two} {
			get(t, channels[i], q, vhost)
			wantDepth(t, channels[i], q, 0)
			eventually(t, "messages of the vhost", func() error {
				var v struct{ Messages int }
				if err := c.node(2).getJSON("/api/vhosts/"+url.PathEscape(vhost), &v); err != nil || v.Messages != 1 {
					return fmt.Errorf("%q has %d messages: %v", vhost, v.Messages, err)
				}
				return nil
			})
		}
		// A transaction and an unknown exchange stay inside.
		_, tx := inVHost(t, c.node(0), two)
		if err := tx.Tx(); err != nil {
			t.Fatal(err)
		}
		publish(t, tx, q, "in two")
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		get(t, channels[1], q, "in two")
		wantDepth(t, channels[0], q, 0)
	})
}

// TestRepliesStayInVHost: a direct reply from another vhost finds nobody.
func TestRepliesStayInVHost(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		vhost := unique(t)
		makeVHost(t, c.node(0), vhost, nil)
		asker := open(t, c.node(0))
		replies, err := asker.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		server := open(t, c.node(1))
		q := declare(t, server, c.node(1), nil)
		publishTo(t, asker, "", q, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to"})
		d := next(t, consume(t, server, q), "")
		_, stranger := inVHost(t, c.node(2), vhost)
		returns := stranger.NotifyReturn(make(chan amqp.Return, 1))
		if err := stranger.Publish("", d.ReplyTo, true, false, amqp.Publishing{Body: []byte("from outside")}); err != nil {
			t.Fatal(err)
		}
		receive(t, "the reply as a return", returns)
		publishTo(t, server, "", d.ReplyTo, amqp.Publishing{Body: []byte("inside")})
		next(t, replies, "inside")
	})
}

// TestUnknownVHost checks the text that clients know from RabbitMQ.
//
// row: 1.1 connection.open
func TestUnknownVHost(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		for _, name := range []string{"no such vhost", "%2F", ""} {
			_, err := dialVHost(c.node(0), name)
			if name == "" { // amqp091-go asks for "/" then
				continue
			}
			refusal(t, err, 530, "NOT_ALLOWED - vhost "+name+" not found")
		}
	})
}

// TestVHostDeleted: all that was in it is gone, and its connections are closed on every
// node with RabbitMQ's words; those of other vhosts are not.
//
// row: 1.7 vhosts; 1.1 close by operator
func TestVHostDeleted(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		vhost := unique(t)
		makeVHost(t, c.node(0), vhost, map[string]any{"protected_from_deletion": true})
		bystander := dial(t, c.node(1))
		var closed []chan *amqp.Error
		for i := range 3 {
			conn, ch := inVHost(t, c.node(i), vhost)
			closed = append(closed, conn.NotifyClose(make(chan *amqp.Error, 1)))
			if i == 0 {
				continue // it holds nothing
			}
			q, err := ch.QueueDeclare(fmt.Sprint("q", i), false, false, i == 1, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			publish(t, ch, q.Name, "m")
			next(t, consume(t, ch, q.Name), "m")
		}
		path := "vhosts/" + url.PathEscape(vhost)
		c.node(0).wantAPI(t, http.StatusPreconditionFailed, http.MethodDelete, path, nil)
		c.node(1).wantAPI(t, http.StatusNoContent, http.MethodDelete, path+"/deletion/protection", nil)
		c.node(2).wantAPI(t, http.StatusNoContent, http.MethodDelete, path, nil)
		for _, ch := range closed {
			err := receive(t, "the end of a connection", ch)
			refusal(t, err, 320, "CONNECTION_FORCED - vhost '"+vhost+"' is deleted")
		}
		_, err := dialVHost(c.node(0), vhost)
		refusal(t, err, 530, "NOT_ALLOWED - vhost "+vhost+" not found")
		usable(t, bystander)
		c.node(0).wantAPI(t, http.StatusNotFound, http.MethodGet, "queues/"+url.PathEscape(vhost), nil)
		// One of the same name is a new one.
		c.node(0).wantAPI(t, http.StatusCreated, http.MethodPut, path, nil)
		_, ch := inVHost(t, c.node(1), vhost)
		_, err = ch.QueueDeclarePassive("q1", false, false, false, false, nil)
		refusal(t, err, 404, "NOT_FOUND - no queue 'q1' in vhost '"+vhost+"'")
	})
}

// TestVHostRace opens connections while their vhost comes and goes: each is refused, or
// closed in the end, and none outlives the vhost.
func TestVHostRace(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		for round := range 5 {
			vhost := unique(t)
			makeVHost(t, c.node(round), vhost, nil)
			ends := make(chan error, 12)
			for i := range cap(ends) {
				go func() {
					conn, err := dialVHost(c.node(i), vhost)
					if err == nil {
						if e, ok := <-conn.NotifyClose(make(chan *amqp.Error, 1)); ok {
							err = e
						}
					}
					ends <- err
				}()
			}
			c.node(round+1).wantAPI(t, http.StatusNoContent, http.MethodDelete, "vhosts/"+url.PathEscape(vhost), nil)
			for range cap(ends) {
				err := receive(t, "the end of a connection", ends)
				var e *amqp.Error
				switch {
				case err == nil: // it was closed before it could be told
				case errors.As(err, &e) && e.Code == 320: // closed
				case errors.As(err, &e) && e.Code == 530: // refused
				default:
					t.Errorf("a connection ended with %v", err)
				}
			}
		}
	})
}

// TestDefaultQueueType: queues that name no type get the vhost's.
//
// row: 1.5 x-queue-type
func TestDefaultQueueType(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		vhost := unique(t)
		makeVHost(t, c.node(0), vhost, map[string]any{"default_queue_type": "quorum", "description": "d", "tags": "a,b"})
		_, ch := inVHost(t, c.node(1), vhost)
		for name, exclusive := range map[string]bool{"plain": false, "mine": true} {
			for range 2 {
				if _, err := ch.QueueDeclare(name, true, false, exclusive, false, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		eventually(t, "types of the queues", func() error {
			var queues []struct {
				Name, Type string
				Arguments  map[string]any
			}
			if err := c.node(2).getJSON("/api/queues/"+url.PathEscape(vhost)+"?sort=name", &queues); err != nil {
				return err
			}
			if len(queues) != 2 || queues[0].Type != "classic" || queues[1].Type != "quorum" || queues[1].Arguments["x-queue-type"] != "quorum" {
				return fmt.Errorf("queues are %+v", queues)
			}
			return nil
		})
	})
}
