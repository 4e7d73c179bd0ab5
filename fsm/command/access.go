package command

// The kinds of command that change users and what they may do. Only ever append.
const (
	KindUserPut              Kind = 50
	KindUserDelete           Kind = 51
	KindPermissionSet        Kind = 52
	KindPermissionClear      Kind = 53
	KindTopicPermissionSet   Kind = 54
	KindTopicPermissionClear Kind = 55
	KindAccessInit           Kind = 56
)

// UserPut adds a user, or changes one that is there. Passwords come hashed: the node
// that was asked does that.
type UserPut struct {
	Name        string
	IfNew       bool // refuse when the user is there
	IfKnown     bool // refuse when the user is not there
	SetPassword bool // Hash and Algorithm count; a new user has no password without
	SetTags     bool // Tags count; a new user has none without
	Hash        string
	Algorithm   string
	Tags        []string
}

// UserDelete deletes a user with all permissions.
type UserDelete struct{ Name string }

// PermissionSet says what a user may do in a vhost, by patterns of names. The node that
// was asked has made sure that they are regular expressions.
type PermissionSet struct {
	User, VHost            string
	Configure, Write, Read string
}

// PermissionClear bans a user from a vhost. It is fine when that is so.
type PermissionClear struct{ User, VHost string }

// TopicPermissionSet says with which routing keys a user may publish to a topic
// exchange (Write) and bind it (Read).
type TopicPermissionSet struct {
	User, VHost, Exchange string
	Write, Read           string
}

// TopicPermissionClear lifts the restriction on an exchange, or with All those on all
// exchanges of the vhost.
type TopicPermissionClear struct {
	User, VHost, Exchange string
	All                   bool
}

// AccessInit makes the first user, with all permissions in one vhost. The first one in a
// cluster's log counts, all others do nothing.
type AccessInit struct {
	User, Hash, Algorithm string
	Tags                  []string
	VHost                 string
}

func (*UserPut) Kind() Kind              { return KindUserPut }
func (*UserDelete) Kind() Kind           { return KindUserDelete }
func (*PermissionSet) Kind() Kind        { return KindPermissionSet }
func (*PermissionClear) Kind() Kind      { return KindPermissionClear }
func (*TopicPermissionSet) Kind() Kind   { return KindTopicPermissionSet }
func (*TopicPermissionClear) Kind() Kind { return KindTopicPermissionClear }
func (*AccessInit) Kind() Kind           { return KindAccessInit }

func appendStrings(dst []byte, all ...string) []byte {
	for _, s := range all {
		dst = appendString(dst, s)
	}
	return dst
}

func (c *cursor) strings(to ...*string) {
	for _, s := range to {
		*s = c.string()
	}
}

func appendList(dst []byte, all []string) []byte {
	return appendStrings(appendUint(dst, uint64(len(all))), all...)
}

func (c *cursor) list() []string {
	var all []string
	for n := c.uint(); n > 0 && c.err == nil; n-- {
		all = append(all, c.string())
	}
	return all
}

func (m *UserPut) Append(dst []byte) []byte {
	dst = appendString(dst, m.Name)
	dst = appendFlags(dst, m.IfNew, m.IfKnown, m.SetPassword, m.SetTags)
	return appendList(appendStrings(dst, m.Hash, m.Algorithm), m.Tags)
}
func (m *UserPut) decode(c *cursor) {
	m.Name = c.string()
	c.flags(&m.IfNew, &m.IfKnown, &m.SetPassword, &m.SetTags)
	c.strings(&m.Hash, &m.Algorithm)
	m.Tags = c.list()
}

func (m *UserDelete) Append(dst []byte) []byte { return appendString(dst, m.Name) }
func (m *UserDelete) decode(c *cursor)         { m.Name = c.string() }

func (m *PermissionSet) Append(dst []byte) []byte {
	return appendStrings(dst, m.User, m.VHost, m.Configure, m.Write, m.Read)
}
func (m *PermissionSet) decode(c *cursor) {
	c.strings(&m.User, &m.VHost, &m.Configure, &m.Write, &m.Read)
}

func (m *PermissionClear) Append(dst []byte) []byte { return appendStrings(dst, m.User, m.VHost) }
func (m *PermissionClear) decode(c *cursor)         { c.strings(&m.User, &m.VHost) }

func (m *TopicPermissionSet) Append(dst []byte) []byte {
	return appendStrings(dst, m.User, m.VHost, m.Exchange, m.Write, m.Read)
}
func (m *TopicPermissionSet) decode(c *cursor) {
	c.strings(&m.User, &m.VHost, &m.Exchange, &m.Write, &m.Read)
}

func (m *TopicPermissionClear) Append(dst []byte) []byte {
	return appendFlags(appendStrings(dst, m.User, m.VHost, m.Exchange), m.All)
}
func (m *TopicPermissionClear) decode(c *cursor) {
	c.strings(&m.User, &m.VHost, &m.Exchange)
	c.flags(&m.All)
}

func (m *AccessInit) Append(dst []byte) []byte {
	dst = appendStrings(dst, m.User, m.Hash, m.Algorithm)
	return appendString(appendList(dst, m.Tags), m.VHost)
}
func (m *AccessInit) decode(c *cursor) {
	c.strings(&m.User, &m.Hash, &m.Algorithm)
	m.Tags = c.list()
	m.VHost = c.string()
}
