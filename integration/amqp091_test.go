package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// amqp091Skips are the tests of amqp091-go that are not run against Warren, and
// why. docs/clients.md tells of them too.
var amqp091Skips = []struct{ test, reason string }{
	{"TestConnection_Close_WhenMemoryAlarmIsActive",
		"sets RabbitMQ's memory watermark with rabbitmqctl, and skips itself without it"},
	{"TestRabbitMQQueueTTLGet",
		"tests only a server whose product is RabbitMQ, and leaves its connection open with another; TestSemantics has x-message-ttl"},
	{"TestRabbitMQQueueNackMultipleRequeue",
		"tests only a server whose product is RabbitMQ; TestSemantics nacks multiple messages"},
	{"TestIntegrationRecoverNotImplemented",
		"tests only a server whose product is RabbitMQ; TestRefusals recovers without requeue"},
}

// recoveryAddr is where amqp091-go's tests of connection recovery expect the HTTP
// API, through which they have the broker drop their connections.
const recoveryAddr = "127.0.0.1:15672"

// TestAMQP091 runs amqp091-go's own integration tests, as its module ships them,
// against one node and against a follower of three.
func TestAMQP091(t *testing.T) {
	t.Parallel()
	bin, dir := buildAMQP091(t)
	t.Run("one_node", func(t *testing.T) { runAMQP091(t, bin, dir, serveRecovery(t, 1)) })
	t.Run("follower", func(t *testing.T) { runAMQP091(t, bin, dir, serveRecovery(t, 3)) })
}

// buildAMQP091 compiles the library's tests and returns the directory in which
// they are to be run.
func buildAMQP091(t *testing.T) (bin, dir string) {
	t.Helper()
	const module = "github.com/rabbitmq/amqp091-go"
	bin = filepath.Join(t.TempDir(), "amqp091.test")
	for _, args := range [][]string{
		{"list", "-f", "{{.Dir}}", module},
		{"test", "-c", "-tags", "integration", "-o", bin, module},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir = moduleRoot()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		if args[0] == "list" {
			dir = strings.TrimSpace(string(out))
		}
	}
	return bin, dir
}

// serveRecovery starts a cluster and returns the URL of a node, a follower if
// there are any, that has the HTTP API where the tests look for it.
func serveRecovery(t *testing.T, size int) string {
	t.Helper()
	if urls := peerURLs(); urls != nil {
		return peerCluster(urls).node(size - 1).url
	}
	needAddr(t, recoveryAddr)
	c := startCluster(t, size)
	n := c.node(0)
	if size > 1 {
		n = c.others(c.leader(t))[0]
	}
	// Any node may lead: the API moves to the one that is tested.
	forward(t, recoveryAddr, n.http)
	return n.url
}

// recoveryTests are the tests that wait most, for the client's pauses between
// attempts to connect: they run in several processes side by side.
const recoveryTests = "^TestConnectionRecovery"

// runAMQP091 runs the tests and wants all to pass but those left out.
func runAMQP091(t *testing.T, bin, dir, url string) {
	t.Helper()
	conn, err := net.Dial("tcp", recoveryAddr)
	if err != nil {
		t.Fatalf("the tests need an HTTP API at %s: %v", recoveryAddr, err)
	}
	_ = conn.Close()
	var skips []string
	for _, s := range amqp091Skips {
		skips = append(skips, s.test)
	}
	skip := "^(" + strings.Join(skips, "|") + ")$"
	var parts []*program
	start := func(args ...string) {
		parts = append(parts, startProgram(t, dir, []string{"AMQP_URL=" + url}, bin, append([]string{"-test.v", "-test.timeout=10m"}, args...)...))
	}
	start("-test.skip=" + recoveryTests + "|" + skip)
	for _, initial := range []string{"[A-B]", "C", "[D-R]", "S", "[T-Z]"} {
		start("-test.run="+recoveryTests+initial, "-test.skip="+skip)
	}
	passed := 0
	for _, p := range parts {
		<-p.done
		verdicts := amqp091Verdicts(p.output())
		passed += len(verdicts["PASS"])
		for _, name := range verdicts["FAIL"] {
			t.Errorf("%s failed", name)
		}
		for _, name := range verdicts["SKIP"] {
			if !slices.Contains(skips, name) {
				t.Errorf("%s skipped itself", name)
			}
		}
		if p.err != nil {
			t.Errorf("the tests ended with %v", p.err)
		}
	}
	if passed < 200 {
		t.Errorf("only %d tests passed: the run was not whole", passed)
	}
	t.Logf("%d tests passed, %d left out", passed, len(skips))
	if t.Failed() {
		log := filepath.Join(os.TempDir(), fmt.Sprintf("warren-amqp091-%d.log", os.Getpid()))
		var text []string
		for _, p := range parts {
			text = append(text, p.output()...)
		}
		if err := os.WriteFile(log, []byte(strings.Join(text, "\n")), 0o644); err == nil {
			t.Logf("their output is in %s", log)
		}
	}
}

var verdictLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)

func amqp091Verdicts(lines []string) map[string][]string {
	verdicts := map[string][]string{}
	for _, line := range lines {
		if m := verdictLine.FindStringSubmatch(line); m != nil {
			verdicts[m[1]] = append(verdicts[m[1]], m[2])
		}
	}
	return verdicts
}
