package integration

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowedImports says which packages of this module a package may import
// (without its tests): imports point down, never back. A package that is not
// named here is held to the entry of the nearest directory above it; "x/..."
// stands for x and all below it.
var allowedImports = map[string][]string{
	"protocol/wire":        {},
	"protocol":             {"protocol/wire"},
	"fsm/internal":         {},
	"fsm/command":          {"protocol/wire"},
	"fsm/access":           {"fsm/command", "fsm/internal/...", "protocol/wire"},
	"fsm/topology":         {"fsm/command", "fsm/internal/...", "protocol/wire"},
	"fsm/policy":           {"protocol/wire"},
	"fsm/queue":            {"fsm/command", "fsm/internal/..."},
	"fsm":                  {"fsm/access", "fsm/command", "fsm/internal/...", "fsm/topology", "fsm/policy", "fsm/queue", "protocol/wire"},
	"fsm/fsmtest":          {"fsm/...", "protocol/wire"},
	"cluster/mux":          {},
	"cluster":              {"cluster/mux"},
	"cluster/clustertest":  {"cluster/..."},
	"node/shovel":          {},
	"node/trace":           {"fsm"},
	"node/alarm":           {},
	"node/guard":           {"fsm", "fsm/access"},
	"node/session":         {"protocol", "protocol/wire", "fsm/access", "fsm/command"},
	"node/certs":           {},
	"node/image":           {},
	"node/proposer":        {"fsm/command"},
	"node/delivery":        {"fsm/command"},
	"node/replica":         {"fsm", "fsm/command"},
	"node/msgstore":        {"fsm", "fsm/command"},
	"node/management":      {"fsm", "fsm/access", "fsm/command", "fsm/policy", "fsm/topology", "protocol/wire", "node/shovel", "node/trace"},
	"node":                 {"node/...", "cluster/...", "fsm", "fsm/access", "fsm/command", "fsm/topology", "protocol", "protocol/wire"},
	"cmd/warren":           {"node", "cmd/warren/..."},
	"cmd/warrenctl":        {"cmd/warrenctl/...", "node/shovel"},
	"cmd/warrenperf":       {"cmd/warrenperf/...", "protocol", "protocol/wire"},
	"integration/tutorial": {"integration/tutorial/..."},
	"integration":          {"integration/proc"},
	"integration/proc":     {},
	"integration/chaos":    {"integration/chaos/...", "integration/damage", "integration/faultdisk", "integration/proc"},
	"deploy/bench":         {},
	"deploy/release":       {},
	"docs/examples":        {},
	"docs/compat":          {},
	"protocol/amqptest":    {"protocol/..."},
	"protocol/gen":         {"protocol/..."},
}

// homes says where a library that shapes the code may be imported (tests and
// tools aside): nowhere else.
var homes = map[string][]string{
	"github.com/hashicorp/raft":           {"cluster", "node/replica", "node/msgstore"},
	"github.com/hashicorp/raft-wal":       {"cluster", "node/replica", "node/msgstore"},
	"github.com/hashicorp/raft-boltdb/v2": {"cluster", "node/replica", "node/msgstore"},
	"github.com/hashicorp/memberlist":     {"cluster"},
	"golang.org/x/crypto/argon2":          {"node/guard"},
	"github.com/prometheus/client_golang": {"node"},
	"github.com/dlclark/regexp2":          {"node/guard"},
	"github.com/rabbitmq/amqp091-go":      {"integration", "cmd/warrenperf", "docs/examples", "node/shovel"},
}

// A goPackage is what `go list -json` says of a package.
type goPackage struct {
	Dir, ImportPath, Name, Doc string
	Imports                    []string
	GoFiles                    []string
	TestGoFiles, XTestGoFiles  []string
}

// path is the package's path within the module, "" for its root.
func (p goPackage) path() string { return within(p.ImportPath) }

func within(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, "warren"), "/")
}

func ours(importPath string) bool {
	return importPath == "warren" || strings.HasPrefix(importPath, "warren/")
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=Dir,ImportPath,Name,Doc,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = moduleRoot()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// matches says whether a path is one of the patterns.
func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		below, all := strings.CutSuffix(pattern, "/...")
		return path == pattern || all && (path == below || strings.HasPrefix(path, below+"/"))
	})
}

// allowance is the entry of allowedImports that a package is held to.
func allowance(path string) (string, []string) {
	for dir := path; dir != "." && dir != ""; dir = filepath.Dir(dir) {
		if allowed, ok := allowedImports[dir]; ok {
			return dir, allowed
		}
	}
	return "", nil
}

// TestTopLevel: the directories of the top level are settled.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(moduleRoot())
	if err != nil {
		t.Fatal(err)
	}
	fixed := []string{"cmd", "node", "fsm", "protocol", "cluster", "deploy", "integration", "docs", "bin"}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(fixed, e.Name()) {
			t.Errorf("%s is no directory of the top level", e.Name())
		}
	}
}

// TestImportDirection holds the packages to the map of docs and design.
func TestImportDirection(t *testing.T) {
	for _, p := range listPackages(t) {
		rule, allowed := allowance(p.path())
		if rule == "" {
			t.Errorf("%s is in no entry of the import map", p.path())
			continue
		}
		for _, imported := range p.Imports {
			path := within(imported)
			if ours(imported) && !matches(path, allowed) && !strings.HasPrefix(path, rule+"/internal") {
				t.Errorf("%s imports %s", p.path(), path)
			}
			for library, at := range homes {
				isIt := imported == library || strings.HasPrefix(imported, library+"/")
				if isIt && !slices.ContainsFunc(at, func(h string) bool { return matches(p.path(), []string{h + "/..."}) }) {
					t.Errorf("%s imports %s", p.path(), imported)
				}
			}
		}
	}
}

// TestPackageDocs wants every package to say what it is for.
func TestPackageDocs(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.Name != "" && len(p.GoFiles) > 0 && !documented(t, p) {
			t.Errorf("package %s (%s) has no doc comment", p.Name, p.path())
		}
		if len(p.GoFiles) == 0 && len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 {
			t.Errorf("%s holds tests only: it needs a doc.go that says what for", p.path())
		}
	}
}

// documented says whether a file of the package has a package comment: two full
// words at least.
func documented(t *testing.T, p goPackage) bool {
	t.Helper()
	return slices.ContainsFunc(p.GoFiles, func(name string) bool {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return true
		}
		return hasText(file.Doc)
	})
}

func hasText(doc *ast.CommentGroup) bool { return doc != nil && len(strings.Fields(doc.Text())) > 1 }
