package settings

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

func TestReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "warren.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--config", file, "--heartbeat", "30s"}); err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) { return "7", name == "WARREN_CHANNEL_MAX" }
	r := NewReader(flags, env)
	write("log_level = info\nheartbeat = 20s\nchannel_max = 8\nnode_name = a\ncluster_secret = 0123456789abcdef\n")
	if _, c, err := r.Read(); err != nil || len(c.Applied)+len(c.NeedRestart) > 0 {
		t.Fatalf("%+v %v", c, err)
	}
	// Flags and variables go on to win over the file.
	write("log_level = debug\nheartbeat = 10s\nchannel_max = 9\nconnection_max = 5\nnode_name = b\ncluster_secret = fedcba9876543210\n")
	v, c, err := r.Read()
	if err != nil || !slices.Equal(c.Applied, []string{"connection_max", "log_level"}) || !slices.Equal(c.NeedRestart, []string{"node_name", "cluster_secret"}) {
		t.Errorf("%+v %v", c, err)
	}
	if v.ConnectionMax != 5 || v.ChannelMax != 7 || v.Heartbeat.Seconds() != 30 {
		t.Errorf("%+v", v)
	}
	if s := r.Shown(); s["connection_max"] != "5" || s["node_name"] != "a" || s["cluster_secret"] != hidden || s["default_pass"] != hidden || s["anonymous_login_pass"] != "" {
		t.Errorf("shown: %v", s)
	}
	// What is wrong changes nothing; what waits for a restart is told again.
	write("log_level = loud\nconnection_max = 6\n")
	if _, _, err := r.Read(); err == nil {
		t.Error("a bad value was taken")
	}
	if s := r.Shown(); s["connection_max"] != "5" || s["log_level"] != "debug" {
		t.Errorf("after an error: %v", s)
	}
	write("log_level = debug\nconnection_max = 5\nnode_name = b\ncluster_secret = 0123456789abcdef\n")
	if _, c, err := r.Read(); err != nil || len(c.Applied) > 0 || !slices.Equal(c.NeedRestart, []string{"node_name"}) {
		t.Errorf("%+v %v", c, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Read(); err == nil {
		t.Error("a file that is gone was read")
	}
}
