package management

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// The pages for browsers are plain files: no build step makes them, and they load nothing from elsewhere.
//
//go:embed ui/index.html ui/*.js ui/*.css ui/*.svg ui/js
var uiFiles embed.FS

const (
	uiIndex = "index.html"
	// uiPath is below what the other files are served. The next segment is a checksum of all of them, so that a
	// browser may keep them for as long as it likes, and asks for new ones after an upgrade.
	uiPath = "/ui/"
	// uiBase and uiPreload stand in the index for that path, relative as a proxy may put a prefix before all, and for the modules.
	uiBase    = "UI_BASE"
	uiPreload = "<!-- UI_PRELOAD -->"
)

// uiPolicy lets pages run and load nothing but the node's own files, and makes a browser refuse text as markup.
const uiPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// uiTypes are the types of the files: those of the system's tables differ between machines.
var uiTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// An asset is a file as it is served.
type asset struct {
	kind, tag   string // Content-Type, ETag without its quotes
	plain, gzip []byte
}

func newAsset(name string, content []byte) *asset {
	sum := sha256.Sum256(content)
	a := &asset{kind: uiTypes[path.Ext(name)], tag: hex.EncodeToString(sum[:12]), plain: content}
	if a.kind == "" {
		a.kind = mime.TypeByExtension(path.Ext(name))
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a valid one
	_, err := z.Write(content)
	if err == nil && z.Close() == nil && b.Len() < len(content) {
		a.gzip = b.Bytes()
	}
	return a
}

// pages are all files, by their paths below uiPath without the checksum.
type pages struct {
	index *asset
	files map[string]*asset
	sum   string
}

// loadPages reads the embedded files, once and only when a browser comes.
var loadPages = sync.OnceValue(func() *pages {
	p := &pages{files: make(map[string]*asset)}
	root, err := fs.Sub(uiFiles, "ui")
	if err != nil {
		panic(err) // the name is a constant
	}
	var index []byte
	all := sha256.New()
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(all, "%s %d\n%s", name, len(content), content)
		if name == uiIndex {
			index = content
		} else {
			p.files[name] = newAsset(name, content)
		}
		return nil
	})
	if err != nil {
		panic(err) // it is part of the program
	}
	p.sum = hex.EncodeToString(all.Sum(nil)[:8])
	p.index = newAsset(uiIndex, p.complete(index))
	return p
})

// complete writes into the index where the files are. All modules are named, so that a browser need not find out one
// after the other which it will need.
func (p *pages) complete(index []byte) []byte {
	base := strings.TrimPrefix(uiPath, "/") + p.sum
	var preload []string
	for name := range p.files {
		if strings.HasPrefix(name, "js/") {
			preload = append(preload, fmt.Sprintf("<link rel=\"modulepreload\" href=\"%s/%s\">", base, name))
		}
	}
	slices.Sort(preload)
	text := strings.ReplaceAll(string(index), uiBase, base)
	return []byte(strings.Replace(text, uiPreload, strings.Join(preload, "\n"), 1))
}

func (s *server) uiRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.serveIndex)
	mux.HandleFunc("GET "+uiPath, s.serveFile)
}

func (s *server) serveIndex(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", uiPolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
	w.Header().Set("Cache-Control", "no-cache") // ask each time whether it has changed
	loadPages().index.serve(w, r)
}

func (s *server) serveFile(w http.ResponseWriter, r *http.Request) {
	sum, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, uiPath), "/")
	p := loadPages()
	a := p.files[name]
	if a == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", uiPolicy) // an image may be opened as a page
	if sum == p.sum {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	} else { // the index came from a node of another version
		w.Header().Set("Cache-Control", "no-cache")
	}
	a.serve(w, r)
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	content, tag := a.plain, a.tag
	if a.gzip != nil && acceptsGzip(r) {
		content, tag = a.gzip, a.tag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// acceptsGzip reads Accept-Encoding as far as browsers use it: a coding with q=0 is refused.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, q, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			weight := strings.TrimSpace(q)
			return weight == "" || strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != ""
		}
	}
	return false
}
