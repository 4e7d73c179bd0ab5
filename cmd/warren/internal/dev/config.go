// Package dev runs a cluster of node processes on this machine: it starts them,
// tells who leads, and kills and restarts them on request. Each node is an
// ordinary "warren serve" in a process of its own, so what is seen here is
// what a cluster of machines does, but for the network.
package dev

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxNodes bounds Config.Nodes: more say nothing that these do not.
const maxNodes = 9

// host is where all nodes listen: a cluster for trying things out is not
// offered to the network.
const host = "127.0.0.1"

// Config says what Run starts.
type Config struct {
	Nodes   int    // 1 to 9
	DataDir string // holds a directory and a log file for each node; made when missing

	// Node i listens on each port + i.
	AMQPPort, HTTPPort, ClusterPort int

	// Executable is the warren binary; its "serve" is run.
	Executable string
	// ServeArgs are flags for every node's "warren serve".
	ServeArgs []string
	// User and Password are for asking the nodes who leads.
	User, Password string

	In  io.Reader // commands, a line each; may be at its end from the start
	Out io.Writer

	// StopTimeout is how long the nodes may take to stop before they are
	// killed. 0: 15 s, longer than a node's own bound.
	StopTimeout time.Duration
	// Poll is how often the nodes are asked who leads. 0: 250 ms.
	Poll time.Duration
	// Client asks them. Nil: one with a short timeout.
	Client *http.Client
}

func (c Config) withDefaults() Config {
	if c.StopTimeout == 0 {
		c.StopTimeout = 15 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = 250 * time.Millisecond
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 2 * time.Second}
	}
	return c
}

func (c *Config) check() error {
	if c.Nodes < 1 || c.Nodes > maxNodes {
		return fmt.Errorf("--nodes must be from 1 to %d", maxNodes)
	}
	used := map[int]string{}
	for _, p := range []struct {
		flag string
		port int
	}{{"--amqp-port", c.AMQPPort}, {"--http-port", c.HTTPPort}, {"--cluster-port", c.ClusterPort}} {
		for i := range c.Nodes {
			port := p.port + i
			if p.port < 1 || port > 65535 {
				return fmt.Errorf("%s %d: ports must be from 1 to 65535", p.flag, p.port)
			}
			if other, ok := used[port]; ok {
				return fmt.Errorf("%s and %s both need port %d", other, p.flag, port)
			}
			used[port] = p.flag
		}
	}
	return nil
}

// addr is a node's address on one of the base ports.
func addr(base, i int) string { return net.JoinHostPort(host, strconv.Itoa(base+i)) }

func nodeName(i int) string { return "node" + strconv.Itoa(i) }

func (c *Config) nodeDir(i int) string { return filepath.Join(c.DataDir, nodeName(i)) }

func (c *Config) secretFile() string { return filepath.Join(c.DataDir, "cluster-secret") }

// makeSecret writes a secret of this cluster's own, unless there is one.
func (c *Config) makeSecret() error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(c.secretFile(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cluster secret: %w", err)
	}
	_, err = fmt.Fprintln(f, rand.Text())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cluster secret: %w", err)
	}
	return nil
}

func (c *Config) logFile(i int) string { return filepath.Join(c.DataDir, nodeName(i)+".log") }

// serveArgs is the command line of node i behind the executable's name.
func (c *Config) serveArgs(i int) []string {
	args := []string{
		"serve",
		"--data-dir", c.nodeDir(i),
		"--node-name", nodeName(i),
		"--amqp-addr", addr(c.AMQPPort, i),
		"--http-addr", addr(c.HTTPPort, i),
		"--cluster-addr", addr(c.ClusterPort, i),
		"--metrics-addr", "", // they are at /metrics of the HTTP port
	}
	if c.Nodes > 1 {
		all := make([]string, c.Nodes)
		for j := range all {
			all[j] = addr(c.ClusterPort, j)
		}
		args = append(args, "--join", strings.Join(all, ","), "--expect", strconv.Itoa(c.Nodes),
			"--cluster-secret-file", c.secretFile())
	}
	return append(args, c.ServeArgs...)
}

// commandLine is what a person types to run node i in another terminal.
func (c *Config) commandLine(i int) string {
	words := []string{quote(c.Executable)}
	for _, a := range c.serveArgs(i) {
		words = append(words, quote(a))
	}
	return strings.Join(words, " ")
}

// quote quotes a word for a POSIX shell where that is needed.
func quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=@%+"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// checkPorts returns an error that names every port of the cluster that another
// process has.
func (c *Config) checkPorts() error {
	var taken []error
	for _, p := range []struct {
		name string
		base int
	}{{"AMQP", c.AMQPPort}, {"HTTP", c.HTTPPort}, {"cluster", c.ClusterPort}} {
		for i := range c.Nodes {
			a := addr(p.base, i)
			if err := checkPort(a, p.base == c.ClusterPort); err != nil {
				taken = append(taken, fmt.Errorf("%s address %s of %s: %w", p.name, a, nodeName(i), err))
			}
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return fmt.Errorf("%w\nis another cluster running? use other ports: --amqp-port, --http-port, --cluster-port", errors.Join(taken...))
}

// checkPort tells whether a node could listen on an address.
func checkPort(a string, udp bool) error {
	l, err := net.Listen("tcp", a)
	if err != nil {
		return errors.Unwrap(err)
	}
	defer func() { _ = l.Close() }() // it was only a question
	if !udp {
		return nil
	}
	p, err := net.ListenPacket("udp", a)
	if err != nil {
		return errors.Unwrap(err)
	}
	return p.Close()
}
