package topology

// Traffic is how many messages clients have published to an exchange, and in how many queues they
// were put. It is for people to look at and no part of the state: it counts since the exchange was
// declared, or read from a snapshot, on this node.
type Traffic struct {
	In, Out uint64
}

// Traffic returns what went through an exchange; nothing for an unknown one.
func (t *Topology) Traffic(exchange string) Traffic {
	x := t.exchanges[exchange]
	switch {
	case x == nil:
		return Traffic{}
	case exchange == "":
		return Traffic{x.traffic.In + t.byDefault.In, x.traffic.Out + t.byDefault.Out}
	}
	return x.traffic
}

// EachTraffic calls f for the exchanges to which something was published, in any order.
func (t *Topology) EachTraffic(f func(exchange string, traffic Traffic)) {
	for name := range t.exchanges {
		if sum := t.Traffic(name); sum.In > 0 {
			f(name, sum)
		}
	}
}
