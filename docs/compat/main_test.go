package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

const twoRows = "# about\n\n1.1 | a | must | A\n1.2 | b c | should | B\n1.2 | d | must | D\n"

func TestCollect(t *testing.T) {
	rows, err := parseRows(twoRows)
	if err != nil {
		t.Fatal(err)
	}
	module := fstest.MapFS{
		"x/x_test.go":     {Data: []byte("package x\n\n// TestX tells.\n//\n// row: 1.1 a; 1.2 b c\n// More.\nfunc TestX(t *testing.T) {}\n\nvar cases = []c{\n\t// row: 1.1 a\n\t{\"a case\", func() {}},\n}\n")},
		"x/x.go":          {Data: []byte("// row: 9 nonsense in what is no test\n")},
		".data/y_test.go": {Data: []byte("// row: 9 nonsense elsewhere\n")},
	}
	if err := collect(module, rows); err != nil {
		t.Fatal(err)
	}
	got := render(rows)
	for _, want := range []string{
		"2 of 3 rows have a test, and 1 of the 2 that must.",
		"| a | A | must | tested | `TestX` in [x_test.go](../x/x_test.go); \"a case\" in [x_test.go](../x/x_test.go) |",
		"| b c | B | should | tested | `TestX`",
		"| d | D | must | **missing** |  |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"// row: 1.1 b\nfunc TestX(t *testing.T) {}\n": `there is no row "1.1 b"`,
		"// row: 1.1 a\nvar x = 1\n":                   "stands above no test",
		"// row: 1.1 a\n":                              "stands above no test",
	} {
		rows, err := parseRows(twoRows)
		if err != nil {
			t.Fatal(err)
		}
		err = collect(fstest.MapFS{"x_test.go": {Data: []byte(text)}}, rows)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for _, text := range []string{"1.1 | a | must\n", "1.1 | a | maybe | A\n", "1.1 | a | must | A\n1.1 | a | must | B\n"} {
		if _, err := parseRows(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestRowsAreSound(t *testing.T) {
	rows, err := parseRows(rowsText)
	if err != nil || len(rows) < 100 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if titles[r.section] == "" || strings.Contains(r.name, ";") || strings.Contains(r.name+r.about, "|") {
			t.Errorf("%+v", r)
		}
	}
}
