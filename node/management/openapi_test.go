package management

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"warren/node/management/openapitest"
)

// description is what all answers of the tests are held against.
var description = sync.OnceValues(func() (*openapitest.Spec, error) { return openapitest.Parse(Description) })

// conforms checks that a request and its answer are as described.
func (a *api) conforms(method, path, body string, w *httptest.ResponseRecorder) {
	a.t.Helper()
	spec, err := description()
	if err != nil {
		a.t.Fatal(err)
	}
	x := openapitest.Exchange{Method: method, URL: path, Asked: []byte(body), Status: w.Code, Type: w.Header().Get("Content-Type"), Answers: w.Body.Bytes()}
	if !strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, profilesPath) {
		return
	}
	if err := spec.Check(&x); err != nil {
		a.t.Errorf("not as openapi.yaml says: %v", err)
	}
}

// TestDescription checks that every resource is described, that nothing else is, and that both say alike what needs no login.
//
// row: 1.8 description of the API
func TestDescription(t *testing.T) {
	spec, err := description()
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	var routes []string
	for _, rt := range (&server{}).table() {
		name := rt.method + " " + strings.Join(rt.pattern, "/")
		routes = append(routes, name)
		open[name] = rt.open
	}
	described := spec.Operations()
	for _, name := range routes {
		if !slices.Contains(described, name) {
			t.Errorf("%s is not described in openapi.yaml", name)
		} else if spec.Open(name) != open[name] && name != "POST login" { // which is a login itself
			t.Errorf("%s: open: %v, described as %v", name, open[name], spec.Open(name))
		}
	}
	for _, name := range described {
		if !slices.Contains(routes, name) {
			t.Errorf("%s is described in openapi.yaml and not there", name)
		}
	}
	a := newAPI(t)
	w := a.request(http.MethodGet, "/api/openapi.yaml", "")
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), "openapi: 3.1") || w.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("%d %v %.40s", w.Code, w.Header(), w.Body)
	}
}
