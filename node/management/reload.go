package management

import (
	"errors"
	"net/http"
)

// A Reloaded says what came of reading settings again: the keys of those that have changed.
type Reloaded struct {
	Applied     []string `json:"applied"`
	NeedRestart []string `json:"need_restart"` // they count when the node is restarted
}

// ErrReload, of Broker.Reload: the settings or certificates cannot be read. What is in force stays.
var ErrReload = errors.New("the node could not read its settings again, those in force stay")

// tuning is what may change while the server runs.
type tuning struct {
	connectionMax int // AMQP connections of this node; 0: no limit
	settings      map[string]string
}

// Tune changes what Config said of the settings.
func (s *Server) Tune(connectionMax int, settings map[string]string) {
	s.server.tuned.Store(&tuning{connectionMax, settings})
}

// reload has a node read its file of settings again.
func (c *call) reload() error {
	r, err := c.cfg.Broker.Reload(c.r.Context(), c.params["node"])
	switch {
	case errors.Is(err, ErrReload):
		return errBadRequest("%v", err)
	case err != nil:
		return maintenanceError(err)
	}
	c.log.Info("settings were read again", "by", c.params["node"], "user", c.user, "applied", r.Applied, "need_restart", r.NeedRestart)
	return c.ok(r)
}

func (s *server) reloadRoutes() []route {
	return []route{handle(http.MethodPost, "cluster/nodes/{node}/reload", (*call).reload)}
}
