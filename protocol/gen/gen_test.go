package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The committed file is what the generator makes.
func TestGeneratedFileIsCurrent(t *testing.T) {
	output := filepath.Join(t.TempDir(), "methods.go")
	if err := run("", output); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("..", "methods_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("protocol/methods_gen.go is out of date: run go generate ./protocol")
	}
}

func TestBadSpecifications(t *testing.T) {
	for name, text := range map[string]string{
		"not XML":        "<amqp",
		"unknown type":   `<amqp><class name="a" index="1"><method name="b" index="1"><field name="c" type="odd"/></method></class></amqp>`,
		"unknown domain": `<amqp><class name="a" index="1"><method name="b" index="1"><field name="c" domain="odd"/></method></class></amqp>`,
		"access twice":   `<amqp><class name="access" index="30"/></amqp>`,
	} {
		path := filepath.Join(t.TempDir(), "spec.xml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(path, filepath.Join(t.TempDir(), "out.go")); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := run(filepath.Join(t.TempDir(), "missing.xml"), ""); err == nil {
		t.Error("missing file: no error")
	}
}
