package fsmtest

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pure are the packages that are the state machine.
var pure = []string{
	"warren/fsm", "warren/fsm/access", "warren/fsm/command", "warren/fsm/queue", "warren/fsm/topology",
	"warren/fsm/policy", "warren/fsm/internal/due",
	"warren/fsm/internal/stream", "warren/protocol/wire",
}

// allowed are the other packages that they may import: none of them knows the time, a
// random source, the system or another goroutine.
var allowed = []string{
	"bufio", "bytes", "cmp", "crypto/sha256", "encoding/binary", "errors", "fmt", "hash/crc64", "io", "math", "math/bits",
	"regexp", // RE2: the same answer in linear time, whoever wrote the pattern; it reads nothing but its arguments
	"slices", "strconv", "strings", "unicode/utf8",
}

// orderFree are the functions that may walk over a map without sorting, and why.
var orderFree = map[string]string{
	"EachTraffic":  "only views call it, for those who sort outside of the machine",
	"EqualTable":   "it asks whether something holds for all fields, and keeps nothing",
	"Unsorted":     "only views call it, for those who sort outside of the machine",
	"unsortedKeys": "only views call it, for those who sort outside of the machine",
}

// TestPurity checks by the source that the state machine is deterministic: what it
// imports, that it starts no goroutine and uses no channel, and that it walks over a map
// only to gather what it sorts in the same function.
func TestPurity(t *testing.T) {
	l := newLoader("../..")
	for _, path := range pure {
		p, err := l.load(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range p.faults(l.fset) {
			t.Error(fault)
		}
	}
}

// TestPurityFindsFaults checks that each rule can fail.
func TestPurityFindsFaults(t *testing.T) {
	for name, source := range map[string]string{
		"import":    `package p; import "time"; var _ = time.Now`,
		"goroutine": `package p; func f() { go f() }`,
		"channel":   `package p; var c chan int`,
		"send":      `package p; func f(c interface{}) { var d chan<- int; d <- 1 }`,
		"receive":   `package p; func f() { var d <-chan int; <-d }`,
		"select":    `package p; func f() { select {} }`,
		"map":       `package p; func f(m map[int]int) (n int) { for k := range m { n = k }; return n }`,
		"named map": `package p; type t map[int]int; func f(m t) (n int) { for k := range m { n = k }; return n }`,
		"generic":   `package p; func f[M ~map[int]int](m M) (n int) { for k := range m { n = k }; return n }`,
	} {
		l := newLoader("../..")
		file, err := parser.ParseFile(l.fset, name+".go", source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.check("p", []*ast.File{file})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.faults(l.fset)) == 0 {
			t.Errorf("%s: nothing found in %s", name, source)
		}
	}
}

// A loader parses and type-checks packages of this module.
type loader struct {
	root   string
	fset   *token.FileSet
	std    types.Importer
	loaded map[string]*source
}

type source struct {
	files []*ast.File
	pkg   *types.Package
	info  *types.Info
}

func newLoader(root string) *loader {
	fset := token.NewFileSet()
	return &loader{
		root: root, fset: fset, std: importer.ForCompiler(fset, "source", nil), loaded: make(map[string]*source),
	}
}

// Import makes the loader a types.Importer.
func (l *loader) Import(path string) (*types.Package, error) {
	if !strings.HasPrefix(path, "warren/") {
		return l.std.Import(path)
	}
	p, err := l.load(path)
	if err != nil {
		return nil, err
	}
	return p.pkg, nil
}

func (l *loader) load(path string) (*source, error) {
	if p := l.loaded[path]; p != nil {
		return p, nil
	}
	dir := filepath.Join(l.root, strings.TrimPrefix(path, "warren/"))
	listed, err := build.ImportDir(dir, 0)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range listed.GoFiles {
		file, err := parser.ParseFile(l.fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	p, err := l.check(path, files)
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", path, err)
	}
	l.loaded[path] = p
	return p, nil
}

func (l *loader) check(path string, files []*ast.File) (*source, error) {
	p := &source{files: files, info: &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}}
	var err error
	p.pkg, err = (&types.Config{Importer: l}).Check(path, l.fset, files, p.info)
	return p, err
}

// faults returns where the package breaks a rule.
func (p *source) faults(fset *token.FileSet) []string {
	var found []string
	report := func(n ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), what))
	}
	for _, file := range p.files {
		for _, imported := range file.Imports {
			path := strings.Trim(imported.Path.Value, `"`)
			if !slices.Contains(allowed, path) && !slices.Contains(pure, path) {
				report(imported, "imports "+path)
			}
		}
		for _, declared := range file.Decls {
			p.inspect(declared, report)
		}
	}
	return found
}

func (p *source) inspect(declared ast.Decl, report func(ast.Node, string)) {
	sorted := sorts(declared)
	if f, ok := declared.(*ast.FuncDecl); ok && orderFree[f.Name.Name] != "" {
		sorted = true
	}
	ast.Inspect(declared, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "starts a goroutine")
		case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
			report(n, "uses a channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				report(n, "uses a channel")
			}
		case *ast.RangeStmt:
			if p.isMap(n.X) && !sorted {
				report(n, "walks over a map and does not sort")
			}
		}
		return true
	})
}

// isMap reports whether an expression is, or may be, a map.
func (p *source) isMap(x ast.Expr) bool {
	t := p.info.Types[x].Type
	if param, ok := types.Unalias(t).(*types.TypeParam); ok {
		under, ok := param.Underlying().(*types.Interface)
		if !ok {
			return true
		}
		for i := range under.NumEmbeddeds() {
			if strings.Contains(under.EmbeddedType(i).String(), "map[") {
				return true
			}
		}
		return false
	}
	_, ok := t.Underlying().(*types.Map)
	return ok
}

// sorts reports whether a function calls slices.Sort or one of its kin.
func sorts(declared ast.Decl) bool {
	found := false
	ast.Inspect(declared, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "slices" && strings.HasPrefix(s.Sel.Name, "Sort") {
				found = true
			}
		}
		return !found
	})
	return found
}
