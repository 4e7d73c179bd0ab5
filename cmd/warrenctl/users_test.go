package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

const (
	noContent = 204
	missing   = `{"error":"Object Not Found","reason":"Not Found"}`
)

func TestUserCommands(t *testing.T) {
	f := newFake(t, answers{
		"PUT /api/users/ann":                {201, ""},
		"PUT /api/users/taken":              {412, `{"error":"precondition_failed","reason":"user 'taken' already exists"}`},
		"DELETE /api/users/ann":             {noContent, ""},
		"PUT /api/users/ann/password":       {noContent, ""},
		"DELETE /api/users/ann/password":    {noContent, ""},
		"PUT /api/users/ann/tags":           {noContent, ""},
		"POST /api/users/ann/authenticate":  {200, `{"authenticated":true}`},
		"POST /api/users/eve/authenticate":  {200, `{"authenticated":false}`},
		"GET /api/users":                    {200, `[{"name":"ann","tags":["administrator","x"]},{"name":"bob","tags":[]}]`},
		"PUT /api/users/a%2Fb%20c":          {201, ""},
		"GET /api/users/ann/permissions":    {200, `[{"user":"ann","vhost":"/","configure":".*","write":"","read":"^a"}]`},
		"GET /api/vhosts/%2F/permissions":   {200, `[{"user":"ann","vhost":"/","configure":".*","write":"","read":"^a"}]`},
		"PUT /api/users/refused":            {401, `{"error":"not_authorised","reason":"Not administrator user"}`},
		"GET /api/vhosts/nowhere/whatever":  {404, missing},
		"GET /api/users/ann/topic-whatever": {404, missing},
	})
	f.expect(t, []string{"add_user", "ann", "secret"}, 0, "Adding user \"ann\" ...\n"+
		"Done. Don't forget to grant the user permissions to some virtual hosts! See 'warrenctl help set_permissions' to learn more.\n", "")
	if f.body != `{"password":"secret","tags":[]}` || f.ifNoneMatch != "*" {
		t.Errorf("sent %s, if none match %q", f.body, f.ifNoneMatch)
	}
	f.expect(t, []string{"-q", "add_user", "--pre-hashed-password", "ann", "aGFzaA=="}, 0, "", "")
	if f.body != `{"hashing_algorithm":"rabbit_password_hashing_sha256","password_hash":"aGFzaA==","tags":[]}` {
		t.Errorf("sent %s", f.body)
	}
	f.expect(t, []string{"-q", "add_user", "a/b c", "secret"}, 0, "", "")
	f.expect(t, []string{"-q", "add_user", "taken", "secret"}, 70, "", "Error: User \"taken\" already exists\n")
	f.expect(t, []string{"-q", "add_user", "refused", "secret"}, 77, "", "Error: node NODE: Not administrator user\n")
	f.expect(t, []string{"delete_user", "ann"}, 0, "Deleting user \"ann\" ...\n", "")
	f.expect(t, []string{"-q", "delete_user", "nobody"}, 67, "", "Error: User \"nobody\" does not exist\n")
	f.expect(t, []string{"change_password", "ann", "new"}, 0, "Changing password for user \"ann\" ...\n", "")
	if f.body != `{"password":"new"}` {
		t.Errorf("sent %s", f.body)
	}
	f.expect(t, []string{"-q", "change_password", "nobody", "new"}, 67, "", "Error: User \"nobody\" does not exist\n")
	f.expect(t, []string{"clear_password", "ann"}, 0, "Clearing password for user \"ann\" ...\n", "")
	f.expect(t, []string{"set_user_tags", "ann", "a", "b"}, 0, "Setting tags for user \"ann\" to [a, b] ...\n", "")
	if f.body != `{"tags":["a","b"]}` {
		t.Errorf("sent %s", f.body)
	}
	f.expect(t, []string{"-q", "set_user_tags", "ann"}, 0, "", "")
	if f.body != `{"tags":[]}` {
		t.Errorf("sent %s", f.body)
	}
	f.expect(t, []string{"authenticate_user", "ann", "x"}, 0, "Authenticating user \"ann\" ...\nSuccess\n", "")
	f.expect(t, []string{"-q", "authenticate_user", "eve", "x"}, 65, "", "Error: failed to authenticate user \"eve\"\n")
	f.expect(t, []string{"list_users"}, 0, "Listing users ...\nuser\ttags\nann\t[administrator, x]\nbob\t[]\n", "")
	f.expect(t, []string{"-q", "list_users", "--formatter", "json"}, 0,
		"[\n{\"user\":\"ann\",\"tags\":[\"administrator\",\"x\"]},\n{\"user\":\"bob\",\"tags\":[]}\n]\n", "")
	f.expect(t, []string{"list_user_permissions", "ann"}, 0,
		"Listing permissions for user \"ann\" ...\nvhost\tconfigure\twrite\tread\n/\t.*\t\t^a\n", "")
	f.expect(t, []string{"-q", "list_user_permissions", "nobody"}, 67, "", "Error: User \"nobody\" does not exist\n")
	f.expect(t, []string{"list_permissions"}, 0, "Listing permissions for vhost \"/\" ...\nuser\tconfigure\twrite\tread\nann\t.*\t\t^a\n", "")
	f.expect(t, []string{"-q", "list_permissions", "-p", "nowhere"}, 65, "", "Error: Virtual host 'nowhere' does not exist\n")
	for _, wrong := range [][]string{{"add_user"}, {"add_user", "a", "b", "c"}, {"delete_user"}, {"set_user_tags"}, {"set_permissions", "u", "a"}} {
		if code, _, _ := run(append([]string{"-n", f.URL}, wrong...)...); code != 64 {
			t.Errorf("%q: exit code %d", wrong, code)
		}
	}
}

func TestPermissionCommands(t *testing.T) {
	f := newFake(t, answers{
		"PUT /api/permissions/%2F/ann":                    {201, ""},
		"PUT /api/permissions/%2F/nobody":                 {400, `{"error":"bad_request","reason":"vhost_or_user_not_found"}`},
		"PUT /api/permissions/nowhere/ann":                {400, `{"error":"bad_request","reason":"vhost_or_user_not_found"}`},
		"PUT /api/permissions/v/ann":                      {400, `{"error":"bad_request","reason":"invalid regular expression"}`},
		"DELETE /api/permissions/%2F/ann":                 {noContent, ""},
		"PUT /api/topic-permissions/%2F/ann":              {201, ""},
		"DELETE /api/topic-permissions/%2F/ann":           {noContent, ""},
		"DELETE /api/topic-permissions/%2F/ann/amq.topic": {noContent, ""},
		"GET /api/users/ann":                              {200, `{}`},
		"GET /api/vhosts/%2F":                             {200, `{}`},
		"GET /api/vhosts/v":                               {200, `{}`},
		"GET /api/vhosts/%2F/topic-permissions":           {200, `[{"user":"ann","vhost":"/","exchange":"x","write":"w","read":"r"}]`},
		"GET /api/users/ann/topic-permissions":            {200, `[]`},
	})
	f.expect(t, []string{"set_permissions", "ann", "^a", ".*", ""}, 0, "Setting permissions for user \"ann\" in vhost \"/\" ...\n", "")
	if f.body != `{"configure":"^a","read":"","write":".*"}` {
		t.Errorf("sent %s", f.body)
	}
	f.expect(t, []string{"-q", "set_permissions", "nobody", "", "", ""}, 67, "", "Error: User \"nobody\" does not exist\n")
	f.expect(t, []string{"-q", "set_permissions", "-p", "nowhere", "ann", "", "", ""}, 65, "", "Error: Virtual host 'nowhere' does not exist\n")
	f.expect(t, []string{"-q", "set_permissions", "-p", "v", "ann", "(", "", ""}, 65, "", "Error: node NODE: invalid regular expression\n")
	f.expect(t, []string{"clear_permissions", "ann"}, 0, "Clearing permissions for user \"ann\" in vhost \"/\" ...\n", "")
	f.expect(t, []string{"-q", "clear_permissions", "-p", "v", "ann"}, 0, "", "") // there were none
	f.expect(t, []string{"-q", "clear_permissions", "nobody"}, 67, "", "Error: User \"nobody\" does not exist\n")
	f.expect(t, []string{"set_topic_permissions", "ann", "amq.topic", "w", "r"}, 0,
		"Setting topic permissions on \"amq.topic\" for user \"ann\" in vhost \"/\" ...\n", "")
	if f.body != `{"exchange":"amq.topic","read":"r","write":"w"}` {
		t.Errorf("sent %s", f.body)
	}
	f.expect(t, []string{"clear_topic_permissions", "ann"}, 0, "Clearing topic permissions for user \"ann\" in vhost \"/\" ...\n", "")
	f.expect(t, []string{"clear_topic_permissions", "ann", "amq.topic"}, 0,
		"Clearing topic permissions on \"amq.topic\" for user \"ann\" in vhost \"/\" ...\n", "")
	f.expect(t, []string{"list_topic_permissions"}, 0, "Listing topic permissions for vhost \"/\" ...\nuser\texchange\twrite\tread\nann\tx\tw\tr\n", "")
	f.expect(t, []string{"list_user_topic_permissions", "ann"}, 0, "Listing topic permissions for user \"ann\" ...\n", "")
}

// TestSecretFromInput reads passwords from the standard input.
func TestSecretFromInput(t *testing.T) {
	f := newFake(t, answers{"PUT /api/users/ann/password": {noContent, ""}})
	from := func(input string, args ...string) (code int, stdout, stderr string) {
		var out, errs bytes.Buffer
		o := &options{out: &out}
		code = o.execute(context.Background(), append([]string{"-q", "-n", f.URL}, args...), strings.NewReader(input), &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, _, errs := from("from input\nmore\n", "change_password", "ann"); code != 0 || f.body != `{"password":"from input"}` {
		t.Errorf("exit code %d, sent %s, %s", code, f.body, errs)
	}
	if code, _, errs := from("\n", "change_password", "ann"); code != 64 || !strings.Contains(errs, "no password is given") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	code, out, errs := from("secret", "hash_password")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(out))
	if code != 0 || err != nil || len(raw) != 4+sha256.Size {
		t.Fatalf("exit code %d, %q, %s", code, out, errs)
	}
	if sum := sha256.Sum256(append(raw[:4:4], "secret"...)); !bytes.Equal(sum[:], raw[4:]) {
		t.Error("the hash is not of the password")
	}
}
