package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestUI walks through the pages that nodes serve, in a real browser: integration/ui/walk.mjs says how. With
// WARREN_UI_SHOTS=DIR it leaves pictures of all pages there.
func TestUI(t *testing.T) {
	skipWithPeer(t)
	npm, program, chromium := needProgram(t, "npm"), needProgram(t, "node"), needProgram(t, "chromium")
	dir := installWalk(t, npm)
	settings := filepath.Join(t.TempDir(), "warren.conf")
	if err := os.WriteFile(settings, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := startClusterWith(t, 3, options{args: []string{"--config", settings}})
	closed := uiFixtures(t, c)

	type served struct {
		Name string `json:"name"`
		HTTP string `json:"http"`
	}
	var all []served
	for _, n := range c.nodes {
		all = append(all, served{n.name, n.http})
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	control := httptest.NewServer(processControl(c, settings))
	defer control.Close()
	cmd := exec.Command(program, "walk.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "WARREN_NODES="+string(text), "WARREN_CONTROL="+control.URL, "CHROMIUM="+chromium)
	if failed := os.Getenv("WARREN_UI_SHOTS"); failed != "" {
		cmd.Env = append(cmd.Env, "WARREN_UI_FAILED="+filepath.Join(failed, "failed.png"))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the walk ended: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	if err := <-closed; err == nil || err.Code != amqp.ConnectionForced || !strings.Contains(err.Reason, "maintenance at noon") {
		t.Errorf("the client was closed with %v", err)
	}
}

// uiFixtures makes what the walk finds there: more queues than a page holds, a user who may look at nothing much, and a client, of
// whose end the channel tells.
func uiFixtures(t *testing.T, c *cluster) <-chan *amqp.Error {
	t.Helper()
	var queues []fields
	for i := range 120 {
		queues = append(queues, fields{"name": fmt.Sprintf("many-%03d", i), "vhost": "/", "durable": true, "arguments": fields{}})
	}
	n := c.node(0)
	n.operate(t, "POST", "/api/definitions", fields{"queues": queues})
	n.addUser(t, "watcher", "watcher", "management")
	n.permit(t, "watcher", "", "", "^many")
	n.operate(t, "PUT", "/api/policies/%2F/short", fields{"pattern": "^many-00", "definition": fields{"max-length": 1000}, "apply-to": "queues"})
	n.operate(t, "PUT", "/api/operator-policies/%2F/most", fields{"pattern": ".*", "definition": fields{"max-length": 100000}, "apply-to": "queues"})
	n.operate(t, "PUT", "/api/vhost-limits/%2F/max-queues", fields{"value": 5000})
	n.operate(t, "PUT", "/api/trace/%2F/look", fields{"queue": "many-002", "seconds": 3600})
	ch := named(t, c.node(1), "publishes")
	if err := ch.Publish("", "many-002", false, false, amqp.Publishing{MessageId: "order-17", Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ch = named(t, c.node(1), "consumes") // its connection is closed on a page
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if _, err := ch.Consume("many-001", "watched", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	return closed
}

// named opens a channel of a client that pages know by what it does.
func named(t *testing.T, n *node, does string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.DialConfig(n.url, amqp.Config{Properties: amqp.Table{"connection_name": does, "capabilities": amqp.Table{"connection.blocked": true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// installWalk copies integration/ui into a directory of its own, with what its package-lock.json names.
func installWalk(t *testing.T, npm string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(moduleRoot(), "integration", "ui"))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "npm ci: %v\n%s", err, out)
	}
	return dir
}

// processControl serves POST /kill/NODE, and so on with start, pause and resume; and /settings/NODE, which has a node read a file of settings
// that is the body.
func processControl(c *cluster, settings string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{what}/{node}", func(w http.ResponseWriter, r *http.Request) {
		n := c.byName(r.PathValue("node"))
		var err error
		switch {
		case n == nil:
			err = fmt.Errorf("no node %s", r.PathValue("node"))
		case r.PathValue("what") == "kill":
			err = n.endProcess(syscall.SIGKILL)
		case r.PathValue("what") == "start":
			err = n.startProcess()
		case r.PathValue("what") == "pause":
			err = n.proc.Signal(syscall.SIGSTOP)
		case r.PathValue("what") == "resume":
			err = n.proc.Signal(syscall.SIGCONT)
		case r.PathValue("what") == "settings":
			err = reloadWith(n, settings, r.Body)
		default:
			err = fmt.Errorf("no such order: %s", r.PathValue("what"))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// reloadWith has a node take up settings.
func reloadWith(n *node, file string, text io.Reader) error {
	all, err := io.ReadAll(text)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		return err
	}
	out, err := n.tryCtl("reload")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
