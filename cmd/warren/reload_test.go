package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/spf13/pflag"

	"warren/cmd/warren/internal/settings"
)

// What was read again reaches every field that a node takes, and the level of the log.
func TestRereadReachesTheNode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "warren.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	settings.AddFlags(flags)
	if err := flags.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	reader := settings.NewReader(flags, func(string) (string, bool) { return "", false })
	if _, _, err := reader.Read(); err != nil {
		t.Fatal(err)
	}
	level := new(slog.LevelVar)
	reread := rereader(reader, level)
	write("log_level = error\nmemory_high_watermark = 0.3\ndisk_free_limit = 1GB\nframe_max = 9000\nchannel_max = 5\nconsumer_max_per_channel = 6\n" +
		"connection_max = 7\nchannel_max_per_node = 8\nheartbeat = 9s\nhandshake_timeout = 11s\nnode_name = later\n")
	tuning, said, err := reread()
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(tuning)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not reached", v.Type().Field(i).Name)
		}
	}
	if level.Level() != slog.LevelError || tuning.ConnectionMax != 7 || tuning.Settings["connection_max"] != "7" || tuning.Settings["node_name"] != "" {
		t.Errorf("level %v, %+v", level.Level(), tuning)
	}
	if len(said.Applied) != 10 || !slices.Equal(said.NeedRestart, []string{"node_name"}) {
		t.Errorf("%+v", said)
	}
	write("log_level = debug\nconnection_max = many\n")
	if _, _, err := reread(); err == nil || level.Level() != slog.LevelError {
		t.Errorf("a bad file: %v, level %v", err, level.Level())
	}
	// An operator's level holds until the next time.
	if err := setLevel(level, "debug"); err != nil || level.Level() != slog.LevelDebug {
		t.Errorf("%v, level %v", err, level.Level())
	}
	if err := setLevel(level, "loud"); err == nil || level.Level() != slog.LevelDebug {
		t.Errorf("%v, level %v", err, level.Level())
	}
	write("log_level = error\n")
	if _, _, err := reread(); err != nil || level.Level() != slog.LevelError {
		t.Errorf("%v, level %v", err, level.Level())
	}
}
