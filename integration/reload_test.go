package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestReload changes the file of settings of a node that runs: what can be changed counts at once, by SIGHUP and by warrenctl,
// what cannot is named, and a file with an error changes nothing. Each line of its log in JSON is JSON.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "warren.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log_format = json\n")
	c := startClusterWith(t, 1, options{args: []string{"--config", file}})
	n := c.node(0)
	settings := func() map[string]string {
		t.Helper()
		var all map[string]string
		if err := n.getJSON("/api/config/effective", &all); err != nil {
			t.Fatal(err)
		}
		return all
	}

	open(t, n) // stays, whatever the limit is
	write("log_format = text\nlog_level = debug\nconnection_max = 1\ndisk_free_limit = 100TB\nheartbeat = 7s\n")
	out := n.ctl(t, "reload", "-q")
	if want := "changed: heartbeat, connection_max, disk_free_limit, log_level"; !strings.Contains(out, "log_format") || !sameWords(out, want) {
		t.Errorf("warrenctl reload says:\n%s", out)
	}
	if _, err := amqp.Dial(n.url); err == nil || !strings.Contains(err.Error(), "node connection limit (1) is reached") {
		t.Errorf("a connection above the new limit: %v", err)
	}
	eventually(t, "the alarm of the new limit", func() error {
		if out := n.ctl(t, "status"); !strings.Contains(out, "Free disk space alarm") {
			return fmt.Errorf("status: %s", out)
		}
		return nil
	})
	if s := settings(); s["connection_max"] != "1" || s["log_format"] != "json" {
		t.Errorf("in force: connection_max %q, log_format %q", s["connection_max"], s["log_format"])
	}

	write("log_level = loud\nconnection_max = 2\n")
	if out, err := n.tryCtl("reload"); err == nil || !strings.Contains(out, "warren.conf:1: log_level") {
		t.Errorf("a bad file: %v\n%s", err, out)
	}
	if s := settings(); s["connection_max"] != "1" {
		t.Errorf("after a bad file connection_max is %q", s["connection_max"])
	}

	write("log_format = json\n")
	n.sendSignal(t, syscall.SIGHUP)
	eventually(t, "settings after SIGHUP", func() error {
		if s := settings(); s["connection_max"] != "0" || s["disk_free_limit"] != "50MB" {
			return fmt.Errorf("connection_max %q, disk_free_limit %q", s["connection_max"], s["disk_free_limit"])
		}
		return nil
	})
	conn, err := amqp.Dial(n.url)
	if err != nil {
		t.Fatal(err)
	}
	if conn.Config.Heartbeat.Seconds() == 7 {
		t.Error("a new connection has the heartbeat of the file before")
	}
	_ = conn.Close()
	eventually(t, "the alarm is cleared", func() error {
		if out := n.ctl(t, "status"); strings.Contains(out, "Free disk space alarm") {
			return fmt.Errorf("status: %s", out)
		}
		return nil
	})

	n.stop(t)
	text, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]int{}
	for line := range strings.Lines(string(text)) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Msg == "" {
			t.Fatalf("a line of the log is no JSON of a log (%v): %s", err, line)
		}
		levels[entry.Level]++
	}
	if levels["DEBUG"] == 0 || levels["INFO"] == 0 || levels["ERROR"] == 0 {
		t.Errorf("lines by level: %v", levels)
	}
}

// sameWords says that all words of want are in text.
func sameWords(text, want string) bool {
	for word := range strings.FieldsSeq(strings.ReplaceAll(want, ",", "")) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}
