package management

import (
	"net/http"
	"runtime"
	"slices"

	"warren/fsm"
)

// apiLevel is the RabbitMQ release whose API and behaviour clients may expect;
// tools choose what they use by it. The server's own version stands beside it.
const apiLevel = "4.2.0"

// ratesMode is RabbitMQ's word for how closely rates are kept.
const ratesMode = "basic"

const productName = "Warren"

func (s *server) overviewRoutes() []route {
	return []route{
		look("overview", (*call).overview),
		look("whoami", (*call).whoami),
		look("cluster-name", (*call).clusterName),
		handle(http.MethodPut, "cluster-name", (*call).putClusterName),
	}
}

func (c *call) whoami() error {
	return c.ok(object{"name": c.user, "tags": listOf(c.tags), "is_internal_user": true})
}

func (c *call) clusterName() error {
	return c.ok(object{"name": c.cluster().Name})
}

func (c *call) cluster() ClusterInfo { return c.cfg.Broker.Cluster(c.r.Context()) }

// overview is what the user may see of the whole: who may not see all sees the sums of
// the vhosts that are open to it, its own connections, and nothing of the nodes.
func (c *call) overview() error {
	info := c.cluster()
	bare := c.flag("disable_stats")
	o := object{
		"management_version":            c.cfg.Version,
		"rates_mode":                    ratesMode,
		"sample_retention_policies":     retention,
		"product_name":                  productName,
		"product_version":               c.cfg.Version,
		"rabbitmq_version":              apiLevel,
		"go_version":                    runtime.Version(),
		"erlang_version":                runtime.Version(), // tools want something to show
		"erlang_full_version":           runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"cluster_name":                  info.Name,
		"cluster_tags":                  object{},
		"node_tags":                     object{},
		"node":                          info.Node,
		"default_queue_type":            "classic",
		"exchange_types":                exchangeTypes,
		"disable_stats":                 bare,
		"is_op_policy_updating_enabled": true,
		"enable_queue_totals":           c.flag("enable_queue_totals"),
		"statistics_db_event_queue":     0,
	}
	if c.isMonitor() {
		o["listeners"], o["contexts"] = c.listeners(), c.contexts()
	}
	if want := c.wanted(); !slices.ContainsFunc(overviewSums, want.has) { // nobody need be asked, and nothing summed up
		return c.one(o)
	}
	t := c.totals()
	o["object_totals"] = object{"exchanges": t.Exchanges, "queues": t.Queues, "consumers": t.Consumers}
	if err := c.addTotals(o, &t, bare); err != nil {
		return err
	}
	return c.one(o)
}

// overviewSums are the fields of the overview that are sums over all queues or nodes.
var overviewSums = []string{"object_totals", "queue_totals", "message_stats", "churn_rates"}

// addTotals adds what changes all the time.
func (c *call) addTotals(o object, t *fsm.Totals, bare bool) error {
	rates, err := c.sampleRange("msg_rates")
	if err != nil {
		return err
	}
	lengths, err := c.sampleRange("lengths")
	if err != nil {
		return err
	}
	objects := o["object_totals"].(object)
	if !c.isMonitor() {
		objects["connections"], objects["channels"], err = c.ownConnections()
	} else {
		objects["connections"], objects["channels"] = c.openOnAll()
	}
	if err != nil || bare {
		return err
	}
	queues := object{
		"messages": t.Ready + t.Unacked + t.Parked + t.Retrying, "messages_ready": t.Ready, "messages_unacknowledged": t.Unacked,
		"messages_parked": t.Parked, "messages_delayed": t.Delayed + t.Retrying,
	}
	o["queue_totals"] = queues
	if !c.isMonitor() { // the sums of its vhosts, of which there are no samples
		counts := countsOf(&fsm.QueueStats{Ready: t.Ready, Unacked: t.Unacked, Parked: t.Parked, Delayed: t.Retrying, Counters: t.Counters})
		o["message_stats"] = messageStats(&counts, &objectStats{}, nil, nil)
		o["churn_rates"] = object{}
		return nil
	}
	stats := c.clusterStats(rates)
	o["message_stats"] = stats.messages()
	o["churn_rates"] = stats.object(seriesChurn, churnCounts[:])
	if lengths != nil {
		stats = c.clusterStats(lengths)
	}
	for name, v := range stats.object(seriesQueues, queueTotals[:]) {
		if _, live := queues[name]; !live {
			queues[name] = v
		}
	}
	return nil
}

// ownConnections counts the connections and channels of the user.
func (c *call) ownConnections() (connections, channels int, err error) {
	refs, err := c.connectionRefs("")
	for i := range refs {
		channels += len(refs[i].Channels)
	}
	return len(refs), channels, err
}

// openOnAll counts the connections and channels of all nodes.
func (c *call) openOnAll() (connections, channels int) {
	for _, s := range c.cfg.Broker.NodeStats(c.r.Context()) {
		connections += s.SocketsUsed
		channels += s.Channels
	}
	return connections, channels
}

// totals are the sums over what the user may see.
func (c *call) totals() (t fsm.Totals) {
	for _, vhost := range c.visible() {
		c.addVHost(&t, vhost)
	}
	return t
}

// addVHost adds the sums of a vhost.
func (c *call) addVHost(t *fsm.Totals, vhost string) {
	var names []string
	c.view(func(m *fsm.Machine) {
		exchanges, bindings, delayed := m.EntityCounts(vhost)
		t.Exchanges += exchanges
		t.Bindings += bindings
		t.Delayed += delayed
		names = m.QueueNames(vhost)
	})
	c.viewEach(len(names), func(m *fsm.Machine, i int) {
		if s, ok := m.QueueStats(vhost, names[i]); ok {
			t.AddQueue(&s)
		}
	})
}

var exchangeTypes = []object{
	{"name": "direct", "description": "AMQP direct exchange, as per the AMQP specification", "enabled": true},
	{"name": "fanout", "description": "AMQP fanout exchange, as per the AMQP specification", "enabled": true},
	{"name": "headers", "description": "AMQP headers exchange, as per the AMQP specification", "enabled": true},
	{"name": "topic", "description": "AMQP topic exchange, as per the AMQP specification", "enabled": true},
	{"name": "x-consistent-hash", "description": "Consistent hashing exchange", "enabled": true},
	{"name": "x-delayed-message", "description": "Delayed Message Exchange.", "enabled": true},
	{"name": "x-local-random", "description": "Picks one queue of the publisher's node at random", "enabled": true},
	{"name": "x-message-deduplication", "description": "Message Deduplication Exchange.", "enabled": true},
	{"name": "x-modulus-hash", "description": "Modulus hashing exchange", "enabled": true},
	{"name": "x-random", "description": "Picks one binding at random", "enabled": true},
	{"name": "x-recent-history", "description": "Recent History Exchange.", "enabled": true},
}

func (c *call) listeners() []object {
	all := []object{}
	for _, l := range c.cfg.Listeners {
		all = append(all, object{
			"node": c.cfg.Node, "protocol": l.Protocol, "ip_address": l.Address, "port": l.Port,
			"socket_opts": object{},
		})
	}
	return all
}

// contexts are the HTTP listeners, as RabbitMQ calls them.
func (c *call) contexts() []object {
	all := []object{}
	for _, l := range c.cfg.Listeners {
		if l.Protocol == "http" || l.Protocol == "https" {
			all = append(all, object{
				"node": c.cfg.Node, "description": "Management API", "path": "/", "ip": l.Address,
				"port": l.Port, "ssl": l.Protocol == "https", "ssl_opts": []string{},
			})
		}
	}
	return all
}
