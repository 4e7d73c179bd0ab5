package fsm

import (
	"fmt"
	"slices"

	"warren/fsm/queue"
)

// Check returns the first invariant that it finds broken, and the number of
// records that the machine refers to. It walks over the whole state and is for tests.
func (m *Machine) Check() (records int, err error) {
	var census queue.Census
	var queues []*queue.Queue
	err = m.access.Check(m.HasVHost)
	m.eachQueue(func(v *vhost, q *queue.Queue) {
		queues = append(queues, q)
		if err == nil {
			err = m.checkQueue(v, q, &census)
		}
	})
	if err == nil {
		var hidden []*queue.Queue
		hidden, err = m.checkDelayed(&census)
		queues = append(queues, hidden...)
	}
	if err == nil {
		var hidden []*queue.Queue
		hidden, err = m.checkHistories(&census)
		queues = append(queues, hidden...)
	}
	m.eachEpoch(func(e *epoch) {
		for _, number := range sortedKeys(e.connections) {
			if err == nil {
				err = m.checkConnection(e, e.connections[number], &census)
			}
		}
	})
	if err == nil {
		err = census.Verdict(queues)
	}
	if err == nil {
		err = m.checkBindings()
	}
	if err == nil && m.version >= 2 {
		err = m.checkCaches()
	}
	for _, name := range sortedKeys(m.vhosts) {
		if err == nil {
			err = m.checkPolicies(m.vhosts[name])
		}
	}
	if err == nil {
		err = m.checkVHosts()
	}
	if err == nil {
		err = m.checkAllEnded()
	}
	if err == nil && census.Resident() != m.Resident() {
		err = fmt.Errorf("messages in memory cost %d and not %d", census.Resident(), m.Resident())
	}
	return census.Records(), err
}

func (m *Machine) checkAllEnded() error {
	if len(m.ended) > maxEnded || m.version < endedSince && len(m.ended) > 0 {
		return fmt.Errorf("%d ended epochs are remembered in version %d", len(m.ended), m.version)
	}
	for i, e := range m.ended {
		before := state{index: m.index, epochs: m.epochs, ended: m.ended[:i]}
		if text := before.checkEnded(e); text != "" {
			return fmt.Errorf("ended epoch %d of %s %s", e.number, e.node, text)
		}
	}
	return nil
}

func (m *Machine) checkQueue(v *vhost, q *queue.Queue, census *queue.Census) error {
	if err := census.Queue(q); err != nil {
		return err
	}
	if m.settings(q) != *q.Settings() {
		return fmt.Errorf("queue %q has other settings than it should have", q.Spec.Name)
	}
	var err error
	q.EachConsumer(func(c *queue.Consumer) {
		e := m.epochs[c.Channel.Owner.Epoch]
		if e == nil || e.knownChannel(c.Channel.Owner.Channel) != c.Channel {
			err = fmt.Errorf("queue %q has a consumer of a channel that is gone", q.Spec.Name)
		}
	})
	if q.Spec.Exclusive && (m.epochs[q.Owner.Epoch] == nil || m.epochs[q.Owner.Epoch].connections[q.Owner.Conn] == nil) {
		err = fmt.Errorf("exclusive queue %q of vhost %q has no owner", q.Spec.Name, v.name)
	}
	return err
}

func (m *Machine) checkConnection(e *epoch, c *connection, census *queue.Census) error {
	if len(c.channels) == 0 && len(c.exclusive) == 0 && c.counted == nil {
		return fmt.Errorf("connection %d of epoch %d is kept for nothing", c.number, e.number)
	}
	for _, number := range sortedKeys(c.channels) {
		if err := census.Channel(c.channels[number]); err != nil {
			return err
		}
	}
	for _, q := range c.exclusive {
		if v := m.vhosts[q.Spec.VHost]; v == nil || v.queues[q.Spec.Name] != q {
			return fmt.Errorf("connection %d of epoch %d owns queue %q, which is gone", c.number, e.number, q.Spec.Name)
		}
	}
	return nil
}

// checkBindings checks that both ends of all bindings are there.
func (m *Machine) checkBindings() error {
	for _, name := range sortedKeys(m.vhosts) {
		v := m.vhosts[name]
		for _, b := range v.topology.AppendBindings(nil) {
			_, from := v.topology.Exchange(b.Source)
			to := v.queues[b.Destination] != nil
			if b.ToExchange {
				_, to = v.topology.Exchange(b.Destination)
			}
			if !from || !to {
				return fmt.Errorf("binding from %q to %q lacks an end", b.Source, b.Destination)
			}
		}
	}
	return nil
}

// checkVHosts checks names and limits, and counts what is counted.
func (m *Machine) checkVHosts() error {
	for _, name := range sortedKeys(m.vhosts) {
		v := m.vhosts[name]
		if v.name != name || name == "" || !knownDefaultType(v.defaultType) {
			return fmt.Errorf("vhost %q has name %q and default queue type %q", name, v.name, v.defaultType)
		}
		if err := checkLimitNames(v.limits, vhostLimits); err != nil {
			return fmt.Errorf("vhost %q: %w", name, err)
		}
	}
	for _, name := range sortedKeys(m.limits) {
		if _, ok := m.access.User(name); !ok {
			return fmt.Errorf("user %q has limits and is not there", name)
		}
		if err := checkLimitNames(m.limits[name], userLimits); err != nil || len(m.limits[name]) == 0 {
			return fmt.Errorf("user %q has no limits, or wrong ones: %w", name, err)
		}
	}
	want := newCounts()
	m.eachEpoch(func(e *epoch) {
		for _, number := range sortedKeys(e.connections) {
			if c := e.connections[number]; c.counted != nil {
				want.add(c.counted)
			}
		}
	})
	return want.equal(&m.counts)
}

func checkLimitNames(have limits, known []string) error {
	for _, name := range sortedKeys(have) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no limit %q", name)
		}
	}
	return nil
}
