package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDefinitionVerbs(t *testing.T) {
	const small = `{"vhosts":[]}`
	f := newFake(t, answers{
		"GET /api/definitions":  {200, small + "\n"},
		"POST /api/definitions": {204, ""},
	})
	file := filepath.Join(t.TempDir(), "definitions.json")
	f.expect(t, []string{"export_definitions", "-"}, 0, "{\n  \"vhosts\": []\n}\n", "")
	f.expect(t, []string{"export_definitions", file}, 0, "Exporting definitions in JSON to a file at \""+file+"\" ...\n", "")
	if b, err := os.ReadFile(file); err != nil || string(b) != "{\n  \"vhosts\": []\n}\n" {
		t.Errorf("the file holds %s: %v", b, err)
	}
	f.expect(t, []string{"export_definitions", "-q", filepath.Join(file, "x")}, 65, "",
		"Error: could not write to file "+filepath.Join(file, "x")+": not a directory\n")
	f.expect(t, []string{"export_definitions", "--format", "erlang", "-"}, 64, "", "Error: format \"erlang\" is not known: use json\n")
	f.requests = nil
	f.expect(t, []string{"import_definitions", file}, 0, "Importing definitions in JSON from a file at \""+file+"\" ...\n", "")
	f.wantSent(t, []string{"POST /api/definitions"}, []string{"{\n  \"vhosts\": []\n}\n"})
	f.expect(t, []string{"import_definitions", "-q", file + ".none"}, 65, "", "Error: file "+file+".none does not exist\n")
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.expect(t, []string{"import_definitions", "-q", file}, 65, "", "Error: the definitions are no JSON\n")
}

// TestExportForRabbitMQ leaves out whom RabbitMQ could not log in, with all that is theirs.
func TestExportForRabbitMQ(t *testing.T) {
	f := newFake(t, answers{"GET /api/definitions": {200, `{"users":[{"name":"old","hashing_algorithm":"rabbit_password_hashing_sha256"},
		{"name":"new","hashing_algorithm":"warren_password_hashing_argon2id"}],"permissions":[{"user":"new","vhost":"/"},{"user":"old","vhost":"/"}],
		"topic_permissions":[{"user":"new"}],"policies":[{"priority":12345678901234567890}]}`}})
	f.expect(t, []string{"export_definitions", "--rabbitmq", "-"}, 0, `{
  "permissions": [
    {
      "user": "old",
      "vhost": "/"
    }
  ],
  "policies": [
    {
      "priority": 12345678901234567890
    }
  ],
  "topic_permissions": [],
  "users": [
    {
      "hashing_algorithm": "rabbit_password_hashing_sha256",
      "name": "old"
    }
  ]
}
`, "User \"new\" is left out: RabbitMQ cannot read the hash of the password\n")
}
