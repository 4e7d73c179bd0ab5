package settings

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load runs Load with a file of the given text (none when empty), variables
// and command line.
func load(t *testing.T, file string, env map[string]string, args ...string) (Values, error) {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.SetOutput(&strings.Builder{})
	AddFlags(flags)
	if file != "" {
		args = append(args, "--config", writeFile(t, file))
	}
	if err := flags.Parse(args); err != nil {
		return Values{}, err
	}
	return Load(flags, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "warren.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefaultsAreAWorkingSingleNode(t *testing.T) {
	got, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Values{
		DataDir: "warren-data", AMQPAddr: ":5672", HTTPAddr: ":15672", ClusterAddr: ":7900", MetricsAddr: ":15692",
		TLSVerify: VerifyNone, TLSMinVersion: "1.2", SSLCertLoginFrom: "distinguished_name", SSLCertLoginSANType: "dns",
		ClusterName: "warren", Join: []string{}, ClusterSecret: []string{},
		DefaultUser: "guest", DefaultPass: "guest", LoopbackUsers: []string{"guest"},
		DefaultVHost:   "/",
		MaxMessageSize: 16 << 20, FrameMax: 131072, ChannelMax: 2047,
		Heartbeat: 60 * time.Second, HandshakeTimeout: 10 * time.Second,
		LogStore: "wal", HeartbeatTimeout: 500 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond,
		NodeGrace: 10 * time.Second, DiskStallTimeout: 20 * time.Second, SnapshotBytes: 64 << 20, MessageMemory: 128 << 20, SegmentBytes: 64 << 20,
		MemoryHighWatermark: Watermark{Fraction: 0.6}, DiskFreeLimit: 50_000_000,
		ShutdownTimeout: 10 * time.Second, LogLevel: slog.LevelInfo, LogFormat: LogText,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults:\n got %+v\nwant %+v", got, want)
	}
}

func TestPrecedence(t *testing.T) {
	const file = "default_user = file\n"
	all := map[string]string{"WARREN_DEFAULT_USER": "variable", "RABBITMQ_DEFAULT_USER": "rabbitmq"}
	rabbitmq := map[string]string{"RABBITMQ_DEFAULT_USER": "rabbitmq"}
	tests := []struct {
		name, file string
		env        map[string]string
		args       []string
		want       string
	}{
		{"default", "", nil, nil, "guest"},
		{"file over default", file, nil, nil, "file"},
		{"RabbitMQ's variable over file", file, rabbitmq, nil, "rabbitmq"},
		{"variable over RabbitMQ's", file, all, nil, "variable"},
		{"flag over all", file, all, []string{"--default-user", "flag"}, "flag"},
		{"flag with the default's value over all", file, all, []string{"--default-user", "guest"}, "guest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := load(t, tt.file, tt.env, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if v.DefaultUser != tt.want {
				t.Errorf("default-user is %q, want %q", v.DefaultUser, tt.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--node-name", "a"}); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"WARREN_DEFAULT_PASS": "secret", "WARREN_CHANNEL_MAX": "9"}
	r := NewReader(flags, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if _, _, err := r.Read(); err != nil {
		t.Fatal(err)
	}
	all := r.Shown()
	for key, want := range map[string]string{
		"node_name": "a", "channel_max": "9", "amqp_addr": ":5672", "default_pass": "********", "cluster_secret": "",
	} {
		if got, ok := all[key]; !ok || got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if len(all) != len(Table()) {
		t.Errorf("%d of %d settings", len(all), len(Table()))
	}
}

// Every setting must be reachable in all three ways, and reach its own field.
func TestEverySettingByFlagVariableAndFile(t *testing.T) {
	other := map[string]string{
		"data-dir": "/d", "node-name": "n", "amqp-addr": "127.0.0.1:1", "http-addr": ":2", "cluster-addr": ":3", "metrics-addr": ":4",
		"cluster-advertise": "h:4", "cluster-name": "c",
		"amqps-addr": ":5", "https-addr": ":6", "tls-cert": "/c", "tls-key": "/k", "tls-ca": "/ca",
		"tls-verify": "verify_peer", "tls-fail-if-no-peer-cert": "true", "tls-min-version": "1.3",
		"ssl-cert-login-from": "common_name", "ssl-cert-login-san-type": "uri", "ssl-cert-login-san-index": "2", "join": "a:1, b:2", "expect": "3", "cluster-secret": "s, t", "cluster-secret-file": "/s", "cluster-tls": "true", "node-grace": "20s",
		"heartbeat-timeout": "300ms", "election-timeout": "700ms", "default-user": "u", "default-pass": "p",
		"default-vhost":  "v",
		"loopback-users": "x,y", "anonymous-login-user": "a", "anonymous-login-pass": "b", "channel-max-per-node": "7",
		"connection-max": "8", "consumer-max-per-channel": "9", "max-message-size": "1MiB", "frame-max": "8KiB", "channel-max": "10",
		"heartbeat": "5s", "handshake-timeout": "1s", "log-store": "boltdb", "snapshot-bytes": "2GiB", "message-memory": "1GiB", "segment-bytes": "8MiB",
		"memory-high-watermark": "2GB", "disk-free-limit": "1GB", "disk-stall-timeout": "30s",
		"shutdown-timeout": "3s", "log-level": "debug", "log-format": "json",
	}
	for _, s := range Table() {
		t.Run(s.Flag, func(t *testing.T) {
			text, ok := other[s.Flag]
			if !ok {
				t.Fatal("no value to test the setting with")
			}
			// What another setting needs beside this one.
			args := map[string][]string{
				"expect":     {"--join", "a:1"},
				"amqps-addr": {"--tls-cert", "c", "--tls-key", "k"}, "https-addr": {"--tls-cert", "c", "--tls-key", "k"},
				"cluster-tls": {"--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a"},
				"tls-verify":  {"--tls-ca", "a"}, "tls-fail-if-no-peer-cert": {"--tls-ca", "a", "--tls-verify", "verify_peer"},
			}[s.Flag]
			base, err := load(t, "", nil, args...)
			if err != nil {
				t.Fatal(err)
			}
			byFlag, err1 := load(t, "", nil, append(args, "--"+s.Flag, text)...)
			byVariable, err2 := load(t, "", map[string]string{s.Env(): text}, args...)
			byFile, err3 := load(t, s.Key()+" = "+text+"\n", nil, args...)
			if err1 != nil || err2 != nil || err3 != nil {
				t.Fatal(err1, err2, err3)
			}
			if !reflect.DeepEqual(byFlag, byVariable) || !reflect.DeepEqual(byFlag, byFile) {
				t.Errorf("by flag, variable and file:\n%+v\n%+v\n%+v", byFlag, byVariable, byFile)
			}
			if n := changedFields(base, byFlag); n != 1 {
				t.Errorf("%d fields changed, want 1: %+v", n, byFlag)
			}
		})
	}
}

func changedFields(a, b Values) int {
	n := 0
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			n++
		}
	}
	return n
}

func TestFile(t *testing.T) {
	v, err := load(t, `
# a comment
   amqp_addr   =   127.0.0.1:5673
default_pass = 'it''s # 1'   # quotes end at the first quote
`, nil)
	if err == nil {
		t.Fatalf("quotes that do not match were accepted: %+v", v)
	}
	v, err = load(t, "\xef\xbb\xbf# byte order mark\n", nil)
	if err == nil {
		t.Fatalf("a line that is neither comment nor setting was accepted: %+v", v)
	}
	v, err = load(t, "amqp_addr = :5673 # here\r\ndefault_pass = ' a # b '\nloopback_users =\ndefault_user = a#b=c\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.AMQPAddr != ":5673" || v.DefaultPass != " a # b " || len(v.LoopbackUsers) != 0 || v.LoopbackUsers == nil || v.DefaultUser != "a#b=c" {
		t.Errorf("read %+v", v)
	}
}

// An error of the file reaches logs, and answers over HTTP.
func TestErrorsShowNoPassword(t *testing.T) {
	for _, text := range []string{"default_pass hunter22\n", "default_pass: hunter22\n", "default_pass = 'hunter22\n"} {
		if _, err := load(t, text, nil); err == nil || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestErrorsNameTheirOrigin(t *testing.T) {
	tests := []struct {
		name, file string
		env        map[string]string
		args       []string
		want       []string
	}{
		{"unknown key", "log_level = info\n\nlisteners = 1\n", nil, nil, []string{"warren.conf:3:", `unknown setting "listeners"`}},
		{"nearly a key", "log.level = info\n", nil, nil, []string{"warren.conf:1:", "did you mean log_level?"}},
		{"no equals sign", "log_level info\n", nil, nil, []string{"warren.conf:1:", "key = value"}},
		{"no key", "= info\n", nil, nil, []string{"warren.conf:1:", "no key"}},
		{"twice", "expect = 1\nexpect = 1\n", nil, nil, []string{"warren.conf:2:", "already set in line 1"}},
		{"binary", "log_level = \xff\n", nil, nil, []string{"warren.conf:1:", "not text"}},
		{"bad value in file", "\nchannel_max = many\n", nil, nil, []string{"warren.conf:2:", "channel_max", `"many"`, "whole number"}},
		{"bad value in variable", "", map[string]string{"WARREN_EXPECT": "x"}, nil, []string{"WARREN_EXPECT", `"x"`}},
		{"empty variable for a number", "", map[string]string{"WARREN_EXPECT": ""}, nil, []string{"WARREN_EXPECT", `""`}},
		{"bad value of flag", "", nil, []string{"--max-message-size", "1GiB"}, []string{"--max-message-size", "41943040"}},
		{"duration without unit", "", nil, []string{"--heartbeat", "60"}, []string{"--heartbeat", "unit"}},
		{"part of a second", "", nil, []string{"--heartbeat", "1500ms"}, []string{"whole seconds"}},
		{"address without port", "", nil, []string{"--amqp-addr", "localhost"}, []string{"--amqp-addr", "HOST:PORT"}},
		{"port out of range", "", nil, []string{"--amqp-addr", ":65536"}, []string{"65536"}},
		{"join without host", "", nil, []string{"--join", "a:1,:7900"}, []string{"--join", `":7900"`}},
		{"expect without join", "", nil, []string{"--expect", "3"}, []string{"expect is 3", "join"}},
		{"election below heartbeat", "", nil, []string{"--heartbeat-timeout", "1s"}, []string{"election-timeout"}},
		{"nodes are told from clients by nothing", "",
			nil, []string{"--cluster-tls", "true", "--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a", "--tls-verify", "verify_peer"},
			[]string{"cluster-tls", "verify_peer", "needs cluster-secret"}},
		{"unknown log store", "", nil, []string{"--log-store", "x"}, []string{"wal or boltdb"}},
		{"unknown flag", "", nil, []string{"--nope"}, []string{"--nope"}},
		{"file is missing", "", map[string]string{"WARREN_CONFIG": "/does/not/exist"}, nil, []string{"/does/not/exist"}},
		{"secret", "", map[string]string{"RABBITMQ_DEFAULT_PASS": ""}, nil, []string{"RABBITMQ_DEFAULT_PASS: must not be empty"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := load(t, tt.file, tt.env, tt.args...)
			if err == nil {
				t.Fatalf("no error, but %+v", v)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not contain %q", err, w)
				}
			}
		})
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "16MiB": 16 << 20, "2 kB": 2000, "1TiB": 1 << 40} {
		if got, err := parseSize(text, 0, 1<<40); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "MiB", "9223372036854775807KiB", "2TiB", "1mb"} {
		if got, err := parseSize(text, 0, 1<<40); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestWatermark(t *testing.T) {
	for text, want := range map[string]Watermark{
		"0.6": {Fraction: 0.6}, "1": {Fraction: 1}, "1.0": {Fraction: 1}, "1e-9": {Fraction: 1e-9},
		"2GB": {Bytes: 2e9}, "1048576": {Bytes: 1 << 20}, "512 MiB": {Bytes: 512 << 20},
	} {
		if got, err := parseWatermark(text); err != nil || got != want {
			t.Errorf("parseWatermark(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-0.5", "1.5", "2", "1kB", "NaN", "Inf", "half", "0.5GB", "2PB"} {
		if got, err := parseWatermark(text); err == nil {
			t.Errorf("parseWatermark(%q) = %v, want an error", text, got)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	got := UnknownVariables([]string{"WARREN_JION=a", "WARREN_JOIN=b", "WARREN_CONFIG=c", "PATH=d", "WARREN_A=e"})
	if want := []string{"WARREN_A", "WARREN_JION"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHelpNamesFlagVariableAndDefault(t *testing.T) {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	AddFlags(flags)
	help := flags.FlagUsages()
	for _, s := range Table() {
		for _, w := range []string{"--" + s.Flag + " " + s.Arg, "[" + s.Env() + "]"} {
			if !strings.Contains(help, w) {
				t.Errorf("help does not contain %q", w)
			}
		}
	}
	if !strings.Contains(help, `(default :5672)`) {
		t.Errorf("help has no default of --amqp-addr:\n%s", help)
	}
}

// docs/settings.md is made from the table: see the go:generate line.
func TestDocsAreUpToDate(t *testing.T) {
	have, err := os.ReadFile("../../../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != Markdown() {
		t.Error(`docs/settings.md is not what the table of settings gives: run "make gen"`)
	}
}

// The sample file must be one that a node accepts.
func TestSampleFile(t *testing.T) {
	f, err := os.Open("../../../../deploy/warren.conf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := parseFile("deploy/warren.conf", f); err != nil {
		t.Error(err)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("a = b")
	f.Add("# c\n\nlog_level = 'debug' # d\n")
	f.Add("default_pass = 'x")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseFile("f", strings.NewReader(text))
		if err != nil {
			return
		}
		for s, e := range entries {
			if e.line < 1 || e.line > strings.Count(text, "\n")+1 {
				t.Errorf("%s in line %d of %q", s.Key(), e.line, text)
			}
			_ = s.set(new(Values), e.value)
		}
	})
}
