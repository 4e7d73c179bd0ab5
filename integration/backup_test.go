package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/proc"
)

// restored is a cluster of one node whose data directory was made of a backup; it is not started.
func restored(t *testing.T, file string, o options) *cluster {
	t.Helper()
	c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 3, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	out, err := warren(c.node(0).bin, "restore", file, "--data-dir", c.node(0).dir)
	if err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return c
}

// warren runs a command of the server's program.
func warren(bin string, args ...string) (string, error) {
	cmd := exec.Command(bin, args...)
	cmd.Env = proc.WithoutSettings(os.Environ())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestBackup takes a backup of three nodes under load, from a follower, and makes a new cluster of it,
// which others join: everything that was confirmed before is there, in order, with users and
// policies, and what belonged to connections is not.
func TestBackup(t *testing.T) {
	t.Parallel()
	// Messages leave memory and their files, and snapshots come by themselves meanwhile.
	small := options{args: []string{"--snapshot-bytes", "4MiB", "--message-memory", "1MiB", "--segment-bytes", "2MiB"}}
	c := startClusterWith(t, 3, small)
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	backupState(t, c, ch)
	const backlog, count = "backlog", 20_000
	declareNamedDurable(t, ch, backlog)
	publishNumbered(t, ch, backlog, count)
	flows := startFlows(t, c)
	progress(t, flows, 300)

	// A queue into which somebody publishes all the time.
	if _, err := ch.QueueDeclare("busy", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	p := &loadPublisher{cluster: c, queue: "busy", node: c.node(1), history: newHistory()}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "confirms", func() error {
		if p.count() < 500 {
			return fmt.Errorf("%d confirms", p.count())
		}
		return nil
	})
	before := p.count()
	file := filepath.Join(t.TempDir(), "cluster.backup")
	follower := c.others(c.leader(t))[0]
	out := follower.ctl(t, "backup", file)
	if !strings.Contains(out, "checksum right") {
		t.Errorf("warrenctl backup said:\n%s", out)
	}
	p.stop()
	for _, f := range flows {
		f.finish(t)
		for _, err := range f.check(loss{}) {
			t.Error(err)
		}
	}
	c.end(false, t.Logf) // nothing of it is left

	again := restored(t, file, small)
	again.node(0).start(t)
	again.node(0).waitReady(t)
	if id := again.node(0).ctl(t, "cluster_status"); strings.Contains(id, "n2") {
		t.Errorf("the new cluster knows nodes of the old one:\n%s", id)
	}
	for _, n := range again.nodes[1:] {
		n.start(t)
	}
	again.waitReady(t)
	eventually(t, "three voters", func() error { return voters(again.node(0), 3) })
	n := again.node(2)
	wantBackupState(t, n)
	arrivals := drainQueue(t, n, "busy")
	if uint64(len(arrivals)) < before {
		t.Errorf("%d messages of the %d that were confirmed before the backup began", len(arrivals), before)
	}
	for i, a := range arrivals {
		if a.seq != uint64(i+1) {
			t.Fatalf("message %d came as number %d", a.seq, i+1)
		}
	}
	there := open(t, n)
	wantDepth(t, there, backlog, count)
	deliveries, err := there.Consume(backlog, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		d := receive(t, "delivery", deliveries)
		if numberOf(d) != i+1 || !bytes.Equal(d.Body, pattern(1000)) {
			t.Fatalf("message %d came as %d, %d bytes", i+1, numberOf(d), len(d.Body))
		}
	}
	// It outlives a restart of all, and the loss of one.
	killAll(t, again)
	for _, n := range again.nodes {
		n.start(t)
	}
	again.waitReady(t)
	wantDepth(t, open(t, again.node(1)), "held", 10)
}

// voters wants so many.
func voters(n *node, want int) error {
	info, err := n.info()
	if err != nil {
		return err
	}
	got := 0
	for _, m := range info.Members {
		if m.Voter {
			got++
		}
	}
	if got != want {
		return fmt.Errorf("%d voters, want %d", got, want)
	}
	return nil
}

func declareNamedDurable(t testing.TB, ch *amqp.Channel, name string) {
	t.Helper()
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
}

// backupState makes what wantBackupState looks for.
func backupState(t *testing.T, c *cluster, ch *amqp.Channel) {
	t.Helper()
	n := c.node(1)
	n.ctl(t, "add_vhost", "orders")
	n.ctl(t, "add_user", "shop", "secret word")
	n.ctl(t, "set_permissions", "-p", "orders", "shop", "^shop", ".*", ".*")
	n.ctl(t, "set_policy", "short", "^short", `{"max-length":3}`)
	if err := ch.ExchangeDeclare("topics", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	declareNamedDurable(t, ch, "short")
	declareNamedDurable(t, ch, "held")
	if err := ch.QueueBind("short", "a.#", "topics", false, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		confirmed(t, ch, "topics", "a.b", amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(i))})
	}
	for i := range 10 {
		confirmed(t, ch, "", "held", amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(i))})
	}
	drainQueueN(t, ch, "held", 4) // got, and never acknowledged
	if _, err := ch.QueueDeclare("mine", false, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("transient", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
}

func wantBackupState(t *testing.T, n *node) {
	t.Helper()
	if out, err := n.tryCtl("authenticate_user", "shop", "secret word"); err != nil {
		t.Errorf("the user's password: %v\n%s", err, out)
	}
	for _, want := range []struct{ command, part string }{
		{"list_vhosts", "orders"}, {"list_policies", `{"max-length":3}`}, {"list_bindings", "a.#"}, {"list_user_permissions shop", "^shop"},
	} {
		if out := n.ctl(t, strings.Fields(want.command)...); !strings.Contains(out, want.part) {
			t.Errorf("%s lacks %s:\n%s", want.command, want.part, out)
		}
	}
	out := n.ctl(t, "list_queues", "-q", "name", "consumers")
	for _, gone := range []string{"mine", "transient"} {
		if strings.Contains(out, gone) {
			t.Errorf("queue %s belonged to what ended:\n%s", gone, out)
		}
	}
	ch := open(t, n)
	for i := range 10 {
		d, ok, err := ch.Get("held", false)
		if err != nil || !ok || string(d.Body) != strconv.Itoa(i) || d.Redelivered != (i < 4) {
			t.Errorf("message %d of those that were held: %v %q redelivered %v, %v", i, ok, d.Body, d.Redelivered, err)
		}
	}
	wantDepth(t, ch, "short", 3)
	for _, body := range []string{"2", "3", "4"} {
		get(t, ch, "short", body)
	}
	publishTo(t, ch, "topics", "a.x", amqp.Publishing{Body: []byte("routed as before")})
	wantDepth(t, ch, "short", 1)
	if err := ch.Close(); err != nil { // "held" gets its messages back
		t.Error(err)
	}
}

// TestRestoreRefusals: a file that is not whole, and a directory that is not empty, are refused, and
// a directory of a restore that was cut short does not start.
func TestRestoreRefusals(t *testing.T) {
	c := startCluster(t, 1)
	n := c.node(0)
	ch := open(t, n)
	declareNamedDurable(t, ch, "q")
	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	n.ctl(t, "backup", file)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(good)
	changed[len(changed)/2] ^= 1
	for i, test := range []struct {
		content []byte
		want    string
	}{
		{good[:len(good)-1], "damaged backup"},
		{good[:len(good)/2], "damaged backup"},
		{changed, "damaged"},
		{append(bytes.Clone(good), 0), "damaged backup"},
		{good[:5], "not a backup"},
		{[]byte("some other file, which is long enough to be one"), "not a backup"},
	} {
		bad, data := filepath.Join(dir, fmt.Sprint("bad", i)), filepath.Join(dir, fmt.Sprint("data", i))
		if err := os.WriteFile(bad, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := warren(n.bin, "restore", bad, "--data-dir", data)
		if err == nil || !strings.Contains(out, test.want) {
			t.Errorf("case %d: %v, %s", i, err, out)
		}
		if entries, err := os.ReadDir(data); err == nil && len(entries) > 1 {
			out, err := warren(n.bin, append([]string{"serve", "--data-dir", data}, n.args[5:]...)...)
			if err == nil || !strings.Contains(out, "did not come to its end") {
				t.Errorf("case %d: half a restore starts: %v, %s", i, err, out)
			}
		}
	}
	for what, data := range map[string]string{"is in use": n.dir, "is not empty": dir} {
		if out, err := warren(n.bin, "restore", file, "--data-dir", data); err == nil || !strings.Contains(out, what) {
			t.Errorf("into a directory that %s: %v, %s", what, err, out)
		}
	}
	n.ctl(t, "add_user", "looker", "looker")
	n.ctl(t, "set_user_tags", "looker", "monitoring")
	out, err := n.tryCtl("--user", "looker", "--password", "looker", "backup", filepath.Join(dir, "none"))
	if err == nil || !strings.Contains(out, "Not administrator") {
		t.Errorf("a user who may look only: %v, %s", err, out)
	}
}

// TestBackupOfNoQuorum: a node that cannot know what was confirmed gives none.
func TestBackupOfNoQuorum(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	n := c.leader(t)
	for _, other := range c.others(n) {
		other.kill(t)
	}
	file := filepath.Join(t.TempDir(), "backup")
	eventually(t, "the backup is refused", func() error {
		req, err := http.NewRequest(http.MethodGet, "http://"+n.http+"/api/backup", nil)
		if err != nil {
			return err
		}
		req.SetBasicAuth("guest", "guest")
		resp, err := proc.HTTP.Do(req)
		if err != nil {
			return nil // it waits for a quorum
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode == http.StatusOK {
			_, _ = io.Copy(io.Discard, resp.Body)
			return fmt.Errorf("a backup came")
		}
		return nil
	})
	if out, err := n.tryCtl("--timeout", "1", "backup", file); err == nil || !strings.Contains(out, "has sent nothing") {
		t.Errorf("%v, %s", err, out)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file is there")
	}
}
