package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompose runs the main scenario in containers, through the compose file
// that is shipped: form a cluster, publish with confirms on all nodes, docker
// kill the leader, start it again. Nothing confirmed is lost.
func TestCompose(t *testing.T) {
	t.Parallel()
	skipWithPeer(t)
	c := composeUp(t)
	for round := 1; round <= 2; round++ {
		leader := c.leader(t)
		flows := startFlows(t, c)
		homes := homesOf(flows)
		progress(t, flows, 300)
		reportSilence(t, flows, homes, leader, fmt.Sprintf("round %d: before", round))
		leader.kill(t)
		progress(t, flows, 500)
		reportSilence(t, flows, homes, leader, fmt.Sprintf("round %d: docker kill of the leader %s", round, leader.name))
		leader.start(t)
		leader.waitReady(t)
		progress(t, flows, 200)
		judge(t, flows, homes, leader)
	}
}

// composeUp builds the image and starts the three nodes of
// deploy/docker-compose.yml under a project name and on ports of their own.
func composeUp(t *testing.T) *cluster {
	t.Helper()
	needEngine(t)
	compose := composeCommand(t)
	project := fmt.Sprintf("warrentest%d", os.Getpid())
	c := &cluster{}
	env := append(os.Environ(), "WARREN_DOCKERFILE=deploy/Dockerfile.prebuilt")
	for i := range 3 {
		n := &node{name: fmt.Sprintf("node%d", i), amqp: freeAddr(), http: freeAddr()}
		n.url = "amqp://guest:guest@" + n.amqp + "/"
		env = append(env, fmt.Sprintf("AMQP_PORT_%d=%s", i, port(n.amqp)), fmt.Sprintf("HTTP_PORT_%d=%s", i, port(n.http)))
		c.nodes = append(c.nodes, n)
	}
	run := func(args ...string) (string, error) {
		words := append(append([]string{}, compose...), "-f", filepath.Join(moduleRoot(), "deploy", "docker-compose.yml"),
			"--project-directory", imageContext(t), "-p", project)
		cmd := exec.Command(words[0], append(words[1:], args...)...)
		cmd.Env = env
		out, err := cmd.Output()
		if exit, ok := err.(*exec.ExitError); ok {
			err = fmt.Errorf("%s %s: %w\n%s", strings.Join(compose, " "), strings.Join(args, " "), err, exit.Stderr)
		}
		return strings.TrimSpace(string(out)), err
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.nodes {
				t.Logf("log of %s:\n%s", n.name, n.logTail())
			}
		}
		if _, err := run("down", "-v", "--timeout", "5"); err != nil {
			t.Logf("compose down: %v", err)
		}
	})
	if out, err := run("up", "-d", "--build"); err != nil {
		t.Fatalf("compose up: %v\n%s", err, out)
	}
	for _, n := range c.nodes {
		id, err := run("ps", "-q", n.name)
		if err != nil || id == "" {
			t.Fatalf("find container of %s: %q, %v", n.name, id, err)
		}
		n.container, n.foreign, n.up = id, true, true
	}
	c.waitReady(t)
	return c
}

// needEngine wants a docker engine that answers: a failure in CI, a skip elsewhere.
func needEngine(t *testing.T) {
	t.Helper()
	docker := needProgram(t, "docker")
	if out, err := exec.Command(docker, "info", "--format", "{{.ServerVersion}}").CombinedOutput(); err != nil {
		missing(t, "no docker engine answers (deploy/dockerd.sh starts one): %v %s", err, out)
	}
}

// composeCommand is docker compose 2 or docker-compose 1.
func composeCommand(t *testing.T) []string {
	t.Helper()
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	return []string{needProgram(t, "docker-compose")}
}

// imageContext is a directory from which compose builds the image: laid out as
// the repository, with the programs under test. It returns the part that stands
// for deploy/.
func imageContext(t *testing.T) string {
	t.Helper()
	root := filepath.Join(filepath.Dir(executable(t, "warren")), "context")
	deploy := filepath.Join(root, "deploy")
	if _, err := os.Stat(deploy); err == nil {
		return deploy
	}
	if os.Getenv("WARREN_BIN") != "" {
		return filepath.Join(moduleRoot(), "deploy") // ready-made binaries stand in bin/
	}
	for _, copied := range []struct{ from, to string }{
		{filepath.Join(moduleRoot(), "deploy"), deploy},
		{executable(t, "warren"), filepath.Join(root, "bin", "warren")},
		{executable(t, "warrenctl"), filepath.Join(root, "bin", "warrenctl")},
	} {
		if err := os.MkdirAll(filepath.Dir(copied.to), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-R", copied.from, copied.to).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v %s", copied.from, err, out)
		}
	}
	return deploy
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

func (n *node) startContainer() error {
	out, err := exec.Command("docker", "start", n.container).CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker start: %w %s", err, out)
	}
	n.up = true
	return nil
}

func (n *node) killContainer() error {
	out, err := exec.Command("docker", "kill", n.container).CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker kill: %w %s", err, out)
	}
	n.up = false
	return nil
}

func (n *node) containerLog() string {
	out, err := exec.Command("docker", "logs", "--tail", "40", n.container).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}
