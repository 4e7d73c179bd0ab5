package fsm

import (
	"strings"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
)

// defaultVHost is the one vhost that a new cluster has.
const defaultVHost = "/"

// A vhost knows nothing of another one.
type vhost struct {
	name string
	metadata
	limits   limits
	topology *topology.Topology
	queues   map[string]*queue.Queue
	policies policies

	parameters map[parameterKey]string // JSON

	// born holds the log index at which each non-durable exchange was declared.
	// Names of exchanges that are gone may linger in it.
	born     map[string]uint64
	bornMost int // see pruneBorn

	delayed *queue.Delayed // nil until there is a delayed message
	hidden  *queue.Queue   // that delayed is made of, while a snapshot is read

	histories map[string]*queue.History // of exchanges, by name

	caches map[string]*queue.Dedup // what exchanges remember; some that are gone may linger

	lastExchange string         // the name last asked for: see exchangeName
	sorted       []*queue.Queue // by name; nil when it has to be made anew
}

func newVHost(name string) *vhost {
	v := &vhost{
		name:     name,
		topology: topology.New(name),
		queues:   make(map[string]*queue.Queue),
		born:     make(map[string]uint64),
		caches:   make(map[string]*queue.Dedup),

		parameters: make(map[parameterKey]string),
		histories:  make(map[string]*queue.History),
	}
	v.topology.OnRemove(v.forgetHistory)
	if name == defaultVHost {
		v.description = defaultDescription
	}
	return v
}

// byName returns the queues, sorted by name. The caller must not change it. It changes
// nothing itself, as views call it too: who may change v puts it in v.sorted.
func (v *vhost) byName() []*queue.Queue {
	if v.sorted != nil {
		return v.sorted
	}
	all := make([]*queue.Queue, 0, len(v.queues))
	for _, name := range sortedKeys(v.queues) {
		all = append(all, v.queues[name])
	}
	return all
}

// vhost returns the vhost of a name, or the refusal for an unknown one.
func (m *Machine) vhost(name string) (*vhost, *command.Error) {
	v := m.vhosts[name]
	if v == nil {
		return nil, errNoVHost(name)
	}
	return v, nil
}

// choosingSince is the version of the machine from which on there are exchanges that
// choose a destination.
const choosingSince = 2

func (m *Machine) declareExchange(c *command.ExchangeDeclare) *command.Error {
	v, err := m.vhost(c.VHost)
	if err != nil {
		return err
	}
	c.Name = stripNewlines(c.Name)
	if topology.Chooses(c.Type) && m.version < choosingSince && !c.Passive {
		return refuse(preconditionFailed, "unknown exchange type '%s'", c.Type)
	}
	_, existed := v.topology.Exchange(c.Name)
	if !existed && !c.Passive {
		if err := m.checkNewExchange(c); err != nil {
			return err
		}
	}
	if m.version < eventsSince && c.Name == topology.EventExchange && c.Type == topology.Topic && !c.Passive {
		return refuse(accessRefused, "exchange name '%s' contains reserved prefix 'amq.*'", c.Name)
	}
	if err := v.topology.Declare(c); err != nil {
		return err
	}
	if !existed && m.version >= 2 {
		m.dedupExchange(v, c.Name)
	}
	if !existed {
		v.applyToExchange(c.Name)
	}
	if !existed && !c.Durable {
		v.pruneBorn()
		v.born[c.Name] = m.index
	}
	if !existed {
		m.exchangeCreated(v, c.Name)
	}
	return nil
}

// checkNewExchange refuses an exchange that cannot be. Types and arguments that came with a version of
// the machine are unknown before it.
func (m *Machine) checkNewExchange(c *command.ExchangeDeclare) *command.Error {
	if c.Type == topology.RecentHistory {
		if m.version < historySince {
			return refuse(preconditionFailed, "unknown exchange type '%s'", c.Type)
		}
		if err := checkHistory(c.Args); err != nil {
			return err
		}
	}
	if m.version < 2 {
		if c.Type == topology.Deduplication || c.Type == topology.Delayed {
			return refuse(preconditionFailed, "unknown exchange type '%s'", c.Type)
		}
		return nil
	}
	x := topology.Exchange{Type: c.Type, Args: c.Args}
	if deduplicates(&x) {
		return checkCache(c.Args, c.Type == topology.Deduplication)
	}
	return nil
}

// stripNewlines takes CR and LF out of a name, as RabbitMQ does where one is declared.
func stripNewlines(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// bornSlack is the number of names that may linger in vhost.born for nothing,
// beside as many as are there for something.
const bornSlack = 64

// pruneBorn forgets exchanges that are gone, when enough may have gathered.
func (v *vhost) pruneBorn() {
	if len(v.born) < v.bornMost {
		return
	}
	for _, name := range sortedKeys(v.born) {
		if _, ok := v.transient(name); !ok {
			delete(v.born, name)
		}
	}
	v.bornMost = 2*len(v.born) + bornSlack
}

// transient returns the exchange of a name if it is there and not durable.
func (v *vhost) transient(name string) (topology.Exchange, bool) {
	x, ok := v.topology.Exchange(name)
	return x, ok && !x.Durable
}

func (m *Machine) deleteExchange(c *command.ExchangeDelete) *command.Error {
	v, err := m.vhost(c.VHost)
	if err != nil {
		return err
	}
	name := stripNewlines(c.Name)
	if m.version < eventsSince && name == topology.EventExchange {
		return refuse(accessRefused, "deletion of system exchange '%s' in vhost '%s' not allowed", name, v.name)
	}
	_, there := v.topology.Exchange(name)
	err = v.topology.Delete(c.Name, c.IfUnused)
	if err == nil && there {
		m.happened(v.name, "exchange.deleted", "name", name, "vhost", v.name)
	}
	return err
}

// bind is queue.bind and exchange.bind, or their opposites.
func (m *Machine) bind(e *epoch, c *command.Binding, undo bool) *command.Error {
	v, err := m.vhost(c.VHost)
	if err != nil {
		return err
	}
	if q := v.queues[c.Destination]; q != nil && !c.ToExchange && locked(q, e, c.Conn) {
		return errLocked(v.name, c.Destination)
	}
	_, before := v.topology.Count()
	if undo {
		err := v.topology.Unbind(c)
		if _, after := v.topology.Count(); after < before {
			m.bindingEvent(v, "binding.deleted", c)
		}
		return err
	}
	if err := v.topology.Bind(c); err != nil {
		return err
	}
	if _, after := v.topology.Count(); after > before {
		m.replay(v, c)
		m.bindingEvent(v, "binding.created", c)
	}
	return nil
}

// locked reports whether q is the exclusive queue of another connection than this one.
func locked(q *queue.Queue, e *epoch, conn uint64) bool {
	return q.Spec.Exclusive && (q.Owner.Epoch != e.number || q.Owner.Conn != conn)
}

// findQueue returns a queue that the connection may touch, or the refusal.
func (m *Machine) findQueue(e *epoch, vhost string, conn uint64, name string) (*vhost, *queue.Queue, *command.Error) {
	v, err := m.vhost(vhost)
	if err != nil {
		return nil, nil, err
	}
	q := v.queues[name]
	if q == nil {
		return v, nil, errNoQueue(v.name, name)
	}
	if locked(q, e, conn) {
		return v, nil, errLocked(v.name, name)
	}
	return v, q, nil
}
