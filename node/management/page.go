package management

import (
	"html/template"
	"net/http"
)

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Warren: {{.Node}}</title>
<h1>Warren {{.Version}}</h1>
<p>This is the HTTP side of the message broker node <b>{{.Node}}</b>. AMQP clients use another port.</p>
<ul>
<li><a href="/health">/health</a>: whether this node serves clients (no login)</li>
<li><a href="/api/overview">/api/overview</a>, <a href="/api/nodes">/api/nodes</a>,
<a href="/api/queues">/api/queues</a> …: the API, with the paths and fields of RabbitMQ's management API (login)</li>
</ul>
<p>On a command line: <code>warrenctl status</code>, <code>warrenctl list_queues</code>.</p>
</html>
`))

// servePage says what this port is to somebody who opens it in a browser.
func (s *server) servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := pageTemplate.Execute(w, s.cfg); err != nil {
		s.log.Debug("page not sent", "err", err)
	}
}
