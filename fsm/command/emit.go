package command

// KindEmit is the kind of Emit.
const KindEmit Kind = 80

// Emit is a message of the broker's own, for those who look on: it goes through an exchange that clients cannot publish to,
// to the queues that are bound there. It asks for no epoch, and has no result. Slices of a decoded Emit alias the batch.
type Emit struct {
	VHost, Exchange string
	Key             []byte
	Properties      []byte // as of a Publish
	Body            []byte
}

// Kind returns KindEmit.
func (*Emit) Kind() Kind { return KindEmit }

// Append appends the payload.
func (m *Emit) Append(dst []byte) []byte {
	dst = appendStrings(dst, m.VHost, m.Exchange)
	dst = appendString(dst, m.Key)
	dst = appendString(dst, m.Properties)
	return appendString(dst, m.Body)
}

func (m *Emit) decode(c *cursor) {
	c.strings(&m.VHost, &m.Exchange)
	m.Key, m.Properties, m.Body = c.bytes(), c.bytes(), c.bytes()
}
