package management

import (
	_ "embed"
	"net/http"
)

// Description is the OpenAPI description of the HTTP API. It is written by hand; tests hold it against the routes, and
// all that they ask and are answered against it.
//
//go:embed openapi.yaml
var Description []byte

// serveDescription needs no login: it says nothing that the documentation does not.
func (c *call) serveDescription() error {
	h := c.w.Header()
	h.Set("Content-Type", "application/yaml")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	c.pace(len(Description))
	c.w.WriteHeader(http.StatusOK)
	if _, err := c.w.Write(Description); err != nil {
		c.log.Debug("http answer not sent", "remote", c.r.RemoteAddr, "err", err)
	}
	return nil
}
