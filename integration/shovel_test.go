package integration

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A shovelled is a shovel as the API lists it.
type shovelled struct {
	Name, VHost, State, Node, Reason, Type string
	SrcURI                                 string `json:"src_uri"`
	DestURI                                string `json:"dest_uri"`
	SrcQueue                               string `json:"src_queue"`
	Forwarded, Pending                     int
	Remaining                              any
}

func setShovel(t testing.TB, n *node, name string, value map[string]any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	n.ctl(t, "set_parameter", "shovel", name, string(text))
	t.Cleanup(func() { _, _ = n.tryCtl("delete_shovel", name) })
}

// shovelOf returns the status of a shovel; an empty one when there is none of that name.
func shovelOf(n *node, name string) (one shovelled, err error) {
	var all []shovelled
	if err := n.getJSON("/api/shovels", &all); err != nil {
		return one, err
	}
	for _, s := range all {
		if s.Name == name {
			one = s
		}
	}
	return one, nil
}

func awaitShovel(t testing.TB, n *node, name, state string) (s shovelled) {
	t.Helper()
	eventually(t, "shovel "+name+" is "+state, func() (err error) {
		if s, err = shovelOf(n, name); err == nil && s.State != state {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
	return s
}

// awaitGone waits until a shovel has deleted itself.
func awaitGone(t testing.TB, n *node, name string) {
	t.Helper()
	eventually(t, "shovel "+name+" has ended", func() error {
		if s, err := shovelOf(n, name); err != nil || s.Name != "" {
			return fmt.Errorf("it is %+v, %v", s, err)
		}
		return nil
	})
}

// fillNumbers publishes messages with the numbers 0 to n-1, confirmed.
func fillNumbers(t testing.TB, ch *amqp.Channel, queue string, n int) {
	t.Helper()
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var last *amqp.DeferredConfirmation
	for i := range n {
		c, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{
			Body: fmt.Append(nil, i), DeliveryMode: amqp.Persistent, MessageId: fmt.Sprint(i), Headers: amqp.Table{"n": int64(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
		last = c
	}
	if !receiveConfirm(t, last) {
		t.Fatal("a message was not confirmed")
	}
}

// moved takes everything out of a queue and wants the numbers 0 to n-1, each at least once and in order but for what
// comes again.
func moved(t testing.TB, node *node, queue string, n int) {
	t.Helper()
	highest, again := -1, 0
	for _, a := range drainQueue(t, node, queue) {
		i := int(a.seq)
		switch {
		case i == highest+1:
			highest = i
		case i <= highest:
			again++
		default:
			t.Fatalf("%d comes after %d", i, highest)
		}
	}
	if highest != n-1 {
		t.Errorf("%d of %d messages arrived", highest+1, n)
	}
	t.Logf("%d messages, %d of them again", n, again)
}

// TestShovel moves the messages of a queue to another cluster, with a password, while the leader that runs the shovel
// is killed: none is lost and the order is kept. Then the shovel is gone and the source is empty.
//
// row: 1.11 shovel
func TestShovel(t *testing.T) {
	skipWithPeer(t)
	const count = 8000
	c := startCluster(t, 3)
	there := sharedCluster(t, 1).node(0)
	ch := open(t, c.node(0))
	src := declare(t, ch, c.node(0), nil)
	dest := unique(t)
	deleteAtEnd(t, there, dest)
	fillNumbers(t, ch, src, count)
	there.addUser(t, "mover", "s3cret", "")
	there.permit(t, "mover", ".*", ".*", ".*")
	name := unique(t)
	setShovel(t, c.node(0), name, map[string]any{
		"src-uri": "amqp://", "src-queue": src, "src-delete-after": "queue-length",
		// The first address is nobody's.
		"dest-uri":   []string{"amqp://127.0.0.1:1", strings.Replace(there.url, "guest:guest", "mover:s3cret", 1)},
		"dest-queue": dest, "prefetch-count": 20, "add-forward-headers": true, "add-timestamp-header": true,
	})
	eventually(t, "the shovel moves messages", func() error {
		s, err := shovelOf(c.node(1), name)
		if err == nil && s.Forwarded == 0 {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
	s, err := shovelOf(c.node(1), name)
	if err != nil {
		t.Fatal(err)
	}
	leader := c.leader(t)
	if s.Node != leader.name || s.Type != "dynamic" || s.SrcQueue != src || strings.Contains(s.DestURI, "mover") {
		t.Errorf("the shovel is shown as %+v; %s leads", s, leader.name)
	}
	leader.kill(t)
	rest := c.others(leader)
	awaitGone(t, rest[0], name)
	if s.Forwarded == count {
		t.Error("all was moved before the leader was killed")
	}
	if left := len(drainQueue(t, rest[0], src)); left != 0 {
		t.Errorf("%d messages are left at the source", left)
	}
	d, ok, err := open(t, there).Get(dest, false)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	trail, _ := d.Headers["x-shovelled"].([]any)
	if len(trail) != 1 || trail[0].(amqp.Table)["shovel-name"] != name || d.Headers["n"] != int64(0) || d.MessageId != "0" {
		t.Errorf("the message came as %+v", d)
	}
	if _, ok := d.Headers["x-shovelled-timestamp"].(int64); !ok {
		t.Errorf("x-shovelled-timestamp is %v", d.Headers["x-shovelled-timestamp"])
	}
	if err := d.Nack(false, true); err != nil {
		t.Fatal(err)
	}
	moved(t, there, dest, count)
	for _, n := range c.nodes {
		if n.logged(t, "s3cret") > 0 {
			t.Errorf("%s logs the password", n.name)
		}
	}
}

// TestShovelKinds goes through the modes of acknowledgement, both protocols, exchanges on both sides and numbers of messages.
func TestShovelKinds(t *testing.T) {
	skipWithPeer(t)
	c := sharedCluster(t, 3)
	n := c.node(0)
	for _, mode := range []string{"on-confirm", "on-publish", "no-ack"} {
		t.Run(mode, func(t *testing.T) {
			ch := open(t, n)
			src, dest, name := declare(t, ch, n, nil), declare(t, ch, n, nil), unique(t)
			fillNumbers(t, ch, src, 300)
			setShovel(t, n, name, map[string]any{
				"src-uri": "amqp://", "src-queue": src, "src-protocol": "local", "src-delete-after": "queue-length",
				"dest-uri": n.url, "dest-queue": dest, "ack-mode": mode, "prefetch-count": 10,
				"publish-properties": map[string]any{"delivery_mode": 2, "app_id": "moved"},
			})
			awaitGone(t, c.node(1), name)
			moved(t, n, dest, 300)
		})
	}
	t.Run("number", func(t *testing.T) {
		ch := open(t, n)
		src, dest, name := declare(t, ch, n, nil), declare(t, ch, n, nil), unique(t)
		fillNumbers(t, ch, src, 100)
		setShovel(t, n, name, map[string]any{
			"src-uri": "amqp://", "src-queue": src, "src-delete-after": 40, "dest-uri": "amqp://", "dest-queue": dest,
		})
		awaitGone(t, n, name)
		moved(t, n, dest, 40)
		if left := len(drainQueue(t, n, src)); left != 60 {
			t.Errorf("%d messages are left, want 60", left)
		}
	})
	t.Run("exchanges", func(t *testing.T) {
		ch := open(t, n)
		dest, name, x := declare(t, ch, n, nil), unique(t), unique(t)
		if err := ch.ExchangeDeclare(x, "fanout", false, true, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(dest, "a.key", "amq.topic", false, nil); err != nil {
			t.Fatal(err)
		}
		setShovel(t, n, name, map[string]any{
			"src-uri": "amqp://", "src-exchange": x, "src-exchange-key": "", "dest-uri": "amqp://", "dest-exchange": "amq.topic", "dest-exchange-key": "a.key",
		})
		awaitShovel(t, n, name, "running")
		// Properties that a client cannot set in its own name pass, too.
		publishTo(t, ch, x, "other", amqp.Publishing{Body: []byte("0"), UserId: "guest"})
		d := next(t, consume(t, ch, dest), "0")
		if d.RoutingKey != "a.key" || d.UserId != "guest" {
			t.Errorf("it came as %+v", d)
		}
	})
}

// TestShovelFails looks at shovels that cannot go on: they tell why, lose nothing, and go on when they can.
func TestShovelFails(t *testing.T) {
	skipWithPeer(t)
	c := sharedCluster(t, 3)
	n := c.node(0)
	ch := open(t, n)
	src, name := declare(t, ch, n, nil), unique(t)
	dest := unique(t)
	deleteAtEnd(t, n, dest)
	fillNumbers(t, ch, src, 20)
	value := map[string]any{
		"src-uri": "amqp://", "src-queue": src, "dest-uri": "amqp://", "dest-queue": dest, "dest-predeclared": true, "reconnect-delay": 0.1,
	}
	setShovel(t, n, name, value)
	eventually(t, "the shovel tells that its queue is missing", func() error {
		s, err := shovelOf(c.node(1), name)
		if err == nil && (s.State != "terminated" || !strings.Contains(s.Reason, "no queue")) {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
	// A queue that is full refuses: nothing is acknowledged.
	declareNamed(t, ch, n, dest, amqp.Table{"x-max-length": 5, "x-overflow": "reject-publish"})
	eventually(t, "the shovel tells that the queue is full", func() error {
		s, err := shovelOf(c.node(1), name)
		if err == nil && !strings.Contains(s.Reason, "refused") {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
	got := consume(t, ch, dest)
	seen := make(map[string]bool)
	for len(seen) < 20 {
		d := receive(t, "another message", got)
		seen[string(d.Body)] = true
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	awaitShovel(t, n, name, "running")
	before, err := shovelOf(n, name)
	if err != nil || before.Forwarded != 20 {
		t.Errorf("it is %+v, %v", before, err)
	}
	c.node(2).ctl(t, "restart_shovel", name)
	if s := awaitShovel(t, n, name, "running"); s.Forwarded != 0 {
		t.Errorf("the restarted shovel has moved %d", s.Forwarded)
	}
	if out := c.node(1).ctl(t, "shovel_status", "-s", "name", "state", "source"); !strings.Contains(out, name+"\trunning\tamqp:") {
		t.Errorf("shovel_status prints %s", out)
	}
	c.node(1).ctl(t, "delete_shovel", name)
	awaitGone(t, n, name)
	if out, err := n.tryCtl("restart_shovel", name); err == nil {
		t.Errorf("a shovel that is gone restarts: %s", out)
	}
	// It consumes no more.
	fillNumbers(t, open(t, n), src, 1)
	time.Sleep(100 * time.Millisecond)
	if left := len(drainQueue(t, n, src)); left != 1 {
		t.Errorf("%d messages are left, want 1", left)
	}
}

// TestShovelRights wants a policymaker to set no shovel into a vhost that is closed to him, as it would need no password.
func TestShovelRights(t *testing.T) {
	skipWithPeer(t)
	n := sharedCluster(t, 3).node(0)
	user, vhost := unique(t), unique(t)
	n.addUser(t, user, "p", "policymaker")
	n.permit(t, user, "", "", "")
	n.ctl(t, "add_vhost", vhost)
	t.Cleanup(func() { n.ctl(t, "delete_vhost", vhost) })
	set := func(uri string) int {
		status, _ := n.api(t, user, "p", "PUT", "/api/parameters/shovel/%2F/"+unique(t), map[string]any{
			"value": map[string]any{"src-uri": uri, "src-queue": "q", "src-predeclared": true, "dest-uri": "amqp://nobody.invalid"},
		})
		return status
	}
	if status := set("amqp:///" + vhost); status != http.StatusBadRequest {
		t.Errorf("into the closed vhost: %d", status)
	}
	if status := set("amqp://" + user + ":p@/" + vhost); status != http.StatusCreated {
		t.Errorf("with a login of his own: %d", status)
	}
	if status := set("amqp:///%2f"); status != http.StatusCreated {
		t.Errorf("into his own vhost: %d", status)
	}
}

// TestShovelCommand moves messages with a process of its own, between two brokers.
func TestShovelCommand(t *testing.T) {
	skipWithPeer(t)
	from, to := sharedCluster(t, 3).node(0), sharedCluster(t, 1).node(0)
	ch := open(t, from)
	src, dest := declare(t, ch, from, nil), unique(t)
	deleteAtEnd(t, to, dest)
	fillNumbers(t, ch, src, 500)
	t.Setenv("WARRENCTL_SRC_URI", from.url)
	out := from.ctl(t, "shovel", "--src-queue", src, "--dest-uri", to.url, "--dest-queue", dest, "--count", "200")
	if !strings.Contains(out, "200 messages moved") {
		t.Errorf("it prints %s", out)
	}
	from.ctl(t, "shovel", "-q", "--src-queue", src, "--dest-uri", to.url, "--dest-queue", dest)
	moved(t, to, dest, 500)
	if out, err := from.tryCtl("shovel", "--src-queue", src); err == nil || !strings.Contains(out, "dest-uri") {
		t.Errorf("without a destination: %v, %s", err, out)
	}
}

// TestShovelTLS moves messages over TLS, logged in by a certificate, and trusts no other side than the one that it is told to.
func TestShovelTLS(t *testing.T) {
	a := newAuthority(t)
	_, nodes := startSecure(t, a, 1)
	to, from := nodes[0], sharedCluster(t, 1).node(0)
	a.issue(t, "shovel", "guest")
	ch := open(t, from)
	src, name := declare(t, ch, from, nil), unique(t)
	fillNumbers(t, ch, src, 20)
	set := func(uri string) {
		setShovel(t, from, name, map[string]any{
			"src-uri": "amqp://", "src-queue": src, "dest-uri": uri, "dest-queue": "secure", "src-delete-after": "queue-length", "reconnect-delay": 0.1,
		})
	}
	_, port, _ := strings.Cut(to.amqps, ":")
	set("amqps://guest:guest@localhost:" + port)
	eventually(t, "the shovel does not trust the certificate", func() error {
		s, err := shovelOf(from, name)
		if err == nil && !strings.Contains(s.Reason, "certificate") {
			err = fmt.Errorf("it is %+v", s)
		}
		return err
	})
	files := "?cacertfile=" + a.file("ca") + "&certfile=" + a.file("shovel") + "&keyfile=" + a.file("shovel-key") + "&auth_mechanism=external"
	set("amqps://localhost:" + port + files)
	awaitGone(t, from, name)
	conn, err := dialTLS(t, to, &tls.Config{RootCAs: a.pool}, guest)
	if err != nil {
		t.Fatal(err)
	}
	got := consume(t, channel(t, conn), "secure")
	for i := range 20 {
		next(t, got, fmt.Sprint(i))
	}
	// verify=verify_none trusts whoever answers.
	fillNumbers(t, open(t, from), src, 1)
	set("amqps://guest:guest@localhost:" + port + "?verify=verify_none")
	awaitGone(t, from, name)
	next(t, got, "0")
}
