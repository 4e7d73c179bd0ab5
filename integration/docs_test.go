package integration

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A docStep is a command of a document, with the output that the document shows for it.
type docStep struct {
	line    int
	command string
	want    []string // lines; … stands for anything
}

// commandWords are the words with which a line of a document is a command, when it is not behind a
// prompt.
var commandWords = regexp.MustCompile(`^(bin/|deploy/)?(warren|warrenctl|warrenperf|curl|make|go|kill|cd|docker|kubectl|systemctl|helm|rabbitmqctl|rabbitmqadmin|python3|npx|tar|sha256sum|deploy/\S+\.sh|[A-Z_]+=\S+)( |$)`)

// docSteps are the commands in the indented blocks of a document.
func docSteps(text string) (steps []docStep) {
	lines := strings.Split(text, "\n")
	for at := 0; at < len(lines); at++ {
		line, indented := strings.CutPrefix(lines[at], "    ")
		command, prompt := strings.CutPrefix(line, "$ ")
		if !indented || !prompt && !commandWords.MatchString(line) {
			continue
		}
		s := docStep{line: at + 1, command: command}
		for strings.HasSuffix(s.command, `\`) && at+1 < len(lines) {
			at++
			s.command += "\n" + lines[at]
		}
		for prompt && at+1 < len(lines) {
			next, more := strings.CutPrefix(lines[at+1], "    ")
			if !more || strings.HasPrefix(next, "$ ") {
				break
			}
			s.want = append(s.want, next)
			at++
		}
		steps = append(steps, s)
	}
	return steps
}

// shownElsewhere names the test that runs a command in another way, for what needs a machine of its own, stops
// what others use, or takes long.
var shownElsewhere = []struct{ document, command, test string }{
	{"README.md", `^make dev$`, "TestDev"},
	{"README.md", `failover$`, "TestDev"},
	{"README.md", `^kill -9 \d+$`, "TestDev"},
	{"README.md", `^bin/warren serve`, "TestFormation"},
	{"README.md", `^make (up|kill-leader|down)`, "TestCompose"},
	{"README.md", `go run ./integration/tutorial/go/send`, "TestTutorial"},
	{"operations.md", `^warren serve`, "TestFormation"},
	{"operations.md", `^WARRENCTL_USER=ops .* delete_user guest$`, "TestUsers"},
	{"operations.md", `^warrenctl forget_cluster_node`, "TestWipedNode"},
	{"operations.md", `^warrenctl backup|^warren restore`, "TestBackup"},
	{"operations.md", `^warren (verify|reset)`, "TestDamaged"},
	{"operations.md", `^warrenctl -n http://a:15672 (await|drain)|^RESTART=`, "TestRollingRestart"},
	{"operations.md", `^systemctl restart warren`, "TestSystemd"},
	{"operations.md", `^go tool pprof`, "TestProfiles"},
	{"operations.md", `close_all_connections`, "TestWarrenctlVHosts"},
	{"moving.md", ``, "TestMoving"},
	{"performance.md", `make bench`, "TestSuite"},
}

// docSetup is what the commands of a document expect to find.
var docSetup = map[string]string{
	"operations.md": `
		for q in orders dead-orders orders-eu; do
			curl -fsS -u guest:guest -X PUT http://localhost:15672/api/queues/%2F/$q -d '{"durable":true}'
		done
		curl -fsS -u guest:guest -X PUT http://localhost:15672/api/exchanges/%2F/orders-x -d '{"type":"topic","durable":true}'
		curl -fsS -u guest:guest -X POST http://localhost:15672/api/bindings/%2F/e/orders-x/q/orders-eu -d '{"routing_key":"orders.#"}'
		warrenctl add_user web <<<secret`,
}

// TestDocs runs the commands of the documents, in their order, and wants the output that they show. Links
// between documents lead somewhere.
func TestDocs(t *testing.T) {
	skipWithPeer(t)
	c := startCluster(t, 3) // of its own: the documents set policies for all queues, and more
	root := moduleRoot()
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(documents, filepath.Join(root, "README.md")) {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			checkLinks(t, path, string(text))
			runDoc(t, c, name, docSteps(string(text)))
		})
	}
}

var docLink = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func checkLinks(t *testing.T, path, text string) {
	t.Helper()
	for _, m := range docLink.FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
			t.Errorf("a link leads nowhere: %v", err)
		}
	}
}

func runDoc(t *testing.T, c *cluster, name string, steps []docStep) {
	var todo []docStep
	for _, s := range steps {
		if s.command == "make lint test" || s.command == "make build" {
			continue // the first is what runs this test, and needs the second
		}
		if test := elsewhere(name, s.command); test == "" {
			todo = append(todo, s)
		} else if !haveTest(t, test) {
			t.Errorf("%s:%d: there is no test %s that would run %q", name, s.line, test, s.command)
		}
	}
	if len(todo) == 0 {
		return
	}
	sh := startShell(t, c)
	if setup := docSetup[name]; setup != "" {
		sh.run(t, docStep{command: "set -e\n" + setup + "\nset +e"})
	}
	for _, s := range todo {
		if !sh.run(t, s) {
			t.Fatalf("%s:%d: this does not do what the document says:\n%s", name, s.line, s.command)
		}
	}
}

func elsewhere(document, command string) string {
	for _, e := range shownElsewhere {
		if e.document == document && regexp.MustCompile(e.command).MatchString(uncommented(command)) {
			return e.test
		}
	}
	return ""
}

var docComment = regexp.MustCompile(`\s+# .*$`)

func uncommented(command string) string { return docComment.ReplaceAllString(command, "") }

// haveTest reports whether a test of that name, or of one that begins so, is anywhere in the module.
func haveTest(t *testing.T, name string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(moduleRoot(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || found || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		found = bytes.Contains(text, []byte("\nfunc "+name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A shell is a bash in which a document's commands run one after the other, with the cluster's
// addresses in place of the usual ones.
type shell struct {
	*program
	ports *strings.Replacer
	count int
}

func startShell(t *testing.T, c *cluster) *shell {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"warren", "warrenctl", "warrenperf"} {
		if err := os.Symlink(executable(t, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(pythonWithPika(t), filepath.Join(bin, "python3")); err != nil {
		t.Fatal(err)
	}
	var usual []string
	for i, n := range c.nodes {
		usual = append(usual, fmt.Sprintf("localhost:%d", 5672+i), n.amqp, fmt.Sprintf("localhost:%d", 15672+i), n.http)
	}
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "WARRENCTL_NODES=" + c.node(0).http, "AMQP_URL=" + c.node(0).url, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED="} // lines come whole
	sh := &shell{program: startProgram(t, moduleRoot(), env, "bash"), ports: strings.NewReplacer(append(usual, "bin/warren", "warren")...)}
	t.Cleanup(func() { killChildren(sh.cmd.Process.Pid) })
	return sh
}

// killChildren ends what a shell has started and left: its programs hold the pipe to which the shell writes.
func killChildren(parent int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		var pid, ppid int
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		_, _ = fmt.Sscan(string(text), &pid)
		_, _ = fmt.Sscanf(rest, "%c %d", new(rune), &ppid)
		if ppid == parent {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// run runs a command, which finds a password on its standard input, waits for it unless it goes on in
// the background, and for what it shall print. A look (list_queues and others of its kind) is repeated until it
// shows that.
func (sh *shell) run(t *testing.T, s docStep) bool {
	t.Helper()
	from := len(sh.output())
	ok := sh.once(t, s.command)
	for _, want := range s.want {
		pattern := regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "…", ".*"))
		eventually(t, fmt.Sprintf("%q prints %q", s.command, want), func() error {
			for _, line := range sh.output()[from:] {
				if pattern.MatchString(line) {
					return nil
				}
			}
			if strings.HasPrefix(s.command, "warrenctl list_") {
				ok = sh.once(t, s.command) && ok
			}
			return fmt.Errorf("it is not among\n%s", strings.Join(sh.output()[from:], "\n"))
		})
	}
	return ok
}

// once runs a command and reports whether it succeeded.
func (sh *shell) once(t *testing.T, command string) bool {
	t.Helper()
	sh.count++
	end := fmt.Sprintf("--- %d: ", sh.count)
	if _, err := fmt.Fprintf(sh.in, "{ %s\n} <<<secret; echo '%s'$?\n", sh.ports.Replace(command), end); err != nil {
		t.Fatal(err)
	}
	sh.waitLines(t, end, 1)
	for _, line := range sh.output() {
		if code, ended := strings.CutPrefix(line, end); ended && code != "0" {
			t.Errorf("exit code %s of %s", code, command)
			return false
		}
	}
	return true
}
