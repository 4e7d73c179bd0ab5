package management

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

// uiGet asks for a page, as a browser would.
func uiGet(t *testing.T, h http.Handler, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func uiBody(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func uiServer() http.Handler { return New(Config{Version: "1.2.3", Node: "n1"}) }

// TestUIIndex checks that the index names only files of the node, which are there, and forbids all else.
func TestUIIndex(t *testing.T) {
	h := uiServer()
	r := uiGet(t, h, "/")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/html; charset=utf-8" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%s %v", r.Status, r.Header)
	}
	policy := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q is without %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy: %s", policy)
	}
	text := uiBody(t, r)
	if strings.Contains(text, uiBase) || strings.Contains(text, uiPreload) {
		t.Error("the index was not completed")
	}
	found := regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(text, -1)
	if len(found) < 10 {
		t.Fatalf("the index names %d files", len(found))
	}
	for _, f := range found {
		r := uiGet(t, h, "/"+f[1])
		if r.StatusCode != 200 || r.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || !strings.Contains(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %s %v", f[1], r.Status, r.Header)
		}
		if want := uiTypes[path.Ext(f[1])]; want == "" || r.Header.Get("Content-Type") != want {
			t.Errorf("%s is served as %q, not %q", f[1], r.Header.Get("Content-Type"), want)
		}
	}
}

// TestUICaching checks that a browser that has a file is told so, with and without compression, and that files of another version's
// index are not kept.
func TestUICaching(t *testing.T) {
	h := uiServer()
	css := uiPath + loadPages().sum + "/style.css"
	plain := uiGet(t, h, css)
	small := uiGet(t, h, css, "Accept-Encoding", "br, gzip;q=0.8")
	if plain.Header.Get("Content-Encoding") != "" || small.Header.Get("Content-Encoding") != "gzip" || small.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("%v\n%v", plain.Header, small.Header)
	}
	z, err := gzip.NewReader(small.Body)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || string(unpacked) != uiBody(t, plain) {
		t.Errorf("the compressed file is another one: %v", err)
	}
	if refused := uiGet(t, h, css, "Accept-Encoding", "gzip;q=0.0"); refused.Header.Get("Content-Encoding") != "" {
		t.Error("compressed for one that does not take it")
	}
	for _, r := range []*http.Response{plain, small, uiGet(t, h, "/")} {
		tag := r.Header.Get("ETag")
		again := uiGet(t, h, map[bool]string{true: "/", false: css}[r.Header.Get("Cache-Control") == "no-cache"], "If-None-Match", tag, "Accept-Encoding", r.Header.Get("Content-Encoding"))
		if again.StatusCode != http.StatusNotModified || tag == `""` {
			t.Errorf("asked for %s again: %s", tag, again.Status)
		}
	}
	if plain.Header.Get("ETag") == small.Header.Get("ETag") {
		t.Error("both codings have one tag")
	}
	old := uiGet(t, h, uiPath+"0123/style.css")
	if old.StatusCode != 200 || old.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("under another version's path: %s, %s", old.Status, old.Header.Get("Cache-Control"))
	}
	for _, none := range []string{uiPath, uiPath + "x", uiPath + "x/none.js", uiPath + "x/index.html", "/none"} {
		if r := uiGet(t, h, none); r.StatusCode != 404 {
			t.Errorf("%s: %s", none, r.Status)
		}
	}
}

// forbidden are the ways by which text could become markup or code. The pages make elements only.
var forbidden = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|setHTML|srcdoc|https?://`)

// TestUISources reads all modules: they import what is there, and none makes markup of text or loads from elsewhere.
func TestUISources(t *testing.T) {
	imports := regexp.MustCompile(`from "([^"]+)"`)
	handlers := regexp.MustCompile(`(?i)<[a-z]+[^>]* (on[a-z]+|style)=`)
	err := fs.WalkDir(uiFiles, "ui", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(uiFiles, name)
		if err != nil {
			return err
		}
		clean := bytes.ReplaceAll(text, []byte("http://www.w3.org/2000/svg"), nil) // the name of a space, not an address
		if bad := forbidden.Find(clean); bad != nil {
			t.Errorf("%s has %s", name, bad)
		}
		if path.Ext(name) == ".html" && handlers.Match(text) {
			t.Errorf("%s has code or style in an attribute, which its policy forbids", name)
		}
		for _, m := range imports.FindAllSubmatch(text, -1) {
			if _, err := fs.Stat(uiFiles, path.Join(path.Dir(name), string(m[1]))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if lines := bytes.Count(text, []byte("\n")); lines > 400 {
			t.Errorf("%s has %d lines", name, lines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
