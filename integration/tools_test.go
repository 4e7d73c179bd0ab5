package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAMQPTools runs Debian's amqp-tools (librabbitmq, a client in C), each tool
// on another node.
func TestAMQPTools(t *testing.T) {
	c := sharedCluster(t, 3)
	tool := func(i int, name string, args ...string) []string {
		path := needProgram(t, name)
		return runProgram(t, "", nil, path, append([]string{"--url=" + toolURL(c.node(i))}, args...)...)
	}
	queue := unique(t)
	if got := strings.Join(tool(0, "amqp-declare-queue", "--queue="+queue, "--durable"), ""); got != queue {
		t.Errorf("amqp-declare-queue printed %q", got)
	}
	deleteAtEnd(t, c.node(0), queue)

	tool(1, "amqp-publish", "--routing-key="+queue, "--persistent", "--content-type=text/plain", "--header=key: value", "--body=one")
	ch := open(t, c.node(2))
	wantDepth(t, ch, queue, 1)
	d := get(t, ch, queue, "one")
	if d.ContentType != "text/plain" || d.DeliveryMode != 2 || d.Headers["key"] != "value" {
		t.Errorf("published %+v", d)
	}
	if err := d.Nack(false, true); err != nil {
		t.Fatal(err)
	}
	wantDepth(t, ch, queue, 1)
	if got := strings.Join(tool(2, "amqp-get", "--queue="+queue), ""); got != "one" {
		t.Errorf("amqp-get printed %q", got)
	}
	p := startProgram(t, "", nil, needProgram(t, "amqp-get"), "--url="+toolURL(c.node(2)), "--queue="+queue)
	if _, err := p.wait(t); err == nil || p.cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("amqp-get from an empty queue: %v, want exit code 2", err)
	}

	dir := t.TempDir()
	file, script := filepath.Join(dir, "consumed"), filepath.Join(dir, "take")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncat >>"+file+"\necho >>"+file+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	consumer := startProgram(t, "", nil, needProgram(t, "amqp-consume"), "--url="+toolURL(c.node(2)), "--queue="+queue,
		"--count=3", "--prefetch-count=1", script)
	wantConsumers(t, ch, queue, 1)
	for _, body := range []string{"two", "three", "four"} {
		tool(0, "amqp-publish", "--routing-key="+queue, "--body="+body)
	}
	if _, err := consumer.wait(t); err != nil {
		t.Errorf("amqp-consume: %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "two\nthree\nfour\n" {
		t.Errorf("amqp-consume took %q, %v", text, err)
	}

	// Subscribe to an exchange with an exclusive queue, without acks.
	subscriber := startProgram(t, "", nil, needProgram(t, "amqp-consume"), "--url="+toolURL(c.node(1)),
		"--exchange=amq.topic", "--routing-key="+queue+".#", "--exclusive", "--no-ack", "--count=1", "cat")
	subscriber.waitLines(t, "Server provided queue name", 1)
	eventually(t, "the subscriber's message", func() error {
		tool(0, "amqp-publish", "--exchange=amq.topic", "--routing-key="+queue+".x", "--body=five")
		select {
		case <-subscriber.done:
			return nil
		default:
			return errTimeout
		}
	})
	if n := subscriber.count("five"); n != 1 {
		t.Errorf("the subscriber printed %q", subscriber.output())
	}
	publish(t, ch, queue, "left")
	wantDepth(t, ch, queue, 1)
	p = startProgram(t, "", nil, needProgram(t, "amqp-delete-queue"), "--url="+toolURL(c.node(1)), "--queue="+queue, "--if-empty")
	if out, err := p.wait(t); err == nil {
		t.Errorf("amqp-delete-queue --if-empty of a queue with a message: %q", out)
	}
	tool(1, "amqp-delete-queue", "--queue="+queue)
	if err := wantNoQueue(c.node(0), queue); err != nil {
		t.Error(err)
	}
}

// toolURL names the default vhost: the tools take a missing one for "".
func toolURL(n *node) string { return strings.TrimSuffix(n.url, "/") + "/%2f" }
