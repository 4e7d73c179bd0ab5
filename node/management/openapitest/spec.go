// Package openapitest holds what clients of the HTTP API ask and are answered against its description. It is for tests.
package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A Spec is a description that is ready to check with.
type Spec struct {
	doc      *openapi3.T
	compiler *jsonschema.Compiler

	mu       sync.Mutex
	compiled map[string]*jsonschema.Schema // by JSON pointer
	used     map[string]bool               // operations that have been answered with success
}

const resource = "mem:///openapi.json"

// Parse reads a description in YAML or JSON. One that is no valid OpenAPI is an error.
func Parse(text []byte) (*Spec, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("read the description: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("check the description: %w", err)
	}
	plain, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(resource, tree); err != nil {
		return nil, err
	}
	return &Spec{doc: doc, compiler: c, compiled: map[string]*jsonschema.Schema{}, used: map[string]bool{}}, nil
}

// Operations lists methods and paths below /api, sorted: "GET queues/{vhost}".
func (s *Spec) Operations() []string {
	var all []string
	for path, item := range s.doc.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, method+" "+strings.TrimPrefix(path, "/"))
		}
	}
	slices.Sort(all)
	return all
}

// Open reports whether an operation needs no login.
func (s *Spec) Open(operation string) bool {
	method, path, _ := strings.Cut(operation, " ")
	op := s.doc.Paths.Value("/" + path).GetOperation(method)
	return op.Security != nil && len(*op.Security) == 0
}

// Used lists the operations that Check has seen to succeed.
func (s *Spec) Used() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for name := range s.used {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// An Exchange is a request and what was answered.
type Exchange struct {
	Method  string
	URL     string // from /api on, escaped, with the query
	Asked   []byte // body of the request
	Status  int
	Type    string // Content-Type of the answer
	Answers []byte
}

// Check returns an error when an exchange is not as the description says. What is asked of a path or with a method that the
// description has not is not looked at, if the answer says so.
func (s *Spec) Check(x *Exchange) error {
	u, err := url.Parse(x.URL)
	if err != nil {
		return err
	}
	path := s.find(x.Method, u.EscapedPath())
	if path == "" {
		if x.Status < 300 && x.Method != http.MethodHead && x.Method != http.MethodOptions {
			return fmt.Errorf("%s %s is not described, and is answered with %d", x.Method, x.URL, x.Status)
		}
		return nil
	}
	op := s.doc.Paths.Value(path).GetOperation(x.Method)
	name := x.Method + " " + strings.TrimPrefix(path, "/")
	response := op.Responses.Value(strconv.Itoa(x.Status))
	if response == nil {
		return fmt.Errorf("%s: the status %d is not described", name, x.Status)
	}
	if x.Status < 300 {
		s.mu.Lock()
		s.used[name] = true
		s.mu.Unlock()
	}
	at := "/paths/" + escape(path) + "/" + strings.ToLower(x.Method)
	if err := s.checkAnswer(x, u, response, at); err != nil {
		return fmt.Errorf("%s: answer %d: %w\n%.2000s", name, x.Status, err, x.Answers)
	}
	if x.Status < 300 && op.RequestBody != nil && len(bytes.TrimSpace(x.Asked)) > 0 && op.RequestBody.Value.Content.Get("application/json") != nil {
		if err := s.validate(at+"/requestBody/content/application~1json/schema", x.Asked); err != nil {
			return fmt.Errorf("%s: request: %w\n%.2000s", name, err, x.Asked)
		}
	}
	return nil
}

// cuts are the parameters that leave fields out that are there otherwise.
var cuts = []string{"columns", "disable_stats"}

func (s *Spec) checkAnswer(x *Exchange, u *url.URL, response *openapi3.ResponseRef, at string) error {
	content := response.Value.Content
	if len(content) == 0 {
		if len(x.Answers) > 0 {
			return fmt.Errorf("there is a body, and none is described")
		}
		return nil
	}
	kind, _, _ := strings.Cut(x.Type, ";")
	if content[kind] == nil {
		return fmt.Errorf("a body of type %q is not described", x.Type)
	}
	cut := slices.ContainsFunc(cuts, func(name string) bool { return u.Query().Has(name) }) && x.Status < 300
	if kind != "application/json" || cut {
		return nil
	}
	pointer := at + "/responses/" + strconv.Itoa(x.Status) + "/content/application~1json/schema"
	if response.Ref != "" {
		pointer = strings.TrimPrefix(response.Ref, "#") + "/content/application~1json/schema"
	}
	return s.validate(pointer, x.Answers)
}

// validate checks a document against the schema at a JSON pointer.
func (s *Spec) validate(pointer string, document []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	schema := s.compiled[pointer]
	if schema == nil {
		var err error
		if schema, err = s.compiler.Compile(resource + "#" + strings.ReplaceAll(strings.ReplaceAll(pointer, "{", "%7B"), "}", "%7D")); err != nil {
			return err
		}
		s.compiled[pointer] = schema
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func escape(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(path, "~", "~0"), "/", "~1")
}

// find returns the path of the description for the path of a request, "" for none. Of two that fit the one
// with fewer parameters is meant.
func (s *Spec) find(method, escaped string) string {
	asked := strings.Split(strings.Trim(strings.TrimPrefix(escaped, "/api"), "/"), "/")
	found, fewest := "", 0
	for path, item := range s.doc.Paths.Map() {
		if item.GetOperation(method) == nil {
			continue
		}
		if n, ok := match(strings.Split(strings.Trim(path, "/"), "/"), asked); ok && (found == "" || n < fewest) {
			found, fewest = path, n
		}
	}
	return found
}

func match(pattern, path []string) (parameters int, ok bool) {
	if len(pattern) != len(path) {
		return 0, false
	}
	for i, p := range pattern {
		switch {
		case strings.HasPrefix(p, "{"):
			parameters++
		case p != path[i]:
			return 0, false
		}
	}
	return parameters, true
}
