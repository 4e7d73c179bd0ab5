package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The image is built from the directories that deploy/Dockerfile copies and .dockerignore lets through: all that the programs
// are made of has to be among them.
func TestImageHasAllSource(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./cmd/warren", "./cmd/warrenctl")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := func(file string) []string {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text), "\n")
	}
	copied, let := lines("deploy/Dockerfile"), lines(".dockerignore")
	seen := 0
	for pkg := range strings.FieldsSeq(string(out)) {
		inside, ok := strings.CutPrefix(pkg, "warren/")
		if !ok {
			continue
		}
		seen++
		dir, _, _ := strings.Cut(inside, "/")
		if !slices.Contains(copied, "COPY "+dir+" "+dir) || !slices.Contains(let, "!"+dir) {
			t.Errorf("package %s is not copied by deploy/Dockerfile, or kept out by .dockerignore", pkg)
		}
	}
	if seen == 0 {
		t.Error("no package of this module was found")
	}
}
