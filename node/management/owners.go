package management

import (
	"fmt"

	"warren/fsm"
	"warren/fsm/command"
)

// owners tells which connections and nodes stand behind what the machine knows by number.
type owners struct {
	nodes map[uint64]fsm.EpochInfo // by epoch
	refs  map[ConnectionKey]*ConnectionRef
}

// whose asks the nodes for the connections of some owners.
func (c *call) whose(all []command.Owner) (*owners, error) {
	o := &owners{nodes: make(map[uint64]fsm.EpochInfo), refs: make(map[ConnectionKey]*ConnectionRef)}
	c.view(func(m *fsm.Machine) {
		for _, e := range m.Epochs() {
			o.nodes[e.Epoch] = e
		}
	})
	var keys []ConnectionKey
	for _, owner := range all {
		k := o.key(owner)
		if _, asked := o.refs[k]; !asked && k.NodeID != "" {
			o.refs[k] = nil
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return o, nil
	}
	refs, err := c.cfg.Broker.RefsOf(c.r.Context(), keys)
	if err != nil {
		return nil, errUnavailable(fmt.Sprintf("list connections: %v", err))
	}
	for i := range refs {
		o.refs[refs[i].ConnectionKey] = &refs[i]
	}
	return o, nil
}

func (o *owners) key(owner command.Owner) ConnectionKey {
	return ConnectionKey{o.nodes[owner.Epoch].Node, owner.Conn}
}

// ref returns the connection of an owner, nil when it has just gone or its node does not answer.
func (o *owners) ref(owner command.Owner) *ConnectionRef { return o.refs[o.key(owner)] }

// node returns the name of an owner's node.
func (o *owners) node(owner command.Owner) string { return o.nodes[owner.Epoch].Name }

// channelDetails names a channel; of a connection that is not there only node and number are known.
func (o *owners) channelDetails(owner command.Owner) object {
	r := o.ref(owner)
	if r == nil {
		return object{"node": o.node(owner), "number": owner.Number}
	}
	return object{
		"name": channelName(r.Name, owner.Number), "node": r.Node, "number": owner.Number, "user": r.User,
		"connection_name": r.Name, "peer_host": r.PeerHost, "peer_port": r.PeerPort,
	}
}

func channelName(connection string, number uint16) string {
	return fmt.Sprintf("%s (%d)", connection, number)
}
