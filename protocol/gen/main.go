// Command gen writes the AMQP 0-9-1 methods, ids and reply codes of package
// protocol as Go source. It reads the specification XML, with RabbitMQ's
// extensions, that the module github.com/rabbitmq/amqp091-go ships.
//
// Usage, from anywhere in this module:
//
//	go run ./protocol/gen [-o FILE] [-spec FILE]
package main

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	specModule = "github.com/rabbitmq/amqp091-go"
	specPath   = "spec/amqp0-9-1.stripped.extended.xml"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	output := flag.String("o", "", "file to write (default: standard output)")
	path := flag.String("spec", "", "specification XML (default: the one of "+specModule+")")
	flag.Parse()
	if err := run(*path, *output); err != nil {
		log.Fatal(err)
	}
}

func run(path, output string) error {
	if path == "" {
		dir, err := moduleDir()
		if err != nil {
			return err
		}
		path = filepath.Join(dir, filepath.FromSlash(specPath))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var s spec
	if err := xml.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	m, err := newModel(&s)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	source, err := m.source()
	if err != nil {
		return err
	}
	if output == "" {
		_, err = os.Stdout.Write(source)
		return err
	}
	return os.WriteFile(output, source, 0o644)
}

// moduleDir returns where the go command keeps the module with the XML. It
// downloads the module when the machine does not have it yet.
func moduleDir() (string, error) {
	dir, err := listDir()
	if dir != "" || err != nil {
		return dir, err
	}
	if out, err := exec.Command("go", "mod", "download", specModule).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go mod download %s: %w: %s", specModule, err, bytes.TrimSpace(out))
	}
	return listDir()
}

// listDir returns the module's directory, "" while it is not downloaded.
func listDir() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", specModule).Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s: %w", specModule, err)
	}
	return strings.TrimSpace(string(out)), nil
}
