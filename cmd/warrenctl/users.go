package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// object is a JSON object.
type object = map[string]any

// sendJSON sends a body as JSON to a resource.
func (o *options) sendJSON(ctx context.Context, method, path string, body any, header http.Header) ([]byte, error) {
	var b bytes.Buffer
	if err := encode(&b, body, ""); err != nil {
		return nil, err
	}
	answer, _, err := o.send(ctx, method, path, header, b.Bytes())
	return answer, err
}

func (o *options) userCommands() []*cobra.Command {
	return []*cobra.Command{
		o.addUserCommand(), o.deleteUserCommand(), o.changePasswordCommand(), o.clearPasswordCommand(),
		o.authenticateCommand(), o.setTagsCommand(), o.hashPasswordCommand(),
	}
}

// secret is the password of a command: an argument, or the first line of the input when
// it is left out, as other users of the machine can read arguments.
func (o *options) secret(cmd *cobra.Command, args []string, at int) (string, error) {
	if len(args) > at {
		return args[at], nil
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", usageError("no password is given, as an argument or on the standard input")
	}
	return line, nil
}

// run is a command that asks a node with a time limit.
func (o *options) run(f func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := o.deadline(cmd.Context())
		defer cancel()
		return f(ctx, cmd, args)
	}
}

func userMissing(err error, name string) error {
	return nobody(nameMissing(err, "User \"%s\" does not exist", name))
}

// nobody gives the error of a user that does not exist its exit code.
func nobody(err error) error {
	var e *exitError
	if errors.As(err, &e) && e.code == exitData && e.status == 0 {
		e.code = exitNoUser
	}
	return err
}

func (o *options) addUserCommand() *cobra.Command {
	var hashed bool
	cmd := &cobra.Command{
		Use:   "add_user NAME [PASSWORD]",
		Short: "Add a user, who may not do anything yet",
		Long: `Add a user. Without PASSWORD it is read from the standard input.

A new user has no permissions: see set_permissions and set_user_tags.`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.Flags().BoolVar(&hashed, "pre-hashed-password", false, "PASSWORD is a hash, as hash_password prints it")
	cmd.RunE = o.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		password, err := o.secret(cmd, args, 1)
		if err != nil {
			return err
		}
		o.banner("Adding user \"%s\" ...", args[0])
		body := object{"tags": []string{}, "password": password}
		if hashed {
			body = object{"tags": []string{}, "password_hash": password, "hashing_algorithm": "rabbit_password_hashing_sha256"}
		}
		_, err = o.sendJSON(ctx, http.MethodPut, path("users", args[0]), body, http.Header{"If-None-Match": {"*"}})
		var failed *exitError
		if errors.As(err, &failed) && failed.status == http.StatusPreconditionFailed {
			text := fmt.Sprintf("User \"%s\" already exists", args[0]) // as rabbitmqctl has it
			return &exitError{code: exitSoftware, err: errors.New(text)}
		}
		if err != nil {
			return err
		}
		o.banner("Done. Don't forget to grant the user permissions to some virtual hosts! See 'warrenctl help set_permissions' to learn more.")
		return nil
	})
	return cmd
}

func (o *options) deleteUserCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete_user NAME",
		Short: "Delete a user with its permissions, and close its connections",
		Args:  cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o.banner("Deleting user \"%s\" ...", args[0])
			_, _, err := o.do(ctx, http.MethodDelete, path("users", args[0]), nil)
			return userMissing(err, args[0])
		}),
	}
}

func (o *options) changePasswordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "change_password NAME [PASSWORD]",
		Short: "Change the password of a user, whose connections go on",
		Long:  "Change the password of a user, whose connections go on. Without PASSWORD it is read from the standard input.",
		Args:  cobra.RangeArgs(1, 2),
		RunE: o.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			password, err := o.secret(cmd, args, 1)
			if err != nil {
				return err
			}
			o.banner("Changing password for user \"%s\" ...", args[0])
			_, err = o.sendJSON(ctx, http.MethodPut, path("users", args[0], "password"), object{"password": password}, nil)
			return userMissing(err, args[0])
		}),
	}
}

func (o *options) clearPasswordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear_password NAME",
		Short: "Take the password of a user away: nobody logs in with one any more",
		Args:  cobra.ExactArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			o.banner("Clearing password for user \"%s\" ...", args[0])
			_, _, err := o.do(ctx, http.MethodDelete, path("users", args[0], "password"), nil)
			return userMissing(err, args[0])
		}),
	}
}

func (o *options) authenticateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "authenticate_user NAME [PASSWORD]",
		Short: "Check the password of a user",
		Long:  "Check the password of a user. Without PASSWORD it is read from the standard input.",
		Args:  cobra.RangeArgs(1, 2),
		RunE: o.run(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			password, err := o.secret(cmd, args, 1)
			if err != nil {
				return err
			}
			o.banner("Authenticating user \"%s\" ...", args[0])
			b, err := o.sendJSON(ctx, http.MethodPost, path("users", args[0], "authenticate"), object{"password": password}, nil)
			if err != nil {
				return err
			}
			var answer struct{ Authenticated bool }
			if err := json.Unmarshal(b, &answer); err != nil {
				return &exitError{code: exitSoftware, err: fmt.Errorf("the answer is not what it should be: %w", err)}
			}
			if !answer.Authenticated {
				return &exitError{code: exitData, err: fmt.Errorf("failed to authenticate user \"%s\"", args[0])}
			}
			o.banner("Success")
			return nil
		}),
	}
}

func (o *options) setTagsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set_user_tags NAME [TAG...]",
		Short: "Set the tags of a user, in place of those it has",
		Long:  "Set the tags of a user, in place of those it has: administrator, monitoring, policymaker, management, impersonator or others.",
		Args:  cobra.MinimumNArgs(1),
		RunE: o.run(func(ctx context.Context, _ *cobra.Command, args []string) error {
			tags := append([]string{}, args[1:]...)
			o.banner("Setting tags for user \"%s\" to [%s] ...", args[0], strings.Join(tags, ", "))
			_, err := o.sendJSON(ctx, http.MethodPut, path("users", args[0], "tags"), object{"tags": tags}, nil)
			return userMissing(err, args[0])
		}),
	}
}

// hashPasswordCommand needs no node, as the password has to stay here.
func (o *options) hashPasswordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash_password [PASSWORD]",
		Short: "Print the SHA-256 hash of a password, as definitions and the HTTP API take it",
		Long: `Print the salted SHA-256 hash of a password, as definitions and the HTTP API take it
(rabbit_password_hashing_sha256). Without PASSWORD it is read from the standard input.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := o.secret(cmd, args, 0)
			if err != nil {
				return err
			}
			o.banner("Will hash password ...")
			salt := make([]byte, 4)
			rand.Read(salt) // never fails: crypto/rand.Read
			sum := sha256.Sum256(append(salt[:4:4], password...))
			_, err = fmt.Fprintln(o.out, base64.StdEncoding.EncodeToString(append(salt, sum[:]...)))
			return err
		},
	}
}
