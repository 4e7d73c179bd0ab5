package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (o *options) definitionCommands() []*cobra.Command {
	return []*cobra.Command{o.exportCommand(), o.importCommand()}
}

// formatFlag is --format, which knows JSON only: rabbitmqctl's other one is Erlang's.
func formatFlag(cmd *cobra.Command) func() error {
	format := cmd.Flags().String("format", "json", "`FORMAT` of the file: json")
	return func() error {
		if !strings.EqualFold(*format, "json") {
			return usageError("format %q is not known: use json", *format)
		}
		return nil
	}
}

func (o *options) exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export_definitions FILE",
		Short: "Write vhosts, exchanges, queues, bindings and limits to a file; - is the standard output",
		Args:  cobra.ExactArgs(1),
	}
	check := formatFlag(cmd)
	rabbit := cmd.Flags().Bool("rabbitmq", false, "leave out users whose passwords RabbitMQ could not check, and name them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := check(); err != nil {
			return err
		}
		ctx, cancel := o.deadline(cmd.Context())
		defer cancel()
		if args[0] != "-" {
			o.banner("Exporting definitions in JSON to a file at %q ...", args[0])
		}
		b, _, err := o.do(ctx, http.MethodGet, path("definitions"), nil)
		if err != nil {
			return err
		}
		if *rabbit {
			if b, err = forRabbitMQ(b, cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, bytes.TrimSpace(b), "", "  "); err != nil {
			return &exitError{code: exitSoftware, err: fmt.Errorf("definitions: %w", err)}
		}
		indented.WriteByte('\n')
		if args[0] == "-" {
			_, err = o.out.Write(indented.Bytes())
			return err
		}
		// They may hold hashes of passwords.
		if err := os.WriteFile(args[0], indented.Bytes(), 0o600); err != nil {
			return dataError("could not write to file %s: %w", args[0], errors.Unwrap(err))
		}
		return nil
	}
	return cmd
}

// ownHashes begins the names of hash functions that RabbitMQ does not have.
const ownHashes = "warren_"

// forRabbitMQ leaves users out of definitions whose passwords RabbitMQ could not check, with their permissions, as it would import
// nothing of the file.
func forRabbitMQ(b []byte, notes io.Writer) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, &exitError{code: exitSoftware, err: fmt.Errorf("definitions: %w", err)}
	}
	left := make(map[string]bool)
	keep := func(section string, keeps func(item map[string]any) bool) error {
		var items []map[string]any
		d := json.NewDecoder(bytes.NewReader(all[section]))
		d.UseNumber()
		if all[section] == nil || d.Decode(&items) != nil {
			return nil
		}
		kept, err := json.Marshal(slices.DeleteFunc(items, func(item map[string]any) bool { return !keeps(item) }))
		all[section] = kept
		return err
	}
	err := keep("users", func(item map[string]any) bool {
		algorithm, _ := item["hashing_algorithm"].(string)
		name, _ := item["name"].(string)
		if strings.HasPrefix(algorithm, ownHashes) {
			left[name] = true
			fmt.Fprintf(notes, "User %q is left out: RabbitMQ cannot read the hash of the password\n", name)
		}
		return !left[name]
	})
	for _, section := range []string{"permissions", "topic_permissions"} {
		err = errors.Join(err, keep(section, func(item map[string]any) bool {
			user, _ := item["user"].(string)
			return !left[user]
		}))
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

func (o *options) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import_definitions [FILE]",
		Short: "Declare what a file of definitions holds and is not there yet; without a file the standard input is read",
		Args:  cobra.MaximumNArgs(1),
	}
	check := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := check(); err != nil {
			return err
		}
		name := "-"
		if len(args) > 0 {
			name = args[0]
		}
		b, err := o.readDefinitions(cmd.InOrStdin(), name)
		if err != nil {
			return err
		}
		ctx, cancel := o.deadline(cmd.Context())
		defer cancel()
		_, _, err = o.send(ctx, http.MethodPost, path("definitions"), nil, b)
		return err
	}
	return cmd
}

// readDefinitions reads a file, or in for "-".
func (o *options) readDefinitions(in io.Reader, name string) (b []byte, err error) {
	if name == "-" {
		o.banner("Importing definitions in JSON from standard input ...")
		b, err = io.ReadAll(in)
	} else {
		o.banner("Importing definitions in JSON from a file at %q ...", name)
		b, err = os.ReadFile(name)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, dataError("file %s does not exist", name)
	case err != nil:
		return nil, dataError("could not read definitions: %w", err)
	case !json.Valid(b):
		return nil, dataError("the definitions are no JSON")
	}
	return b, nil
}
