package management

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func (c *call) checkPort() error {
	port, err := strconv.Atoi(c.params["port"])
	if err != nil {
		return errBadRequest("port must be a number, not %q", c.params["port"])
	}
	ports := []int{}
	for _, l := range c.cfg.Listeners {
		if l.Port == port {
			return c.ok(object{"status": "ok", "port": port})
		}
		ports = append(ports, l.Port)
	}
	return c.failed(object{"reason": "No active listener", "missing": port, "ports": ports})
}

// protocolNames are other names of protocols that RabbitMQ's clients use for those of listeners.
var protocolNames = map[string]string{
	"amqp091": "amqp", "amqp0.9.1": "amqp", "amqp0-9-1": "amqp", "amqp0_9_1": "amqp",
	"amqps": "amqp/ssl", "amqp+tls": "amqp/ssl", "amqp+ssl": "amqp/ssl",
	"http1": "http", "http1.1": "http", "http_api": "http", "management": "http", "management_ui": "http", "ui": "http",
	"cli": "clustering", "distribution": "clustering",
	"prometheus": "http/prometheus",
}

func (c *call) checkProtocol() error {
	protocol := strings.ToLower(c.params["protocol"])
	if name, ok := protocolNames[protocol]; ok {
		protocol = name
	}
	protocols := []string{}
	for _, l := range c.cfg.Listeners {
		if l.Protocol == protocol {
			return c.ok(object{"status": "ok", "protocol": protocol})
		}
		protocols = append(protocols, l.Protocol)
	}
	return c.failed(object{"reason": "No active listener", "missing": protocol, "protocols": protocols})
}

const day = 24 * time.Hour

// expiryUnits are RabbitMQ's.
var expiryUnits = map[string]time.Duration{"days": day, "weeks": 7 * day, "months": 365 * day / 12, "years": 365 * day}

// checkCertificates fails when a certificate of a listener ends within so many units.
func (c *call) checkCertificates() error {
	n, err := strconv.Atoi(c.params["within"])
	if err != nil || n < 0 || n > 1000 {
		return errBadRequest("Invalid expiration value.")
	}
	unit, ok := expiryUnits[strings.ToLower(c.params["unit"])]
	if !ok {
		return errBadRequest("Time unit not recognised. Supported units: days, weeks, months, years.")
	}
	end := time.Now().Add(time.Duration(n) * unit)
	expired := []object{}
	for _, l := range c.certificates() {
		cert, ca := endingBefore(l.CertExpires, end), endingBefore(l.CAExpire, end)
		if len(cert)+len(ca) == 0 {
			continue
		}
		expired = append(expired, object{
			"node": c.cfg.Node, "protocol": l.Protocol, "interface": l.Address, "port": l.Port,
			"certfile": l.CertFile, "certfile_expires_on": cert, "cacertfile": l.CAFile, "cacertfile_expires_on": ca,
		})
	}
	if len(expired) > 0 {
		return c.failed(object{"reason": "Certificates expiring", "expired": expired})
	}
	return c.ok(object{"status": "ok"})
}

func (c *call) certificates() []Certificates {
	if c.cfg.Certificates == nil {
		return nil
	}
	return c.cfg.Certificates()
}

func endingBefore(times []time.Time, end time.Time) []string {
	some := []string{}
	for _, t := range times {
		if t.Before(end) {
			some = append(some, t.UTC().Format("2006-01-02 15:04:05"))
		}
	}
	return some
}

// raftState is a state of the Raft group in the words of RabbitMQ.
func raftState(state string) string { return strings.ToLower(state) }

// checkInitialized fails while the node does not know the present state of the cluster.
func (c *call) checkInitialized() error {
	if !c.cfg.Broker.CaughtUp() {
		return c.failed(object{"reason": "Metadata store has not yet been initialized"})
	}
	return c.ok(object{"status": "ok"})
}

// leaderlessMax is how many queues without a leader are named.
const leaderlessMax = 100

// checkLeaders fails while the cluster has no leader: then no queue has one.
func (c *call) checkLeaders() error {
	pattern, err := regexp.Compile(c.params["pattern"]) // empty: all
	if err != nil {
		return errBadRequest("pattern: %v", err)
	}
	if info := c.cluster(); info.Leader != "" && info.Waiting == "" {
		return c.ok(object{"status": "ok"})
	}
	vhosts := c.visible()
	if vhost, ok := c.params["vhost"]; ok {
		vhosts = []string{vhost}
	}
	count, queues := 0, []object{}
	for _, q := range c.queueNames(vhosts) {
		if !pattern.MatchString(q.name) {
			continue
		}
		if count++; count <= leaderlessMax {
			queues = append(queues, object{
				"name": q.name, "virtual_host": q.vhost, "readable_name": fmt.Sprintf("queue '%s' in vhost '%s'", q.name, q.vhost),
			})
		}
	}
	if count == 0 {
		return c.ok(object{"status": "ok"})
	}
	return c.failed(object{"reason": "There are quorum queues without an elected leader", "count": count, "queues": queues})
}

func (c *call) checkReady() error {
	info := c.cluster()
	if reason := notReady(&info); reason != "" {
		return c.failed(object{"reason": reason})
	}
	return c.ok(object{"status": "ok"})
}

// checkInService fails while the node takes no clients.
func (c *call) checkInService() error {
	if info := c.cluster(); !info.Serving {
		return c.failed(object{"reason": "this node is not currently available to serve: " + notReady(&info)})
	}
	return c.ok(object{"status": "ok"})
}

func (c *call) checkConnectionLimit() error {
	n := c.cfg.Broker.OpenConnections()
	o := object{"status": "ok", "connections": n, "limit": "infinity"}
	if most := c.tuned.Load().connectionMax; most > 0 {
		o["limit"] = most
		if n >= most {
			o["reason"] = "node connection limit is reached"
			return c.failed(o)
		}
	}
	return c.ok(o)
}

// checkClusterSize fails while fewer nodes run than the cluster is to have.
func (c *call) checkClusterSize() error {
	running := 0
	for _, m := range c.cluster().Members {
		if m.Running {
			running++
		}
	}
	o := object{"status": "ok", "target_cluster_size": c.cfg.TargetSize, "current_cluster_size": running}
	if running < c.cfg.TargetSize {
		o["reason"] = "target cluster size has not been reached"
		return c.failed(o)
	}
	return c.ok(o)
}

// checkNode is the health check of RabbitMQ before 3.8: a failure has status 200 too.
func (c *call) checkNode() error {
	info := c.cluster()
	if _, named := c.params["node"]; named {
		m, err := c.nodeAsked()
		if err != nil {
			return err
		}
		if m.ID != info.NodeID {
			if !m.Running {
				return c.ok(object{"status": "failed", "reason": "node " + m.Name + " does not run"})
			}
			return c.ok(object{"status": "ok"})
		}
	}
	reason := notReady(&info)
	for _, a := range info.Alarms {
		if reason == "" && a.Node == info.Node {
			reason = "resource alarm in effect: " + a.Resource
		}
	}
	if reason != "" {
		return c.ok(object{"status": "failed", "reason": reason})
	}
	return c.ok(object{"status": "ok"})
}
