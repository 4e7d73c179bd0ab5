package management

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/shovel"
)

func (s *server) shovelRoutes() []route {
	return []route{
		handle(http.MethodGet, "shovels", (*call).listShovels),
		handle(http.MethodGet, "shovels/{vhost}", (*call).listShovels),
		handle(http.MethodGet, "shovels/vhost/{vhost}/{name}", (*call).shovel),
		handle(http.MethodDelete, "shovels/vhost/{vhost}/{name}", (*call).deleteShovel),
		handle(http.MethodDelete, "shovels/vhost/{vhost}/{name}/restart", (*call).restartShovel),
	}
}

const shovelComponent = "shovel"

// A ShovelStatus describes a shovel as the node does that runs it.
type ShovelStatus struct {
	Node, VHost, Name         string
	State, Reason             string // see shovel.Status
	SrcURI, DestURI           string // without passwords; empty before the first connection
	SrcProtocol, DestProtocol string
	Ends                      map[string]string // queues and exchanges, by the keys of the parameter
	Remaining                 int64             // messages still to move; below 0: no end is set
	Forwarded                 uint64            // messages
	Pending                   int               // messages
	Changed                   time.Time         // when the state did
}

// object describes a shovel as RabbitMQ's management plugin does, with the counts of its command shovel_status.
func (s *ShovelStatus) object() object {
	o := object{
		"node": s.Node, "timestamp": s.Changed.UTC().Format(time.DateTime),
		"name": s.Name, "vhost": s.VHost, "type": "dynamic", "state": s.State,
	}
	if s.State == shovel.Terminated {
		o["reason"] = s.Reason
	}
	if s.State == shovel.Running || s.State == shovel.Blocked {
		o["blocked_status"] = s.State
	}
	if s.SrcURI != "" {
		o["src_uri"], o["dest_uri"] = s.SrcURI, s.DestURI
		o["src_protocol"], o["dest_protocol"] = s.SrcProtocol, s.DestProtocol
		for key, v := range s.Ends {
			o[strings.ReplaceAll(key, "-", "_")] = v
		}
		o["remaining"], o["remaining_unacked"] = any("unlimited"), any("unlimited")
		if s.Remaining >= 0 {
			o["remaining"], o["remaining_unacked"] = s.Remaining, max(0, s.Remaining-int64(s.Pending))
		}
		o["forwarded"], o["pending"] = s.Forwarded, s.Pending
	}
	return o
}

// shovelStatuses are those of some vhosts, sorted. What is set and runs nowhere yet is starting.
func (c *call) shovelStatuses(vhosts []string) []object {
	type key struct{ vhost, name string }
	running := make(map[key]*ShovelStatus)
	for _, s := range c.cfg.Broker.Shovels(c.r.Context()) {
		k := key{s.VHost, s.Name}
		// A node that has just stopped to lead may tell of it too.
		if other := running[k]; other == nil || other.Changed.Before(s.Changed) {
			running[k] = &s
		}
	}
	list := []object{}
	info := c.cluster()
	c.view(func(m *fsm.Machine) {
		for _, vhost := range vhosts {
			for _, p := range m.Parameters(vhost) {
				if p.Component != shovelComponent {
					continue
				}
				s := running[key{vhost, p.Name}]
				if s == nil {
					s = &ShovelStatus{Node: cmp.Or(info.Leader, info.Node), VHost: vhost, Name: p.Name, State: shovel.Starting, Changed: time.Now()}
				}
				list = append(list, s.object())
			}
		}
	})
	slices.SortFunc(list, func(a, b object) int {
		return cmp.Or(cmp.Compare(a["vhost"].(string), b["vhost"].(string)), cmp.Compare(a["name"].(string), b["name"].(string)))
	})
	return list
}

func (c *call) listShovels() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	return c.list(c.shovelStatuses(vhosts))
}

// shovel answers with the parameter, as RabbitMQ does.
func (c *call) shovel() error {
	c.params["component"] = shovelComponent
	return c.parameter()
}

func (c *call) deleteShovel() error {
	c.params["component"] = shovelComponent
	return c.clearParameter()
}

func (c *call) restartShovel() error {
	c.params["component"] = shovelComponent
	if _, err := c.findParameter(); err != nil {
		return err
	}
	// One that runs nowhere is about to start.
	if err := c.cfg.Broker.RestartShovel(c.r.Context(), c.params["vhost"], c.params["name"]); err != nil {
		return err
	}
	return c.none()
}

// mayShovel refuses a shovel that would enter a vhost of this cluster without logging in, to whom may not. With that it may
// do everything there, as in RabbitMQ.
func (c *call) mayShovel(value json.RawMessage) error {
	var o struct {
		Src  json.RawMessage `json:"src-uri"`
		Dest json.RawMessage `json:"dest-uri"`
		From string          `json:"src-protocol"`
		To   string          `json:"dest-protocol"`
	}
	if json.Unmarshal(value, &o) != nil {
		return nil // it will not run either
	}
	for _, side := range []struct {
		uris     json.RawMessage
		protocol string
	}{{o.Src, o.From}, {o.Dest, o.To}} {
		var uris []string
		if json.Unmarshal(side.uris, &uris) != nil {
			uris = []string{""}
			_ = json.Unmarshal(side.uris, &uris[0]) // neither a list nor a text: it will not run
		}
		for _, uri := range uris {
			vhost, _, trusted := shovel.Inside(uri, side.protocol)
			if trusted && !c.isAdmin() && !c.cfg.Access.Rules(c.user, vhost).Enter() {
				return invalidParameter(`user "` + c.user + `" may not connect to vhost "` + vhost + `"`)
			}
		}
	}
	return nil
}

// mayDo refuses a parameter with which the user would get more rights than the user has.
func (c *call) mayDo(cmd command.Command) error {
	if p, ok := cmd.(*command.ParameterPut); ok && p.Component == shovelComponent {
		return c.mayShovel(json.RawMessage(p.Value))
	}
	return nil
}
