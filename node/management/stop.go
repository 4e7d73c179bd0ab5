package management

import "net/http"

// stopNode has this node end in order, as SIGTERM does. Another one is not stopped from here: who stops a node wants to
// know that it is the one that was meant.
func (c *call) stopNode() error {
	m, err := c.nodeAsked()
	if err != nil {
		return err
	}
	switch {
	case m.ID != c.cluster().NodeID:
		return errBadRequest("node '%s' is stopped by a request to itself, on its own address: this is '%s'", m.Name, c.cfg.Node)
	case c.cfg.Stop == nil:
		return errUnavailable("this node cannot be stopped over HTTP: stop its process")
	}
	c.log.Info("the node is stopped over http", "user", c.user, "remote", c.r.RemoteAddr)
	c.w.WriteHeader(http.StatusAccepted)
	c.cfg.Stop()
	return nil
}
