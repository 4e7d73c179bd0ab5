package management

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"warren/fsm"
	"warren/fsm/access"
	"warren/fsm/command"
	"warren/fsm/topology"
)

// A definition is one kind of thing in a file of definitions, which is RabbitMQ's
// (https://www.rabbitmq.com/docs/definitions).
type definition struct {
	name string
	// global says that it belongs to no vhost: it is left out where one is asked for.
	global bool
	// export lists what there is in some vhosts; nil: another one of that name does.
	export exporter
	// parse makes the command that declares one. The vhost is the one that its file
	// belongs to, empty when the item names its own. No command: nothing is to be done.
	parse func(c *call, item json.RawMessage, vhost string) (command.Command, error)
}

// An exporter copies what there is of a kind, with the machine under its lock, and returns what describes it: that is called when the
// machine goes on. All kinds of a file are copied at one moment, so they fit together.
type exporter func(e *exporting) (describe func() []object)

// exporting is the machine while it is exported, and what has been copied for several kinds.
type exporting struct {
	*fsm.Machine
	vhosts      []string
	users       []access.User // these are empty when only a vhost is asked for
	permissions []access.Permission
	topics      []access.TopicPermission
}

// atOnce is the exporter of what there is little of.
func atOnce(list func(m *fsm.Machine, vhosts []string) []object) exporter {
	return func(e *exporting) func() []object {
		all := list(e.Machine, e.vhosts)
		return func() []object { return all }
	}
}

// ofVHosts is the exporter of what belongs to one. describe is given all of a vhost, as read found it.
func ofVHosts[T any](read func(m *fsm.Machine, vhost string) T, describe func(vhost string, found T) []object) exporter {
	return func(e *exporting) func() []object {
		found := make([]T, len(e.vhosts))
		for i, vhost := range e.vhosts {
			found[i] = read(e.Machine, vhost)
		}
		return func() (list []object) {
			for i, vhost := range e.vhosts {
				list = append(list, describe(vhost, found[i])...)
			}
			return list
		}
	}
}

// definitionKinds are all kinds, each after what it needs.
var definitionKinds = []definition{
	{name: "vhosts", global: true, export: atOnce(exportVHosts), parse: parseVHost},
	{name: "users", global: true, export: exportUsers, parse: parseUser},
	{name: "users", global: true, parse: parseUserLimits}, // once they are there
	{name: "permissions", global: true, export: exportPermissions, parse: parsePermission},
	{name: "topic_permissions", global: true, export: exportTopicPermissions, parse: parseTopicPermission},
	{name: "global_parameters", global: true, export: atOnce(exportGlobalParameters), parse: parseGlobalParameter},
	{name: "parameters", export: atOnce(exportParameters), parse: parseParameter},
	{name: "policies", export: atOnce(exportPolicies), parse: parsePolicy},
	{name: "exchanges", export: ofVHosts((*fsm.Machine).Exchanges, exportExchanges), parse: parseExchange},
	{name: "queues", export: ofVHosts((*fsm.Machine).Declared, exportQueues), parse: parseQueue},
	{name: "bindings", export: ofVHosts(readBindings, exportBindings), parse: parseBinding},
}

func (s *server) definitionRoutes() []route {
	return []route{
		handle(http.MethodGet, "definitions", (*call).exportDefinitions),
		handle(http.MethodPost, "definitions", (*call).importDefinitions),
		handle(http.MethodGet, "all-configuration", (*call).exportDefinitions), // their name of long ago
		handle(http.MethodPost, "all-configuration", (*call).importDefinitions),
		handle(http.MethodGet, "definitions/{vhost}", (*call).exportDefinitions),
		handle(http.MethodPost, "definitions/{vhost}", (*call).importDefinitions),
	}
}

// exportDefinitions answers with all definitions, or those of one vhost, which then
// do not name it.
func (c *call) exportDefinitions() error {
	vhosts, err := c.vhostsAsked()
	if err != nil {
		return err
	}
	_, one := c.params["vhost"]
	all := object{
		"rabbit_version": apiLevel, "rabbitmq_version": apiLevel,
		"product_name": productName, "product_version": c.cfg.Version,
		"rabbitmq_definition_format": "cluster", "original_cluster_name": c.cluster().Name,
	}
	if one {
		all["rabbitmq_definition_format"] = "single_virtual_host"
		all["original_vhost_name"] = vhosts[0]
	}
	describe := make(map[string]func() []object)
	c.view(func(m *fsm.Machine) {
		e := &exporting{Machine: m, vhosts: vhosts}
		if !one {
			e.users, e.permissions, e.topics = m.Access().Unsorted()
		}
		for _, d := range definitionKinds {
			if d.export != nil && !(one && d.global) {
				describe[d.name] = d.export(e)
			}
		}
	})
	for name, list := range describe {
		found := list()
		if found == nil {
			found = []object{}
		}
		if one {
			for _, o := range found {
				delete(o, "vhost")
			}
		}
		all[name] = found
	}
	if name := c.r.URL.Query().Get("download"); name != "" {
		c.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	}
	return c.ok(all)
}

// importers is how many commands of an import are under way at the same time.
const importers = 64

// importDefinitions declares what the body holds. What is there already stays as it is,
// but for metadata and limits, and nothing is deleted. All is checked before anything is
// done; what the machine refuses then ends the import, and what was done stays.
func (c *call) importDefinitions() error {
	vhost, one := c.params["vhost"]
	if one {
		if err := c.needVHost(vhost); err != nil {
			return err
		}
	}
	var body map[string]json.RawMessage
	if err := c.decodeUpTo(maxDefinitionValues, &body); err != nil {
		return err
	}
	steps := make([][]command.Command, len(definitionKinds))
	for i, d := range definitionKinds {
		if one && d.global {
			continue
		}
		var items []json.RawMessage
		if raw, ok := body[d.name]; ok {
			if err := json.Unmarshal(raw, &items); err != nil {
				return errBadRequest("%s is no list", d.name)
			}
		}
		for _, item := range items {
			cmd, err := d.parse(c, item, vhost)
			if err != nil {
				return err
			}
			if cmd != nil {
				steps[i] = append(steps[i], cmd)
			}
		}
	}
	c.warnOfUnknown(body)
	for _, commands := range steps {
		if err := c.proposeAll(commands); err != nil {
			return err
		}
	}
	c.log.Info("definitions imported", "user", c.user, "vhost", vhost)
	return c.none()
}

// warnOfUnknown logs what an import leaves out because this broker has no such thing.
func (c *call) warnOfUnknown(body map[string]json.RawMessage) {
	for name, raw := range body {
		var items []json.RawMessage
		known := slices.ContainsFunc(definitionKinds, func(d definition) bool { return d.name == name })
		if !known && json.Unmarshal(raw, &items) == nil && len(items) > 0 {
			c.log.Warn("definitions of an unknown kind were not imported", "kind", name, "count", len(items))
		}
	}
}

// proposeAll proposes commands that need not be done in their order. It returns the
// first error.
func (c *call) proposeAll(commands []command.Command) error {
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	next := make(chan command.Command)
	for range min(importers, len(commands)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for cmd := range next {
				if _, err := c.carryOut(cmd); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		}()
	}
	for _, cmd := range commands {
		next <- cmd
	}
	close(next)
	wg.Wait()
	return first
}

// item decodes one definition, numbers as they are written.
func item(raw json.RawMessage, kind string, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return errBadRequest("%s: %v", kind, err)
	}
	return nil
}

// nameIn checks name and vhost of a definition: the vhost of the file counts
// where it has one.
func nameIn(kind, name string, vhost *string, file string) error {
	if file != "" {
		*vhost = file
	}
	if *vhost == "" {
		return errBadRequest("%s '%s' names no vhost", kind, name)
	}
	return shortEnough(kind+" name", name)
}

func exportVHosts(m *fsm.Machine, vhosts []string) []object {
	var list []object
	for _, name := range vhosts {
		v, ok := m.VHost(name)
		if !ok {
			continue
		}
		tags := v.Tags
		if tags == nil {
			tags = []string{}
		}
		metadata := object{"description": v.Description, "tags": tags}
		o := object{"name": name, "description": v.Description, "tags": tags, "metadata": metadata, "limits": []any{}}
		if v.DefaultType != "" {
			o["default_queue_type"], metadata["default_queue_type"] = v.DefaultType, v.DefaultType
		}
		if v.Protected {
			o["protected_from_deletion"], metadata["protected_from_deletion"] = true, true
		}
		list = append(list, o)
	}
	return list
}

func parseVHost(c *call, raw json.RawMessage, _ string) (command.Command, error) {
	type fields struct {
		Description *string         `json:"description"`
		Tags        json.RawMessage `json:"tags"`
		DefaultType string          `json:"default_queue_type"`
		Protected   bool            `json:"protected_from_deletion"`
	}
	var v struct {
		Name string `json:"name"`
		fields
		Metadata fields `json:"metadata"`
	}
	if err := item(raw, "vhost", &v); err != nil {
		return nil, err
	}
	if err := shortEnough("virtual host name", v.Name); err != nil {
		return nil, err
	}
	if v.Name == "" {
		c.log.Warn("a virtual host without a name was not imported: there is no such thing here")
		return nil, nil
	}
	cmd := &command.VHostPut{Name: v.Name}
	for _, f := range []fields{v.fields, v.Metadata} {
		if f.Description != nil {
			cmd.SetDescription, cmd.Description = true, *f.Description
		}
		if f.Tags != nil {
			tags, err := parseTags(f.Tags)
			if err != nil {
				return nil, err
			}
			cmd.SetTags, cmd.Tags = true, tags
		}
		if f.DefaultType != "" && f.DefaultType != "undefined" {
			cmd.SetType, cmd.DefaultType = true, f.DefaultType
		}
		if f.Protected {
			cmd.SetProtected, cmd.Protected = true, true
		}
	}
	return cmd, nil
}

func exportExchanges(vhost string, all []topology.Exchange) []object {
	var list []object
	for _, x := range all {
		if x.Name == "" || strings.HasPrefix(x.Name, "amq.") {
			continue
		}
		list = append(list, object{
			"name": x.Name, "vhost": vhost, "type": x.Type, "durable": x.Durable,
			"auto_delete": x.AutoDelete, "internal": x.Internal, "arguments": tableToJSON(x.Args),
		})
	}
	return list
}

func parseExchange(c *call, raw json.RawMessage, vhost string) (command.Command, error) {
	var x struct {
		Name, VHost, Type string
		Durable, Internal bool
		AutoDelete        bool           `json:"auto_delete"`
		Arguments         map[string]any `json:"arguments"`
	}
	if err := item(raw, "exchange", &x); err != nil {
		return nil, err
	}
	if err := nameIn("exchange", x.Name, &x.VHost, vhost); err != nil {
		return nil, err
	}
	there := false
	c.view(func(m *fsm.Machine) { _, there = m.Exchange(x.VHost, x.Name) })
	if there {
		return nil, nil
	}
	args, err := tableFromJSON(x.Arguments)
	return &command.ExchangeDeclare{
		VHost: x.VHost, Name: x.Name, Type: x.Type, Durable: x.Durable, AutoDelete: x.AutoDelete, Internal: x.Internal, Args: args,
	}, err
}

// exportQueues leaves out exclusive queues: they are their connection's.
func exportQueues(vhost string, all []command.QueueDeclare) []object {
	slices.SortFunc(all, func(a, b command.QueueDeclare) int { return strings.Compare(a.Name, b.Name) })
	list := make([]object, 0, len(all))
	for i := range all {
		if q := &all[i]; !q.Exclusive {
			list = append(list, object{
				"name": q.Name, "vhost": vhost, "durable": q.Durable, "auto_delete": q.AutoDelete, "arguments": tableToJSON(q.Args),
			})
		}
	}
	return list
}

func parseQueue(c *call, raw json.RawMessage, vhost string) (command.Command, error) {
	var q struct {
		Name, VHost, Type string
		Durable           bool
		AutoDelete        bool           `json:"auto_delete"`
		Arguments         map[string]any `json:"arguments"`
	}
	if err := item(raw, "queue", &q); err != nil {
		return nil, err
	}
	if err := nameIn("queue", q.Name, &q.VHost, vhost); err != nil {
		return nil, err
	}
	there := false
	c.view(func(m *fsm.Machine) { _, there = m.Queue(q.VHost, q.Name) })
	if there {
		return nil, nil
	}
	if _, ok := q.Arguments["x-queue-type"]; !ok && q.Type != "" {
		if q.Arguments == nil {
			q.Arguments = map[string]any{}
		}
		q.Arguments["x-queue-type"] = q.Type
	}
	args, err := tableFromJSON(q.Arguments)
	return &command.QueueDeclare{
		VHost: q.VHost, Name: q.Name, Durable: q.Durable, AutoDelete: q.AutoDelete, Args: args,
		Generated: true, // such names are exported too
	}, err
}

// readBindings leaves out those of exclusive queues, and of the default exchange.
func readBindings(m *fsm.Machine, vhost string) []topology.Binding {
	return slices.DeleteFunc(m.Bound(vhost), func(b topology.Binding) bool { return !b.ToExchange && m.Exclusive(vhost, b.Destination) })
}

func exportBindings(vhost string, all []topology.Binding) []object {
	topology.SortBindings(all) // so that equal definitions give equal files
	list := make([]object, len(all))
	for i := range all {
		list[i] = bindingObject(vhost, &all[i])
		delete(list[i], "properties_key")
	}
	return list
}

func parseBinding(_ *call, raw json.RawMessage, vhost string) (command.Command, error) {
	var b struct {
		Source, VHost, Destination string
		Kind                       string         `json:"destination_type"`
		Key                        string         `json:"routing_key"`
		Arguments                  map[string]any `json:"arguments"`
	}
	if err := item(raw, "binding", &b); err != nil {
		return nil, err
	}
	if err := nameIn("binding", b.Key, &b.VHost, vhost); err != nil {
		return nil, err
	}
	if b.Kind != "queue" && b.Kind != "exchange" {
		return nil, errBadRequest("binding to '%s' has destination type '%s'", b.Destination, b.Kind)
	}
	args, err := tableFromJSON(b.Arguments)
	return &command.Bind{Binding: command.Binding{
		VHost: b.VHost, Source: b.Source, Destination: b.Destination, ToExchange: b.Kind == "exchange", Key: b.Key, Args: args,
	}}, err
}
