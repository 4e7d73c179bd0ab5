package fsm

import (
	"cmp"
	"slices"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// QueueInfo is what there is to know of a queue. It is a copy, but for Args,
// which must not be changed.
type QueueInfo struct {
	VHost, Name                    string
	Durable, AutoDelete, Exclusive bool
	Owner                          command.Owner // Epoch and Conn of an exclusive queue's owner
	Args                           wire.Table
	PolicyInfo

	QueueStats
	DeliveryLimit   int64  // how often a message may come back; negative: as often as it does
	SingleActiveTag string // of the active consumer, where one at a time is active
	ExclusiveTag    string // of the consumer that is the only one by its own wish
}

// QueueStats are the numbers of a queue.
type QueueStats struct {
	Ready, Unacked, Parked, Delayed                     int    // messages; see queue.Queue.Parked and Delayed
	ReadyBytes, UnackedBytes, ParkedBytes, DelayedBytes uint64 // sizes of their bodies
	Consumers                                           int
	queue.Counters                                      // since the declaration
}

// ConsumerInfo is what there is to know of a consumer.
type ConsumerInfo struct {
	VHost, Queue string
	Owner        command.Owner
	Tag          string
	AckRequired  bool
	Exclusive    bool
	Prefetch     uint32
	Priority     int64
	Args         wire.Table // not to be changed
	Active       bool       // may be given messages
	Single       bool       // of a queue with a single active consumer
	Timeout      int64      // how long it may keep a delivery, in milliseconds; 0: for ever
	Delivered    uint64     // since it began
	Unacked      int
}

// EpochInfo is what there is to know of an epoch.
type EpochInfo struct {
	Epoch      uint64
	Node, Name string
	Sequence   uint64 // of its last batch applied
	Refused    uint64 // of its last batch with a publish that was refused, rejected or returned; 0: none since version 4
	Witness    bool   // see node/DESIGN.md, "Life of a transient entity"
}

// Totals are sums over all vhosts.
type Totals struct {
	VHosts, Exchanges, Bindings, Queues   int
	Consumers, Channels, Connections      int
	Ready, Unacked, Parked, Retrying      int // messages in queues; those that retry are QueueInfo's Delayed
	ReadyBytes, UnackedBytes, ParkedBytes uint64
	Delayed                               int // messages that are not routed yet
	queue.Counters
}

// VHosts returns the names of all vhosts, sorted.
func (m *Machine) VHosts() []string { return sortedKeys(m.vhosts) }

// HasVHost reports whether there is a vhost of that name.
func (m *Machine) HasVHost(name string) bool { return m.vhosts[name] != nil }

// Queues returns the queues of a vhost, sorted by name; nil for an unknown vhost.
func (m *Machine) Queues(vhost string) []QueueInfo {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	all := make([]QueueInfo, 0, len(v.queues))
	for _, q := range v.byName() {
		all = append(all, v.describeQueue(q))
	}
	return all
}

// QueueNames returns the names of the queues of a vhost, not sorted: there may be very many,
// and whoever asks can do that while the machine goes on. It returns nil for an unknown vhost.
func (m *Machine) QueueNames(vhost string) []string {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	return unsortedKeys(v.queues)
}

// Declared returns how the queues of a vhost were declared, not sorted as QueueNames are not; nil for an unknown vhost. What the
// arguments hold must not be changed.
func (m *Machine) Declared(vhost string) []command.QueueDeclare {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	all := make([]command.QueueDeclare, 0, len(v.queues))
	for _, name := range unsortedKeys(v.queues) {
		all = append(all, v.queues[name].Spec)
	}
	return all
}

// Exclusive reports whether there is a queue of that name, and it is one connection's.
func (m *Machine) Exclusive(vhost, name string) bool {
	v := m.vhosts[vhost]
	return v != nil && v.queues[name] != nil && v.queues[name].Spec.Exclusive
}

// QueueStats returns the numbers of one queue.
func (m *Machine) QueueStats(vhost, name string) (QueueStats, bool) {
	v := m.vhosts[vhost]
	if v == nil || v.queues[name] == nil {
		return QueueStats{}, false
	}
	return statsOf(v.queues[name]), true
}

// Messages is how many there are, whatever their state.
func (s *QueueStats) Messages() int { return s.Ready + s.Unacked + s.Parked + s.Delayed }

// Bytes is the size of the bodies of all of them.
func (s *QueueStats) Bytes() uint64 {
	return s.ReadyBytes + s.UnackedBytes + s.ParkedBytes + s.DelayedBytes
}

func statsOf(q *queue.Queue) QueueStats {
	return QueueStats{
		Ready: q.Ready(), ReadyBytes: q.ReadyBytes(),
		Unacked: q.Unacked(), UnackedBytes: q.UnackedBytes(),
		Parked: q.Parked(), ParkedBytes: q.ParkedBytes(),
		Delayed: q.Delayed(), DelayedBytes: q.DelayedBytes(),
		Consumers: q.Consumers(), Counters: q.Counters,
	}
}

// Queue returns one queue.
func (m *Machine) Queue(vhost, name string) (QueueInfo, bool) {
	v := m.vhosts[vhost]
	if v == nil || v.queues[name] == nil {
		return QueueInfo{}, false
	}
	return v.describeQueue(v.queues[name]), true
}

func (v *vhost) describeQueue(q *queue.Queue) QueueInfo {
	s := &q.Spec
	info := QueueInfo{
		VHost: s.VHost, Name: s.Name,
		Durable: s.Durable, AutoDelete: s.AutoDelete, Exclusive: s.Exclusive,
		Owner: q.Owner, Args: s.Args, PolicyInfo: v.policies.info(queueTarget(s)),
		QueueStats: statsOf(q), DeliveryLimit: q.Settings().DeliveryLimit,
	}
	if active, _ := q.SingleActive(); active != nil {
		info.SingleActiveTag = active.Spec.Tag
	}
	if q.ExclusivelyConsumed() {
		q.EachConsumer(func(c *queue.Consumer) { info.ExclusiveTag = c.Spec.Tag })
	}
	return info
}

// Exchanges returns the exchanges of a vhost, sorted by name; nil for an unknown vhost.
func (m *Machine) Exchanges(vhost string) []topology.Exchange {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	return v.topology.Exchanges()
}

// Exchange returns one exchange.
func (m *Machine) Exchange(vhost, name string) (topology.Exchange, bool) {
	v := m.vhosts[vhost]
	if v == nil {
		return topology.Exchange{}, false
	}
	return v.topology.Exchange(name)
}

// Bindings returns the bindings of a vhost, not sorted (see topology.SortBindings); nil for
// an unknown vhost.
func (m *Machine) Bindings(vhost string) []topology.Binding {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	return v.topology.AppendBindings(nil)
}

// Bound is Bindings without those of the default exchange.
func (m *Machine) Bound(vhost string) []topology.Binding {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	return v.topology.AppendBound(nil)
}

// BindingsFrom returns the bindings from an exchange, as Bindings does.
func (m *Machine) BindingsFrom(vhost, exchange string) []topology.Binding {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	return v.topology.AppendFrom(nil, exchange)
}

// BindingsTo returns the bindings to a queue or an exchange, as Bindings does.
func (m *Machine) BindingsTo(vhost, destination string, toExchange bool) []topology.Binding {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	return v.topology.AppendTo(nil, destination, toExchange)
}

// Consumers returns the consumers of a vhost, sorted by queue and then by age.
func (m *Machine) Consumers(vhost string) []ConsumerInfo {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	var all []ConsumerInfo
	for _, q := range v.byName() {
		q.EachConsumer(func(c *queue.Consumer) { all = append(all, describeConsumer(c)) })
	}
	return all
}

// QueueConsumers returns the consumers of a queue, the oldest first.
func (m *Machine) QueueConsumers(vhost, name string) []ConsumerInfo {
	v := m.vhosts[vhost]
	if v == nil || v.queues[name] == nil {
		return nil
	}
	var all []ConsumerInfo
	v.queues[name].EachConsumer(func(c *queue.Consumer) { all = append(all, describeConsumer(c)) })
	return all
}

// ChannelConsumers returns the consumers of a channel, sorted by queue and tag.
func (m *Machine) ChannelConsumers(of command.Owner) []ConsumerInfo {
	e := m.epochs[of.Epoch]
	if e == nil || e.connections[of.Conn] == nil {
		return nil
	}
	ch := e.connections[of.Conn].channels[of.Number]
	if ch == nil {
		return nil
	}
	var all []ConsumerInfo
	ch.EachConsumer(func(c *queue.Consumer) { all = append(all, describeConsumer(c)) })
	slices.SortFunc(all, func(a, b ConsumerInfo) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Tag, b.Tag))
	})
	return all
}

func describeConsumer(c *queue.Consumer) ConsumerInfo {
	s := &c.Spec
	active, single := c.Queue.SingleActive()
	timeout, ends := c.Timeout()
	if !ends {
		timeout = 0
	}
	return ConsumerInfo{
		VHost: s.VHost, Queue: s.Queue, Owner: c.Channel.Owner, Tag: s.Tag,
		AckRequired: !s.NoAck, Exclusive: s.Exclusive, Prefetch: s.Prefetch,
		Priority: c.Priority, Args: s.Args, Active: !single || c == active, Single: single,
		Delivered: c.Delivered, Unacked: c.Unacked(), Timeout: timeout,
	}
}

// Epochs returns the live epochs, sorted by number.
func (m *Machine) Epochs() []EpochInfo {
	all := make([]EpochInfo, 0, len(m.epochs))
	m.eachEpoch(func(e *epoch) {
		all = append(all, EpochInfo{
			Epoch: e.number, Node: e.node, Name: e.name, Sequence: e.sequence, Refused: e.refused, Witness: e.witness,
		})
	})
	return all
}

// Connections returns the numbers of the connections of an epoch of which the
// machine holds something, sorted.
func (m *Machine) Connections(epoch uint64) []uint64 {
	e := m.epochs[epoch]
	if e == nil {
		return nil
	}
	return sortedKeys(e.connections)
}

// ConnState returns what the machine holds of a connection, nil when nothing.
func (m *Machine) ConnState(epoch, conn uint64) *command.ConnState {
	e := m.epochs[epoch]
	if e == nil || e.connections[conn] == nil {
		return nil
	}
	c := e.connections[conn]
	s := &command.ConnState{Conn: conn}
	for _, q := range c.exclusive {
		s.Exclusive = append(s.Exclusive, q.Spec.Name)
	}
	slices.Sort(s.Exclusive)
	for _, number := range sortedKeys(c.channels) {
		s.Channels = append(s.Channels, describeChannel(c.channels[number]))
	}
	return s
}

func describeChannel(ch *queue.Channel) command.ChannelState {
	s := command.ChannelState{Number: ch.Owner.Number, Ordinal: ch.Ordinal}
	ch.EachConsumer(func(c *queue.Consumer) {
		s.Consumers = append(s.Consumers, command.ConsumerState{
			Tag: c.Spec.Tag, Queue: c.Queue.Spec.Name, Delivered: c.Delivered, Limit: c.Limit,
		})
	})
	slices.SortFunc(s.Consumers, func(a, b command.ConsumerState) int { return cmp.Compare(a.Tag, b.Tag) })
	ch.Unsettled(func(ordinal uint64, q *queue.Queue, c *queue.Consumer, msg *command.Message, redelivered bool, tries queue.Tries) {
		e := command.Effect{
			Kind: command.EffectDeliver, To: ch.Owner, Queue: q.Spec.Name,
			Ordinal: ordinal, Redelivered: redelivered, Acquired: tries.Acquired, Failed: tries.Failed, Size: uint32(len(msg.Body)), Message: msg,
		}
		if c != nil {
			e.Tag = c.Spec.Tag
		}
		s.Unsettled = append(s.Unsettled, e)
	})
	return s
}

// Totals returns sums over the whole machine.
func (m *Machine) Totals() Totals {
	t := Totals{VHosts: len(m.vhosts)}
	for _, name := range sortedKeys(m.vhosts) {
		v := m.vhosts[name]
		exchanges, bindings := v.topology.Count()
		t.Exchanges += exchanges
		t.Bindings += bindings
		t.Delayed += m.DelayedCount(name, nil)
	}
	m.eachQueue(func(_ *vhost, q *queue.Queue) { t.add(q) })
	m.eachEpoch(func(e *epoch) {
		t.Connections += len(e.connections)
		for _, number := range sortedKeys(e.connections) {
			t.Channels += len(e.connections[number].channels)
		}
	})
	return t
}

func (t *Totals) add(q *queue.Queue) {
	s := statsOf(q)
	t.AddQueue(&s)
}

// AddQueue adds the numbers of one queue.
func (t *Totals) AddQueue(s *QueueStats) {
	t.Queues++
	t.Consumers += s.Consumers
	t.Ready += s.Ready
	t.ReadyBytes += s.ReadyBytes
	t.Unacked += s.Unacked
	t.UnackedBytes += s.UnackedBytes
	t.Parked += s.Parked
	t.ParkedBytes += s.ParkedBytes
	t.Retrying += s.Delayed
	t.Counters.Add(&s.Counters)
}
