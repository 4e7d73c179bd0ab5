package command

// The kinds of command of vhosts, limits and counted connections.
const (
	KindVHostPut       Kind = 60
	KindVHostDelete    Kind = 61
	KindVHostLimits    Kind = 62
	KindUserLimits     Kind = 63
	KindConnectionOpen Kind = 64
	KindChannelOpen    Kind = 65
	KindSeed           Kind = 66
)

// The effects of vhosts and limits. They concern every node, whatever its epoch:
// To and Node are empty.
const (
	// EffectVHostDeleted: the vhost Tag is gone with all that was in it; its
	// connections are to be closed.
	EffectVHostDeleted EffectKind = 60
	// EffectLimited: a limit on connections or channels was set, so that those that
	// there are have to be made known (see ConnectionOpen).
	EffectLimited EffectKind = 61
)

// The limits of vhosts and users (https://www.rabbitmq.com/docs/vhosts#limits,
// …/user-limits). A negative value means no limit, 0 that none is allowed.
const (
	MaxConnections = "max-connections" // of a vhost or a user
	MaxQueues      = "max-queues"      // of a vhost
	MaxChannels    = "max-channels"    // of a user
)

// VHostPut makes a vhost, or changes the parts of it that are named. An unknown
// default queue type is refused.
type VHostPut struct {
	Name      string
	IfMissing bool // a vhost that is there is left as it is
	IfThere   bool // a vhost that is missing is refused, and not made

	SetDescription, SetTags, SetType, SetProtected bool

	Description string
	Tags        []string
	DefaultType string // of queues that are declared without one; empty: none is added
	Protected   bool   // from deletion
}

// VHostDelete deletes a vhost with all that is in it. One that is protected is refused.
type VHostDelete struct{ Name string }

// A Limit is a limit by its name.
type Limit struct {
	Name  string
	Value int64
}

// Limits are changes of the limits of a vhost or a user: first Clear, then Set.
type Limits struct {
	ClearAll bool
	Clear    []string
	Set      []Limit
}

// VHostLimits changes the limits of a vhost.
type VHostLimits struct {
	VHost string
	Limits
}

// UserLimits changes the limits of a user.
type UserLimits struct {
	User string
	Limits
}

// ConnectionOpen makes a connection known, so that it counts for the limits of its
// vhost and user, until ConnectionClose. It is refused when they are reached, unless
// Existing is set: the connection was there before the limit, or before its node took a
// new epoch. Channels are those that it has open. To open one twice
// gives it those channels.
type ConnectionOpen struct {
	Conn        uint64
	VHost, User string
	Existing    bool
	Channels    []uint16
}

// ChannelOpen counts a channel of a connection that was made known, until ChannelClose
// or ConnectionClose. It is refused when its user's limit is reached.
type ChannelOpen struct{ Channel }

// Seed says what a new cluster begins with. Only the first one ever has an effect.
type Seed struct {
	VHost string // instead of "/", if nobody has used that yet
}

func (*VHostPut) Kind() Kind       { return KindVHostPut }
func (*VHostDelete) Kind() Kind    { return KindVHostDelete }
func (*VHostLimits) Kind() Kind    { return KindVHostLimits }
func (*UserLimits) Kind() Kind     { return KindUserLimits }
func (*ConnectionOpen) Kind() Kind { return KindConnectionOpen }
func (*ChannelOpen) Kind() Kind    { return KindChannelOpen }
func (*Seed) Kind() Kind           { return KindSeed }

func (m *VHostPut) Append(dst []byte) []byte {
	dst = appendString(dst, m.Name)
	dst = appendFlags(dst, m.IfMissing, m.IfThere, m.SetDescription, m.SetTags, m.SetType, m.SetProtected, m.Protected)
	dst = appendString(dst, m.Description)
	dst = appendNames(dst, m.Tags)
	return appendString(dst, m.DefaultType)
}
func (m *VHostPut) decode(c *cursor) {
	m.Name = c.string()
	c.flags(&m.IfMissing, &m.IfThere, &m.SetDescription, &m.SetTags, &m.SetType, &m.SetProtected, &m.Protected)
	m.Description, m.Tags, m.DefaultType = c.string(), c.names(), c.string()
}

func (m *VHostDelete) Append(dst []byte) []byte { return appendString(dst, m.Name) }
func (m *VHostDelete) decode(c *cursor)         { m.Name = c.string() }

func (m *Limits) append(dst []byte) []byte {
	dst = appendFlags(dst, m.ClearAll)
	dst = appendNames(dst, m.Clear)
	dst = appendUint(dst, uint64(len(m.Set)))
	for _, l := range m.Set {
		dst = appendString(dst, l.Name)
		dst = appendUint(dst, uint64(l.Value))
	}
	return dst
}
func (m *Limits) decodeLimits(c *cursor) {
	c.flags(&m.ClearAll)
	m.Clear, m.Set = c.names(), nil
	for n := c.uint(); n > 0 && c.err == nil; n-- {
		m.Set = append(m.Set, Limit{Name: c.string(), Value: int64(c.uint())})
	}
}

func (m *VHostLimits) Append(dst []byte) []byte { return m.append(appendString(dst, m.VHost)) }
func (m *VHostLimits) decode(c *cursor)         { m.VHost = c.string(); m.decodeLimits(c) }

func (m *UserLimits) Append(dst []byte) []byte { return m.append(appendString(dst, m.User)) }
func (m *UserLimits) decode(c *cursor)         { m.User = c.string(); m.decodeLimits(c) }

func (m *ConnectionOpen) Append(dst []byte) []byte {
	dst = appendUint(dst, m.Conn)
	dst = appendString(dst, m.VHost)
	dst = appendString(dst, m.User)
	dst = appendFlags(dst, m.Existing)
	dst = appendUint(dst, uint64(len(m.Channels)))
	for _, n := range m.Channels {
		dst = appendUint(dst, uint64(n))
	}
	return dst
}
func (m *ConnectionOpen) decode(c *cursor) {
	m.Conn, m.VHost, m.User = c.uint(), c.string(), c.string()
	c.flags(&m.Existing)
	m.Channels = nil
	for n := c.uint(); n > 0 && c.err == nil; n-- {
		m.Channels = append(m.Channels, c.uint16())
	}
}

func (m *ChannelOpen) Append(dst []byte) []byte { return appendChannel(dst, m.Channel) }
func (m *ChannelOpen) decode(c *cursor)         { m.Channel = c.channel() }

func (m *Seed) Append(dst []byte) []byte { return appendString(dst, m.VHost) }
func (m *Seed) decode(c *cursor)         { m.VHost = c.string() }

func appendNames(dst []byte, all []string) []byte {
	dst = appendUint(dst, uint64(len(all)))
	for _, s := range all {
		dst = appendString(dst, s)
	}
	return dst
}

func (c *cursor) names() []string {
	var all []string
	for n := c.uint(); n > 0 && c.err == nil; n-- {
		all = append(all, c.string())
	}
	return all
}
