package session

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
)

// generatedName returns prefix and 22 characters that nobody can guess, as
// RabbitMQ names queues ("amq.gen-…") and consumers ("amq.ctag-…").
func generatedName(prefix string) string {
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand.Read
	return prefix + base64.RawURLEncoding.EncodeToString(random[:])
}

var crlf = strings.NewReplacer("\r", "", "\n", "")

// entityName removes what RabbitMQ removes from names: carriage returns and line feeds.
func entityName(name string) string {
	if strings.ContainsAny(name, "\r\n") {
		return crlf.Replace(name)
	}
	return name
}
