package dev

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func config(t *testing.T, nodes int) Config {
	t.Helper()
	ports := freePorts(t, 3*nodes)
	return Config{
		Nodes: nodes, DataDir: filepath.Join(t.TempDir(), "cluster"),
		AMQPPort: ports, HTTPPort: ports + nodes, ClusterPort: ports + 2*nodes,
		User: "guest", Password: "guest",
	}
}

// freePorts returns the first of n ports in a row that nobody has right now.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		first := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		free := first+n < 65536
		for i := 0; free && i < n; i++ {
			free = checkPort(addr(first, i), true) == nil
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func TestCheck(t *testing.T) {
	good := Config{Nodes: 3, AMQPPort: 5672, HTTPPort: 15672, ClusterPort: 7900}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"--nodes":                     func(c *Config) { c.Nodes = 0 },
		"from 1 to 9":                 func(c *Config) { c.Nodes = 10 },
		"--amqp-port 65534":           func(c *Config) { c.AMQPPort = 65534 },
		"--http-port 0":               func(c *Config) { c.HTTPPort = 0 },
		"--amqp-port and --http-port": func(c *Config) { c.HTTPPort = 5674 },
	} {
		c := good
		change(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not contain %q", err, want)
		}
	}
}

func TestServeArgs(t *testing.T) {
	c := Config{Nodes: 2, DataDir: "/d", AMQPPort: 1, HTTPPort: 11, ClusterPort: 21, ServeArgs: []string{"--log-level", "debug"}}
	want := strings.Split("serve --data-dir /d/node1 --node-name node1 --amqp-addr 127.0.0.1:2 --http-addr 127.0.0.1:12 "+
		"--cluster-addr 127.0.0.1:22 --metrics-addr  --join 127.0.0.1:21,127.0.0.1:22 --expect 2 --cluster-secret-file /d/cluster-secret --log-level debug", " ")
	if got := c.serveArgs(1); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.Nodes = 1
	if got := c.serveArgs(0); slices.Contains(got, "--join") || slices.Contains(got, "--expect") {
		t.Errorf("a node alone is told to join: %v", got)
	}
}

func TestSecretIsMadeOnce(t *testing.T) {
	c := Config{DataDir: filepath.Join(t.TempDir(), "new")}
	var first []byte
	for range 2 {
		if err := c.makeSecret(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(c.secretFile())
		if err != nil || len(b) < 20 {
			t.Fatalf("%q, %v", b, err)
		}
		if first != nil && string(first) != string(b) {
			t.Error("made anew: the nodes that run have the other one")
		}
		first = b
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"bin/warren": "bin/warren", "": "''", "a b": "'a b'", "it's": `'it'\''s'`} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestPortsInUse(t *testing.T) {
	c := config(t, 3)
	if err := c.checkPorts(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", addr(c.HTTPPort, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", addr(c.ClusterPort, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()

	err = Run(t.Context(), c)
	if err == nil {
		t.Fatal("Run started although ports are in use")
	}
	for _, want := range []string{
		"HTTP address 127.0.0.1:" + strconv.Itoa(c.HTTPPort+1) + " of node1", "cluster address", "of node2",
		"address already in use", "--amqp-port",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not contain %q", err, want)
		}
	}
	if _, err := os.Stat(c.DataDir); err == nil {
		t.Error("the data directory was made before the ports were checked")
	}
}

func TestParseRequest(t *testing.T) {
	good := map[string]request{
		"": {}, "  ": {}, "status": {verb: "status"}, " kill  2 ": {"kill", 2}, "restart node0": {"restart", 0}, "quit": {verb: "quit"},
	}
	for line, want := range good {
		if got, err := parseRequest(line, 3); err != nil || got != want {
			t.Errorf("parseRequest(%q) = %v, %v; want %v", line, got, err, want)
		}
	}
	bad := map[string]string{
		"kill": "number of a node", "kill 3": "0 to 2", "kill -1": "0 to 2", "kill x": "0 to 2", "kill 1 2": "number of a node",
		"status 1": "no argument", "kil 1": "unknown command",
	}
	for line, want := range bad {
		if got, err := parseRequest(line, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseRequest(%q) = %v, %v; want an error with %q", line, got, err, want)
		}
	}
	for _, v := range verbs {
		if !strings.Contains(helpText(), v.name) {
			t.Errorf("help does not name %s", v.name)
		}
	}
}
