package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClusterSecret: a node with another secret, and one with none, stay outside of a
// cluster that goes on, and both sides log why. Then the cluster changes its secret.
func TestClusterSecret(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "a secret of sixteen bytes and more", "and the one that comes after it"
	write(first + "\n")
	c := startClusterWith(t, 3, options{args: []string{"--cluster-secret-file", file}})
	for name, args := range map[string][]string{
		"wrong cluster secret": {"--cluster-secret", second},
		"no cluster secret":    nil,
	} {
		s, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 1, options{
			args: append([]string{"--join", c.node(0).clust}, args...),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.end(t.Failed(), t.Logf) })
		stranger := s.node(0)
		stranger.start(t)
		eventually(t, "a warning of the stranger: "+name, func() error { return loggedWarning(stranger, name) })
		eventually(t, "a warning of the cluster: "+name, func() error { return loggedWarning(c.node(0), name) })
		if out := c.node(0).ctl(t, "cluster_status"); strings.Contains(out, stranger.clust) {
			t.Errorf("the stranger is seen:\n%s", out)
		}
		stranger.kill(t)
	}
	for _, text := range []string{first + "\n" + second, second + "\n" + first, second} {
		write(text)
		for _, n := range c.nodes {
			n.stop(t)
			n.start(t)
			n.waitReady(t)
		}
	}
	c.waitReady(t)
}

func loggedWarning(n *node, text string) error {
	b, err := os.ReadFile(n.log)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, text) {
			return nil
		}
	}
	return fmt.Errorf("no warning with %q", text)
}

// TestClusterTLS: three nodes speak TLS with each other, with a secret too. One whose
// certificate is of another authority, and one without, stay outside. A new certificate
// is used without a restart, and the cluster outlives its leader.
func TestClusterTLS(t *testing.T) {
	t.Parallel()
	const secret = "a secret of sixteen bytes and more"
	a, other := newAuthority(t), newAuthority(t)
	c, _ := startSecure(t, a, 3, "--cluster-tls", "true", "--cluster-secret", secret)
	other.issue(t, "server", "stranger")
	for name, args := range map[string][]string{
		"another authority": {"--cluster-tls", "true", "--tls-cert", other.file("server"), "--tls-key", other.file("server-key"), "--tls-ca", other.file("ca")},
		"no TLS":            nil,
	} {
		s, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 1, options{
			args: append([]string{"--join", c.node(0).clust, "--cluster-secret", secret}, args...),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.end(t.Failed(), t.Logf) })
		before := c.node(0).logged(t, "tls: ")
		s.node(0).start(t)
		eventually(t, "a refusal of the node with "+name, func() error {
			if c.node(0).logged(t, "tls: ") == before {
				return errors.New("nothing is logged")
			}
			return nil
		})
		if out := c.node(0).ctl(t, "cluster_status"); strings.Contains(out, s.node(0).clust) {
			t.Errorf("the node with %s is seen:\n%s", name, out)
		}
		s.node(0).kill(t)
	}
	// New connections, by a restart of the leader, show the new certificate.
	a.issue(t, "server", "renewed")
	lost := c.leader(t)
	lost.kill(t)
	for _, n := range c.others(lost) {
		eventually(t, "clients again on "+n.name, n.tryClient)
	}
	lost.start(t)
	c.waitReady(t)
}
