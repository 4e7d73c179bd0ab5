// Package doctor looks for what is wrong with a machine or with the settings of a node, and says what to do about it.
// It starts no node and changes nothing but for a file that it writes and removes to measure the disk.
//
// What it asks of the machine goes through System, so that each check is tested with fakes.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"warren/cmd/warren/internal/settings"
)

// A Level is how bad a finding is.
type Level string

// The levels. A node may run with what is warned of; with what fails it does not start, or does not keep what it promises.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// A Finding is the outcome of one check.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"` // what to do about it
}

// System is the machine, as the checks see it.
type System struct {
	Root fs.FS // root directory of the system, for /proc and /sys

	FileLimit  func() (soft, hard uint64, err error)
	Owner      func(path string) (uid int, mode fs.FileMode, err error)
	UID        func() int
	FSType     func(dir string) (string, error) // empty: not known
	DiskFree   func(dir string) (int64, error)  // bytes
	SyncTimes  func(dir string, writes int) ([]time.Duration, error)
	Damaged    func(dir string) []error
	Running    func(dir string) (bool, error) // a node runs on the directory
	Memory     func() int64                   // bytes that a process may use; 0: not known
	Synced     func() (synced, known bool)    // the clock is, by NTP or the like
	Now        func() time.Time
	Listen     func(network, addr string) error
	Lookup     func(ctx context.Context, host string) ([]string, error)
	OwnIPs     func() []string                              // addresses of this machine
	Knock      func(ctx context.Context, addr string) error // greets a node; ErrSecret: the secrets differ
	PeerTime   func(ctx context.Context, url string) (time.Time, error)
	CertExpiry func() (time.Time, error)
	Unknown    func() []string // variables that look like settings and are none
	ErrSecret  error
	Secrets    func() ([]string, error)
}

// A doctor looks at one node's settings on one machine.
type doctor struct {
	sys      System
	v        settings.Values
	running  bool // the node of these settings
	findings []Finding
}

// Examine makes all checks.
func Examine(ctx context.Context, sys System, v settings.Values) []Finding {
	d := &doctor{sys: sys, v: v}
	d.directory()
	d.disk()
	d.files()
	d.memory()
	d.clock()
	d.ports()
	d.names(ctx)
	d.secret(ctx)
	d.peerClocks(ctx)
	d.certificates()
	d.settings()
	return d.findings
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, OK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, next, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, Warn, fmt.Sprintf(format, args...), next})
}

func (d *doctor) fail(check, next, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, Fail, fmt.Sprintf(format, args...), next})
}

// Count is how many findings have a level.
func Count(findings []Finding, level Level) (n int) {
	for _, f := range findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// Print writes findings for people.
func Print(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		fmt.Fprintf(w, "%-5s %-10s %s\n", f.Level, f.Check, f.Text)
		if f.Next != "" {
			fmt.Fprintf(w, "%-5s %-10s -> %s\n", "", "", f.Next)
		}
	}
	_, err := fmt.Fprintf(w, "%d checks: %d failed, %d warnings\n", len(findings), Count(findings, Fail), Count(findings, Warn))
	return err
}

// PrintJSON writes findings for programs.
func PrintJSON(w io.Writer, findings []Finding) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Findings []Finding `json:"findings"`
		Failed   int       `json:"failed"`
		Warnings int       `json:"warnings"`
	}{findings, Count(findings, Fail), Count(findings, Warn)})
}

// hostOf is the host of HOST:PORT; settings have checked the form.
func hostOf(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
