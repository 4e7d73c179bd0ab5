package topology

// RouteDead appends to dst the queues that the broker's own message goes to, one that is
// dead-lettered or was delayed, as Route does; an internal exchange may be used. The exchange must be there.
func (t *Topology) RouteDead(dst []string, m *Message) []string {
	return t.route(dst, t.exchanges[string(m.Exchange)], m)
}
