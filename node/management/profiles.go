package management

import (
	"net/http"
	"net/http/pprof"
	"strings"
)

// profilesPath is where Go's profiles are, for people who look into a running
// node: `go tool pprof http://USER:PASSWORD@HOST:15672/api/debug/pprof/heap`.
const profilesPath = "/api/debug/pprof/"

// serveProfiles gives the profiles of net/http/pprof to administrators. It is no route of the API: a profile takes as long as it is asked to. The
// command line is not among them, because it may hold a password.
func (s *server) serveProfiles(w http.ResponseWriter, r *http.Request) {
	c := &call{server: s, w: w, r: r}
	var err error
	if !s.cfg.Broker.CaughtUp() {
		err = c.notYet()
	} else if err = c.login(); err == nil {
		err = admins(c)
	}
	if err != nil {
		c.fail(err)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, profilesPath)
	s.log.Info("profile asked for", "profile", name, "user", c.user, "remote", r.RemoteAddr)
	switch name {
	case "cmdline":
		c.fail(errNotFound)
	case "profile":
		pprof.Profile(w, r)
	case "trace":
		pprof.Trace(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	default:
		http.StripPrefix("/api", http.HandlerFunc(pprof.Index)).ServeHTTP(w, r)
	}
}
