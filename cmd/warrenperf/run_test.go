package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"warren/cmd/warrenperf/internal/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run gives the exit code and output of a command line.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommands(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	for line, want := range map[string]string{
		"--pmessages 100 --confirm 10 --verify --size 32 --flag persistent,mandatory --quorum-queue":       "100 confirmed, 100 received, 0 lost",
		"--fan-out 3 --pmessages 10 --consumers 3 --time 20":                                               "received        30",
		"--consumers 0 --time 0.1 --confirm 10 -q":                                                         "Fake 1, 0.1 s",
		"backlog --messages 1000 --producers 2":                                                            "drain: Fake 1",
		"rpc --calls 10":                                                                                   "10 calls",
		"rpc --calls 10 --direct-reply-to --warmup 0":                                                      "round trip",
		"--queues 7 --spread --pmessages 21 --producers 2  --consumers 3 --size 8":                         "received        42",
		"declare --count 10 --connections 2":                                                               "20 queues declared",
		"--pmessages 10 --queue one --exchange x --type topic --routing-key k --rate 1000 --autoack --uri": "received        10",
	} {
		args := strings.Fields(line)
		if args[len(args)-1] != "--uri" {
			args = append(args, "--uris")
		}
		code, out, errs := run(t, append(args, b.URI())...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: %d\n%s%s", line, code, out, errs)
		}
	}
	if left := b.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSuite(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	file := filepath.Join(t.TempDir(), "paired.json")
	code, out, errs := run(t, "suite", "--target", "a="+b.URI(), "--target", "b="+b.URI(), "--rows", "16b,rpc",
		"--time", "0.1", "--warmup", "0", "--runs", "2", "--json-file", file, "-v")
	if code != 0 || !strings.Contains(out, "| work | unit | a | b | ratio | min–max |") || strings.Count(errs, "msg/s") != 4 {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Lines []struct{ Runs [][]float64 } }
	if err := json.Unmarshal(text, &got); err != nil || len(got.Lines) != 2 || len(got.Lines[0].Runs[1]) != 2 {
		t.Errorf("%s, %v", text, err)
	}
}

// TestPause: the drain begins with a line, and not without.
func TestPause(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	for in, want := range map[string]int{"go on\n": 0, "": 1} {
		var out, errs bytes.Buffer
		root := rootCommand()
		root.SetArgs([]string{"backlog", "--messages", "100", "--pause", "-q", "--uris", b.URI()})
		root.SetIn(strings.NewReader(in))
		root.SetOut(&out)
		root.SetErr(&errs)
		err := root.ExecuteContext(t.Context())
		if !strings.Contains(errs.String(), "The backlog stands.") || (err != nil) != (want != 0) ||
			strings.Contains(out.String(), "drain:") != (want == 0) {
			t.Errorf("%q: %v\n%s%s", in, err, out.String(), errs.String())
		}
	}
	if left := b.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestGrowth(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	dir := t.TempDir()
	code, out, errs := run(t, "growth", "--uris", b.URI(), "--axes", "queues,nodes", "--nodes", "1", "--max", "10",
		"--time", "0.1", "--warmup", "0", "--out", dir, "--about", "Here.")
	if code != 0 || out != "" || strings.Count(errs, "msg/s") != 3 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	text, err := os.ReadFile(filepath.Join(dir, "growth.md"))
	if err != nil || !strings.Contains(string(text), "Here.") || !strings.Contains(string(text), "growth-nodes.svg") {
		t.Errorf("%s, %v", text, err)
	}
	// Without axes all is made anew of the points.
	if err := os.Remove(filepath.Join(dir, "growth-queues.svg")); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "growth", "--out", dir); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "growth-queues.svg")); err != nil {
		t.Error(err)
	}
}

func TestJSON(t *testing.T) {
	b := brokertest.Start(t, brokertest.Faults{})
	code, out, _ := run(t, "--pmessages", "100", "--confirm", "10", "--json", "-q", "--uris", b.URI())
	var got struct {
		Counts struct{ Received uint64 }
		Rate   float64 `json:"received_rate"`
	}
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || got.Counts.Received != 100 || got.Rate <= 0 {
		t.Errorf("%d, %v, %+v from %s", code, err, got, out)
	}
}

func TestExitCodes(t *testing.T) {
	loses := brokertest.Start(t, brokertest.Faults{LoseEvery: 10})
	closes := brokertest.Start(t, brokertest.Faults{CloseAfter: 10})
	for _, c := range []struct {
		line   string
		code   int
		stderr string
	}{
		{"--pmessages 100 -q --confirm 10 --verify --idle-timeout 100ms --uris " + loses.URI(), 1, "Error: 10 confirmed messages were lost\n"},
		{"--pmessages 100 -q --confirm 10 --uris " + closes.URI(), 1, "Error: producer 1: broker closed the connection: 541 INTERNAL_ERROR - test\n"},
		{"--uris amqp://127.0.0.1:1", 1, "Error: declare: dial tcp 127.0.0.1:1: connect: connection refused\n"},
		{"--uris http://h", 64, "Error: --uris: scheme \"http\" is neither amqp nor amqps\nSee 'warrenperf --help'.\n"},
		{"--flag odd", 64, "Error: --flag \"odd\" is neither persistent nor mandatory\nSee 'warrenperf --help'.\n"},
		{"--time -1", 64, "Error: --time and --warmup must be from 0 to 1e9 seconds\nSee 'warrenperf --help'.\n"},
		{"--nonsense", 64, "Error: unknown flag: --nonsense\nSee 'warrenperf --help'.\n"},
		{"--verify", 64, "Error: --verify needs --confirm: what was not confirmed may be lost\nSee 'warrenperf --help'.\n"},
		{"nonsense", 64, "Error: unknown command \"nonsense\" for \"warrenperf\"\nSee 'warrenperf --help'.\n"},
		{"suite", 64, "Error: no target is given: --target NAME=URI,URI\nSee 'warrenperf --help'.\n"},
		{"suite --target a=h --rows odd", 64, "Error: there is no row \"odd\"\nSee 'warrenperf --help'.\n"},
		{"--spread --verify --confirm 1 --size 16", 64, "Error: --verify follows each producer to one queue: it cannot be with --spread\nSee 'warrenperf --help'.\n"},
		{"growth --axes nodes", 64, "Error: --axes nodes measures one cluster: say with --nodes how large it is\nSee 'warrenperf --help'.\n"},
		{"growth --axes odd", 64, "Error: there is no axis \"odd\"\nSee 'warrenperf --help'.\n"},
		{"growth --time 0", 64, "Error: --time must be more than 0, --warmup at least 0, both at most 1e6 seconds\nSee 'warrenperf --help'.\n"},
		{"suite --target a=h --runs 0", 64, "Error: --runs must be from 1 to 1000\nSee 'warrenperf --help'.\n"},
		{"suite --target a=h --time 0", 64, "Error: --time must be more than 0, --warmup at least 0, both at most 1e6 seconds\nSee 'warrenperf --help'.\n"},
	} {
		code, _, errs := run(t, strings.Fields(c.line)...)
		if code != c.code || errs != c.stderr {
			t.Errorf("%q: exit code %d\n%s--- want\n%s", c.line, code, errs, c.stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, line := range []string{"--help", "-h", "backlog --help", "rpc --help", "declare --help", "suite --help", "growth --help"} {
		code, out, errs := run(t, strings.Fields(line)...)
		if code != 0 || errs != "" || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: %d %s %s", line, code, out, errs)
		}
	}
}
