package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// listenMetrics opens the port for Prometheus. The default one may be taken by another node of this machine: then this
// node goes without, as /metrics of its HTTP port has the same.
func (n *Node) listenMetrics() (err error) {
	if n.cfg.MetricsAddr == "" {
		return nil
	}
	n.scrape, err = net.Listen("tcp", n.cfg.MetricsAddr)
	switch {
	case err == nil:
		return nil
	case n.cfg.MetricsAddr == DefaultMetricsAddr:
		n.log.Warn("the default port for metrics is taken: they are on the HTTP port only; see --metrics-addr", "err", err)
		return nil
	}
	return fmt.Errorf("listen for metrics: %w", err)
}

// serveMetrics serves that port, if there is one.
func (n *Node) serveMetrics() {
	if n.scrape == nil {
		return
	}
	n.metricsHTTP = n.newHTTP(n.api.Metrics())
	n.serveHTTP(n.metricsHTTP, n.scrape)
}

// maxHeader is how much of a request may come before its body, in bytes; net/http gives 4 KiB more. A name to log in with is in it, which goes into the
// log, events and counts, whoever sends it.
const maxHeader = 64 << 10

func (n *Node) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      time.Minute, // of pages, metrics and the like; the API has its own times
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
}

// serveHTTP serves a listener, if there is one, until the server is closed.
func (n *Node) serveHTTP(s *http.Server, l net.Listener) {
	if l == nil {
		return
	}
	n.spawn(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.end(fmt.Errorf("serve HTTP: %w", err))
		}
	})
}
