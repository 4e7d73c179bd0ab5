package management

import (
	"net/http"
	"strconv"

	"warren/fsm"
)

// aboutRoutes are what a node says of its program.
func (s *server) aboutRoutes() []route {
	return []route{
		look("version", (*call).version),
		look("extensions", (*call).extensions),
		open("openapi.yaml", (*call).serveDescription),
		handle(http.MethodGet, "config/effective", (*call).settings),
		handle(http.MethodDelete, "reset", (*call).reset),
		handle(http.MethodDelete, "reset/{node}", (*call).reset),
		handle(http.MethodGet, "feature-flags", (*call).featureFlags),
		handle(http.MethodPut, "feature-flags/{flag}/enable", (*call).enableFeatureFlag),
		handle(http.MethodGet, "deprecated-features", (*call).deprecatedFeatures),
		handle(http.MethodGet, "deprecated-features/used", (*call).deprecatedFeatures),
	}
}

func (c *call) version() error { return c.ok(apiLevel) }

// extensions are scripts that RabbitMQ's plugins add to its pages. There are none here.
func (c *call) extensions() error { return c.ok([]object{}) }

func (c *call) settings() error {
	settings := object{}
	for name, value := range c.tuned.Load().settings {
		settings[name] = value
	}
	return c.one(settings)
}

// reset is how RabbitMQ is told to throw its statistics away when they have become too many. Here they cannot: they stay.
func (c *call) reset() error {
	if _, named := c.params["node"]; named {
		if _, err := c.nodeAsked(); err != nil {
			return err
		}
	}
	return c.none()
}

// A featureFlag is something that a node of another release may not know.
type featureFlag struct{ name, about string }

// promised are RabbitMQ's feature flags whose meaning is true here from the first version on. Clients
// look for them before they use what stands behind.
var promised = []featureFlag{
	{"drop_unroutable_metric", "Messages that no queue takes are counted"},
	{"empty_basic_get_metric", "basic.get on an empty queue is counted"},
	{"implicit_default_bindings", "Bindings of the default exchange are not stored"},
	{"quorum_queue", "Queues are replicated"},
	{"user_limits", "Limits of connections and channels of a user"},
	{"virtual_host_metadata", "Description and tags of virtual hosts"},
}

// featureFlags lists them with, as flags of their own, the versions of the state machine: one is enabled when
// all nodes know it.
func (c *call) featureFlags() error {
	list := []object{}
	for _, f := range promised {
		list = append(list, flagObject(f.name, f.about, true, "required"))
	}
	version := uint64(0)
	c.view(func(m *fsm.Machine) { version = m.Version() })
	for v := uint64(1); v <= fsm.Version; v++ {
		list = append(list, flagObject(machineFlag(v), "What version "+strconv.FormatUint(v, 10)+
			" of the replicated state can do; enabled by itself when all nodes can", v <= version, "stable"))
	}
	return c.list(list)
}

func machineFlag(version uint64) string { return "warren_state_v" + strconv.FormatUint(version, 10) }

func flagObject(name, about string, enabled bool, stability string) object {
	state := "disabled"
	if enabled {
		state = "enabled"
	}
	return object{
		"name": name, "desc": about, "doc_url": "", "state": state, "stability": stability, "provided_by": "warren",
	}
}

// enableFeatureFlag has nothing to do: flags are enabled as soon as they can be.
func (c *call) enableFeatureFlag() error {
	name := c.params["flag"]
	for _, f := range promised {
		if f.name == name {
			return c.none()
		}
	}
	version := uint64(0)
	c.view(func(m *fsm.Machine) { version = m.Version() })
	for v := uint64(1); v <= fsm.Version; v++ {
		if machineFlag(v) != name {
			continue
		}
		if v <= version {
			return c.none()
		}
		return errBadRequest("feature flag '%s' is enabled by itself when all nodes run a version that knows it", name)
	}
	return errBadRequest("feature flag '%s' is unsupported", name)
}

// deprecatedFeatures lists what will go in a later version. Nothing will.
func (c *call) deprecatedFeatures() error { return c.list([]object{}) }
