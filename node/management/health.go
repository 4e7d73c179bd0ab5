package management

import (
	"net/http"
	"slices"

	"warren/fsm/command"
)

func (s *server) healthRoutes() []route {
	const check = "health/checks/"
	const leaders = check + "quorum-queues-without-elected-leaders/"
	return []route{
		look(check+"alarms", (*call).checkAlarms),
		look(check+"local-alarms", (*call).checkLocalAlarms),
		look(check+"virtual-hosts", (*call).checkNothing),
		look(check+"node-is-mirror-sync-critical", (*call).checkNothing), // of RabbitMQ before 4.0; some clients ask
		look(check+"port-listener/{port}", (*call).checkPort),
		look(check+"protocol-listener/{protocol}", (*call).checkProtocol),
		look(check+"certificate-expiration/{within}/{unit}", (*call).checkCertificates),
		look(check+"node-is-quorum-critical", (*call).checkQuorumCritical),
		look(check+"metadata-store/initialized", (*call).checkInitialized),
		look(check+"metadata-store/initialized/with-data", (*call).checkInitialized),
		look(leaders+"all-vhosts", (*call).checkLeaders),
		look(leaders+"all-vhosts/pattern/{pattern}", (*call).checkLeaders),
		handle(http.MethodGet, leaders+"vhost/{vhost}", (*call).checkLeaders),
		handle(http.MethodGet, leaders+"vhost/{vhost}/pattern/{pattern}", (*call).checkLeaders),
		open(check+"ready-to-serve-clients", (*call).checkReady),
		open(check+"is-in-service", (*call).checkInService),
		open(check+"below-node-connection-limit", (*call).checkConnectionLimit),
		open(check+"reached-target-cluster-size", (*call).checkClusterSize),
		look("healthchecks/node", (*call).checkNode),
		look("healthchecks/node/{node}", (*call).checkNode),
		handle(http.MethodGet, "aliveness-test/{vhost}", (*call).aliveness),
	}
}

// serveHealth is for load balancers and containers, without a login: 200 when
// this node knows a leader and serves clients, else 503 and why not.
func (s *server) serveHealth(w http.ResponseWriter, r *http.Request) {
	c := &call{server: s, w: w, r: r}
	info := c.cluster()
	status, answer := http.StatusOK, object{"status": "ok", "node": info.Node, "leader": info.Leader}
	if reason := notReady(&info); reason != "" {
		status, answer = http.StatusServiceUnavailable, object{"status": "failed", "node": info.Node, "reason": reason}
	}
	if err := c.json(status, answer); err != nil {
		s.log.Error("health answer not encoded", "err", err)
	}
}

// notReady says why a node does not serve clients, or nothing.
func notReady(info *ClusterInfo) string {
	switch {
	case info.Waiting != "":
		return info.Waiting
	case info.Leader == "":
		return "no leader is known: the cluster has no quorum, or this node does not see it"
	case info.BeingDrained:
		return "the node is drained (in maintenance mode): 'warrenctl revive' or a restart puts it back into service"
	case !info.Serving:
		return "the node does not accept clients yet"
	}
	return ""
}

// checkAlarms fails while any node has an alarm raised (rabbit_mgmt_wm_health_check_alarms).
func (c *call) checkAlarms() error {
	return c.noAlarms("There are alarms in effect in the cluster", c.cluster().Alarms)
}

// checkLocalAlarms fails while this node has (rabbit_mgmt_wm_health_check_local_alarms).
func (c *call) checkLocalAlarms() error {
	info := c.cluster()
	local := slices.DeleteFunc(slices.Clone(info.Alarms), func(a Alarm) bool { return a.Node != info.Node })
	return c.noAlarms("There are alarms in effect on the node", local)
}

func (c *call) noAlarms(reason string, raised []Alarm) error {
	if len(raised) > 0 {
		return c.failed(object{"reason": reason, "alarms": raised})
	}
	return c.ok(object{"status": "ok"})
}

// checkNothing is a check of something that cannot be wrong while the server
// answers: all vhosts live in the one state machine.
func (c *call) checkNothing() error { return c.ok(object{"status": "ok"}) }

func (c *call) failed(o object) error {
	o["status"] = "failed"
	return c.json(http.StatusServiceUnavailable, o)
}

const alivenessQueue = "aliveness-test"

// aliveness declares a queue, publishes to it and takes the message out again,
// all through the log. The queue stays, as RabbitMQ's does.
func (c *call) aliveness() error {
	vhost := c.params["vhost"]
	if err := c.needVHost(vhost); err != nil {
		return err
	}
	number, err := c.takeChannel()
	if err != nil {
		return err
	}
	defer c.returnChannel(number)
	ch := command.Channel{Number: number}
	for _, cmd := range []command.Command{
		&command.QueueDeclare{VHost: vhost, Name: alivenessQueue, Durable: true},
		&command.Publish{VHost: []byte(vhost), Key: []byte(alivenessQueue), Properties: []byte{0, 0}, Body: []byte("test_message")},
	} {
		if _, err := c.propose(cmd); err != nil {
			return err
		}
	}
	res, err := c.propose(&command.Get{VHost: vhost, Channel: ch, Queue: alivenessQueue, NoAck: true})
	if err := c.giveBack(ch, err); err != nil {
		return err
	}
	if res.Message == nil {
		return c.failed(object{"reason": "the test message did not arrive: another client takes from " + alivenessQueue})
	}
	return c.ok(object{"status": "ok"})
}
