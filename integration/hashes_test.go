package integration

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"testing"
)

// TestForeignPasswords imports users of RabbitMQ with each of its kinds of hashes, by definitions on one node, and
// logs in on all.
//
// row: 1.7 password hashes
func TestForeignPasswords(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t, 3)
	salt := []byte{0, 0xff, 7, '\n'}
	hashes := map[string]func([]byte) []byte{
		"rabbit_password_hashing_sha256": func(b []byte) []byte { s := sha256.Sum256(b); return s[:] },
		"rabbit_password_hashing_sha512": func(b []byte) []byte { s := sha512.Sum512(b); return s[:] },
		"rabbit_password_hashing_md5":    func(b []byte) []byte { s := md5.Sum(b); return s[:] },
	}
	var users, permissions []fields
	names := map[string]string{}
	for algorithm, sum := range hashes {
		name := unique(t)
		names[algorithm] = name
		salted := append([]byte{}, salt...)
		hash := append(append([]byte{}, salt...), sum(append(salted, "pässword"...))...)
		users = append(users, fields{
			"name": name, "tags": []string{}, "limits": fields{},
			"password_hash": base64.StdEncoding.EncodeToString(hash), "hashing_algorithm": algorithm,
		})
		permissions = append(permissions, fields{"user": name, "vhost": "/", "configure": "", "write": "", "read": ""})
	}
	c.node(0).operate(t, "POST", "/api/definitions", fields{"users": users, "permissions": permissions})
	for algorithm, name := range names {
		t.Cleanup(func() { c.node(0).operate(t, "DELETE", "/api/users/"+name, nil) })
		for _, n := range c.nodes {
			if conn := logsIn(t, n, name, "pässword"); conn.IsClosed() {
				t.Errorf("%s: closed", algorithm)
			}
			_, err := dialAs(t, n, name, "password")
			refusal(t, err, 403, "username or password not allowed")
		}
	}
}
