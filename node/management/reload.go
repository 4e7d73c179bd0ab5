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

// ErrLogLevel, of Broker.SetLogLevel: there is no such level, or the node cannot change it.
var ErrLogLevel = errors.New("the level of the log stays as it was")

// logLevels are the levels by the names that may be used; RabbitMQ has warning and more of them.
var logLevels = map[string]string{"debug": "debug", "info": "info", "warning": "warn", "warn": "warn", "error": "error"}

// setLogLevel sets the level of the log of a node, until it reads its settings again.
func (c *call) setLogLevel() error {
	var body struct {
		Level string `json:"level"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	level, ok := logLevels[body.Level]
	if !ok {
		return errBadRequest("level must be debug, info, warning or error, not %q", body.Level)
	}
	err := c.cfg.Broker.SetLogLevel(c.r.Context(), c.params["node"], level)
	switch {
	case errors.Is(err, ErrLogLevel):
		return errBadRequest("%v", err)
	case err != nil:
		return maintenanceError(err)
	}
	return c.none()
}

func (s *server) reloadRoutes() []route {
	return []route{
		handle(http.MethodPost, "cluster/nodes/{node}/reload", (*call).reload),
		handle(http.MethodPut, "cluster/nodes/{node}/log-level", (*call).setLogLevel),
	}
}
