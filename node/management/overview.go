package management

import (
	"net/http"
	"runtime"

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
	refs, err := c.connectionRefs("")
	if err != nil {
		return err
	}
	channels := 0
	for i := range refs {
		channels += len(refs[i].Channels)
	}
	info := c.cluster()
	t := c.totals()
	o := object{
		"management_version":            c.cfg.Version,
		"rates_mode":                    ratesMode,
		"product_name":                  productName,
		"product_version":               c.cfg.Version,
		"rabbitmq_version":              apiLevel,
		"go_version":                    runtime.Version(),
		"cluster_name":                  info.Name,
		"cluster_tags":                  object{},
		"node_tags":                     object{},
		"node":                          info.Node,
		"default_queue_type":            "classic",
		"exchange_types":                exchangeTypes,
		"disable_stats":                 false,
		"is_op_policy_updating_enabled": true,
		"enable_queue_totals":           false,
		"statistics_db_event_queue":     0,
		"churn_rates":                   object{},
		"message_stats":                 messageStats(&fsm.QueueStats{Counters: t.Counters}),
		"queue_totals": object{
			"messages":                t.Ready + t.Unacked + t.Parked,
			"messages_ready":          t.Ready,
			"messages_unacknowledged": t.Unacked,
			"messages_parked":         t.Parked,
			"messages_delayed":        t.Delayed,
		},
		"object_totals": object{
			"connections": len(refs),
			"channels":    channels,
			"exchanges":   t.Exchanges,
			"queues":      t.Queues,
			"consumers":   t.Consumers,
		},
	}
	if c.isMonitor() {
		o["listeners"], o["contexts"] = c.listeners(), c.contexts()
	}
	return c.one(o)
}

// totals are the sums over what the user may see.
func (c *call) totals() (t fsm.Totals) {
	visible := c.visible()
	c.view(func(m *fsm.Machine) {
		if c.isMonitor() {
			t = m.Totals()
			return
		}
		for _, vhost := range visible {
			t.Exchanges += len(m.Exchanges(vhost))
			queues := m.Queues(vhost)
			t.Queues += len(queues)
			for i := range queues {
				q := &queues[i]
				t.Ready += q.Ready
				t.Unacked += q.Unacked
				t.Consumers += q.Consumers
				t.Counters.Add(&q.Counters)
			}
		}
	})
	return t
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
