package command

// The kinds of command of parameters.
const (
	KindParameterPut         Kind = 42
	KindParameterClear       Kind = 43
	KindGlobalParameterPut   Kind = 44
	KindGlobalParameterClear Kind = 45
)

// Names of global parameters that the broker itself knows.
const (
	GlobalClusterName = "cluster_name"        // a JSON string, shown to clients and operators
	GlobalClusterID   = "internal_cluster_id" // a JSON string, made once for the life of the cluster
)

// ParameterPut makes a runtime parameter of a vhost, or replaces the one of that component
// and name (https://www.rabbitmq.com/docs/parameters). The node that was asked has made sure
// that Value is JSON, and what the component wants.
type ParameterPut struct {
	VHost, Component, Name string
	Value                  string
}

// ParameterClear removes a parameter. One that is not there is refused.
type ParameterClear struct {
	VHost, Component, Name string
}

// GlobalParameterPut makes a parameter of the whole cluster, or replaces the one of that name.
type GlobalParameterPut struct {
	Name      string
	Value     string // JSON
	IfMissing bool   // a parameter that is there is left as it is
}

// GlobalParameterClear removes a parameter of the whole cluster. One that is not there is refused.
type GlobalParameterClear struct{ Name string }

func (*ParameterPut) Kind() Kind         { return KindParameterPut }
func (*ParameterClear) Kind() Kind       { return KindParameterClear }
func (*GlobalParameterPut) Kind() Kind   { return KindGlobalParameterPut }
func (*GlobalParameterClear) Kind() Kind { return KindGlobalParameterClear }

func (m *ParameterPut) Append(dst []byte) []byte {
	return appendStrings(dst, m.VHost, m.Component, m.Name, m.Value)
}
func (m *ParameterPut) decode(c *cursor) { c.strings(&m.VHost, &m.Component, &m.Name, &m.Value) }

func (m *ParameterClear) Append(dst []byte) []byte {
	return appendStrings(dst, m.VHost, m.Component, m.Name)
}
func (m *ParameterClear) decode(c *cursor) { c.strings(&m.VHost, &m.Component, &m.Name) }

func (m *GlobalParameterPut) Append(dst []byte) []byte {
	return appendFlags(appendStrings(dst, m.Name, m.Value), m.IfMissing)
}
func (m *GlobalParameterPut) decode(c *cursor) {
	c.strings(&m.Name, &m.Value)
	c.flags(&m.IfMissing)
}

func (m *GlobalParameterClear) Append(dst []byte) []byte { return appendString(dst, m.Name) }
func (m *GlobalParameterClear) decode(c *cursor)         { m.Name = c.string() }
