package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestReportHasNoPasswords names parameters, and shows none of their values.
func TestReportHasNoPasswords(t *testing.T) {
	answers := map[string]string{
		"/api/overview": `{}`, "/api/cluster": `{}`, "/api/nodes": `[]`, "/api/vhosts": `[{"name":"/"}]`,
		"/api/parameters":        `[{"component":"shovel","name":"moves","vhost":"/","value":{"src-uri":"amqp://u:secret@h"}}]`,
		"/api/global-parameters": `[{"name":"cluster_tags","value":"secret"}]`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		switch {
		case ok:
		case strings.HasSuffix(r.URL.Path, "permissions"):
			body = `[]`
		case strings.HasPrefix(r.URL.Path, "/api/vhosts/"), strings.HasPrefix(r.URL.Path, "/api/nodes/"), strings.Contains(r.URL.Path, "/health/"):
			body = `{}`
		default:
			body = `[]`
		}
		_, _ = w.Write([]byte(body))
	}))
	defer s.Close()
	code, out, errs := run("-n", s.URL, "report")
	if code != 0 || !strings.Contains(out, "moves") || !strings.Contains(out, "cluster_tags") {
		t.Errorf("exit code %d, %s\n%s", code, errs, out)
	}
	if strings.Contains(out, "secret") {
		t.Errorf("a password is in the report:\n%s", out)
	}
}
