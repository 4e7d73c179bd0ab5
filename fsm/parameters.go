package fsm

import (
	"cmp"
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// parametersSince is the version of the machine from which on all nodes know of parameters.
const parametersSince = 3

// A parameterKey names a parameter within its vhost.
type parameterKey struct{ component, name string }

func (k parameterKey) compare(other parameterKey) int {
	return cmp.Or(cmp.Compare(k.component, other.component), cmp.Compare(k.name, other.name))
}

// sortedParameters returns the keys of parameters in order.
func sortedParameters(m map[parameterKey]string) []parameterKey {
	keys := make([]parameterKey, 0, len(m))
	for k := range m { // sorted below
		keys = append(keys, k)
	}
	slices.SortFunc(keys, parameterKey.compare)
	return keys
}

// applyToParameters carries out the commands on parameters, and tells whether cmd is one.
// What a value may be is for the nodes to check: a component may get more keys with a version.
func (m *Machine) applyToParameters(cmd command.Command, r *command.Result) bool {
	switch c := cmd.(type) {
	case *command.ParameterPut:
		if v := m.vhosts[c.VHost]; v == nil {
			r.Err = errVHostMissing(c.VHost)
		} else {
			v.parameters[parameterKey{c.Component, c.Name}] = c.Value
			m.parameterChanges++
			m.happened(c.VHost, "parameter.set", "component", c.Component, "name", c.Name, "vhost", c.VHost)
		}
	case *command.ParameterClear:
		r.Err = m.clearParameter(c)
	case *command.GlobalParameterPut:
		if _, ok := m.global[c.Name]; !ok || !c.IfMissing {
			m.global[c.Name] = c.Value
		}
	case *command.GlobalParameterClear:
		if _, ok := m.global[c.Name]; !ok {
			r.Err = errNoParameter()
		}
		delete(m.global, c.Name)
	default:
		return false
	}
	return true
}

func errNoParameter() *command.Error { return refuse(notFound, "Parameter does not exist") }

func (m *Machine) clearParameter(c *command.ParameterClear) *command.Error {
	v := m.vhosts[c.VHost]
	if v == nil {
		return errVHostMissing(c.VHost)
	}
	key := parameterKey{c.Component, c.Name}
	if _, ok := v.parameters[key]; !ok {
		return errNoParameter()
	}
	delete(v.parameters, key)
	m.parameterChanges++
	m.happened(c.VHost, "parameter.cleared", "component", c.Component, "name", c.Name, "vhost", c.VHost)
	return nil
}

// A Parameter is a runtime parameter. Component is empty for a global one.
type Parameter struct {
	Component, Name string
	Value           string // JSON
}

// Parameters returns the parameters of a vhost by component and name; none for an unknown vhost.
func (m *Machine) Parameters(vhost string) []Parameter {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	var all []Parameter
	for _, k := range sortedParameters(v.parameters) {
		all = append(all, Parameter{k.component, k.name, v.parameters[k]})
	}
	return all
}

// Parameter returns the JSON of a parameter of a vhost.
func (m *Machine) Parameter(vhost, component, name string) (value string, ok bool) {
	if v := m.vhosts[vhost]; v != nil {
		value, ok = v.parameters[parameterKey{component, name}]
	}
	return value, ok
}

// GlobalParameters returns the parameters of the cluster by name.
func (m *Machine) GlobalParameters() []Parameter {
	var all []Parameter
	for _, name := range sortedKeys(m.global) {
		all = append(all, Parameter{Name: name, Value: m.global[name]})
	}
	return all
}

// GlobalParameter returns the JSON of a parameter of the cluster.
func (m *Machine) GlobalParameter(name string) (value string, ok bool) {
	value, ok = m.global[name]
	return value, ok
}

// writeParameters writes the section of parameters: a count; for each the vhost, component, name, value.
func writeParameters(m *Machine, w *stream.Writer) {
	count := 0
	for _, name := range sortedKeys(m.vhosts) {
		count += len(m.vhosts[name].parameters)
	}
	if count == 0 {
		return
	}
	w.Uint(uint64(count))
	for _, name := range sortedKeys(m.vhosts) {
		for _, p := range m.Parameters(name) {
			w.String(name)
			w.String(p.Component)
			w.String(p.Name)
			w.String(p.Value)
		}
	}
}

func readParameters(l *loader, r *stream.Reader) {
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		vhost, key, value := r.String(), parameterKey{r.String(), r.String()}, r.String()
		v := l.vhosts[vhost]
		if r.Err() != nil {
			return
		}
		if v == nil {
			r.Fail("parameter %q is of vhost %q, which is not there", key.name, vhost)
			return
		}
		if _, ok := v.parameters[key]; ok {
			r.Fail("parameter %q comes twice", key.name)
			return
		}
		v.parameters[key] = value
	}
}

// writeGlobals writes the section of global parameters: a count; for each name and value.
func writeGlobals(m *Machine, w *stream.Writer) {
	if len(m.global) == 0 {
		return
	}
	w.Uint(uint64(len(m.global)))
	for _, p := range m.GlobalParameters() {
		w.String(p.Name)
		w.String(p.Value)
	}
}

func readGlobals(l *loader, r *stream.Reader) {
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		name, value := r.String(), r.String()
		if _, ok := l.state.global[name]; ok {
			r.Fail("global parameter %q comes twice", name)
			return
		}
		l.state.global[name] = value
	}
}
