package topology

// RouteDead appends to dst the queues that a dead-lettered message goes to, as
// Route does; an internal exchange may be used. The exchange must be there.
func (t *Topology) RouteDead(dst []string, m *Message) []string {
	return t.route(dst, t.exchanges[string(m.Exchange)], m)
}
