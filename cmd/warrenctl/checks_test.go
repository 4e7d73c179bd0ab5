package main

import (
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestChecks(t *testing.T) {
	const checks = "GET /api/health/checks/"
	ok := answer{200, `{"status":"ok"}`}
	failed := func(body string) answer { return answer{503, `{"status":"failed",` + body + `}`} }
	f := newFake(t, answers{
		checks + "ready-to-serve-clients": ok, checks + "alarms": ok, checks + "local-alarms": ok, checks + "port-listener/5672": ok,
		checks + "protocol-listener/amqp": ok, checks + "virtual-hosts": ok, checks + "certificate-expiration/4/weeks": ok,
		checks + "node-is-quorum-critical": ok, checks + "quorum-queues-without-elected-leaders/vhost/%2F": ok,
		checks + "metadata-store/initialized": ok, checks + "metadata-store/initialized/with-data": ok,
		checks + "below-node-connection-limit": ok, checks + "reached-target-cluster-size": ok,
		"GET /api/deprecated-features/used": {200, `[]`},
	})
	for _, verb := range []string{
		"check_running", "check_alarms", "check_local_alarms", "check_port_listener 5672", "check_protocol_listener amqp", "check_virtual_hosts",
		"check_certificate_expiration", "check_if_node_is_quorum_critical", "check_for_quorum_queues_without_an_elected_leader",
		"check_if_metadata_store_is_initialized", "check_if_metadata_store_is_initialized_with_data", "check_node_connection_limit",
		"check_cluster_size", "check_if_any_deprecated_features_are_used",
	} {
		if code, out, errs := run(append([]string{"-n", f.URL, "-q"}, strings.Fields(verb)...)...); code != 0 || out == "" || errs != "" {
			t.Errorf("%s: %d %q %q", verb, code, out, errs)
		}
		if code, out, errs := run(append([]string{"-n", f.URL, "--silent"}, strings.Fields(verb)...)...); code != 0 || out != "" || errs != "" {
			t.Errorf("silent %s: %d %q %q", verb, code, out, errs)
		}
	}
	f.expect(t, []string{"check_alarms"}, 0, "Asking node NODE to report any resource alarms in the cluster ...\nNode NODE reported no alarms, local or clusterwide\n", "")
	f.expect(t, []string{"check_running", "--formatter", "json"}, 0, "{\n  \"answer\": {\n    \"status\": \"ok\"\n  },\n  \"node\": \"NODE\",\n  \"result\": \"ok\"\n}\n", "")
	f.expect(t, []string{"check_running", "x"}, 64, "", "Error: unknown command \"x\" for \"warrenctl check_running\"\nSee 'warrenctl --help'.\n")

	f = newFake(t, answers{
		checks + "ready-to-serve-clients":                                        failed(`"reason":"no quorum"`),
		checks + "alarms":                                                        failed(`"alarms":[{"node":"n1","resource":"disk"},{"node":"n2","resource":"memory"}]`),
		checks + "port-listener/1":                                               failed(`"ports":[5672,15672]`),
		checks + "protocol-listener/mqtt":                                        failed(`"protocols":["amqp","http"]`),
		checks + "certificate-expiration/2/years":                                failed(`"expired":[{"protocol":"https","port":15671,"certfile":"c.pem","certfile_expires_on":["2027-01-01 00:00:00"],"cacertfile":"","cacertfile_expires_on":[]}]`),
		checks + "node-is-quorum-critical":                                       failed(`"reason":"it is"`),
		checks + "quorum-queues-without-elected-leaders/all-vhosts/pattern/%5Eq": failed(`"queues":[{"readable_name":"queue 'q' in vhost '/'"}]`),
		"GET /api/deprecated-features/used":                                      {200, `[{"name":"old"}]`},
	})
	for verb, says := range map[string]string{
		"check_running":                "Warren on node NODE is not running or has not fully booted yet: no quorum",
		"check_alarms":                 "Free disk space alarm on node n1\nMemory alarm on node n2",
		"check_port_listener 1":        "No listener for port 1 is active on node NODE. Found listeners that use the following ports: 5672, 15672",
		"check_protocol_listener mqtt": "No listener for protocol mqtt is active on node NODE. Found listeners for the following protocols: amqp, http",
		"check_certificate_expiration --within 2 --unit years":                     "https, port 15671: certificate c.pem expires on 2027-01-01 00:00:00",
		"check_if_node_is_quorum_critical":                                         "it is",
		"check_for_quorum_queues_without_an_elected_leader --across-all-vhosts ^q": "queue 'q' in vhost '/' does not have an elected leader replica or the replica was unresponsive",
		"check_if_any_deprecated_features_are_used":                                "",
	} {
		f.expect(t, append([]string{"-q"}, strings.Fields(verb)...), 69, "", "Error: "+says+"\n")
	}
	if code, out, _ := run("-n", f.URL, "check_running", "--formatter", "json"); code != 69 || !strings.Contains(out, `"result": "error"`) {
		t.Errorf("as JSON: %d %s", code, out)
	}
	if code, _, errs := run("-n", f.URL, "--password", "wrong", "check_alarms"); code != 77 || !strings.Contains(errs, "refuses the login") {
		t.Errorf("a wrong password: %d %s", code, errs)
	}
	if code, _, errs := run("-n", "127.0.0.1:1", "check_running"); code != 69 || !strings.Contains(errs, "unable to connect") {
		t.Errorf("no node: %d %s", code, errs)
	}
}

// TestChecksOfSeveral checks that each node that is named is asked, and that one which fails is enough.
func TestChecksOfSeveral(t *testing.T) {
	good := newFake(t, answers{"GET /api/health/checks/local-alarms": {200, `{"status":"ok"}`}})
	bad := newFake(t, answers{"GET /api/health/checks/local-alarms": {503, `{"status":"failed","alarms":[{"node":"n2","resource":"memory"}]}`}})
	code, out, errs := run("-n", good.URL+","+bad.URL, "-q", "check_local_alarms")
	if code != 69 || out != "Node "+good.URL+" reported no local alarms\n" || errs != "Error: Memory alarm on node n2\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, out, _ := run("-n", good.URL+","+bad.URL, "--formatter", "json", "check_local_alarms"); code != 69 || !strings.HasPrefix(out, "[\n") {
		t.Errorf("%d %s", code, out)
	}
}

func TestCheckPortConnectivity(t *testing.T) {
	f := newFake(t, nil)
	u, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closed, _ := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open := `{"protocol":"http","ip_address":"0.0.0.0","port":` + u.Port() + `}`
	a := answers{"GET /api/overview": {200, `{"node":"n1","listeners":[` + open + `]}`}}
	f = newFake(t, a)
	f.expect(t, []string{"-q", "check_port_connectivity"}, 0, "Successfully connected to ports "+u.Port()+" on node NODE.\n", "")
	a["GET /api/overview"] = answer{200, `{"node":"n1","listeners":[` + open + `,{"protocol":"amqp","ip_address":"127.0.0.1","port":` + closed + `}]}`}
	code, _, errs := run("-n", f.URL, "-q", "check_port_connectivity")
	if code != 69 || !strings.Contains(errs, "Interface: 127.0.0.1, port: "+closed+", protocol: amqp, purpose: AMQP 0-9-1: ") {
		t.Errorf("%d %s", code, errs)
	}
	a["GET /api/overview"] = answer{200, `{"node":"n1"}`}
	f.expect(t, []string{"-q", "check_port_connectivity"}, 77, "", "Error: node NODE tells user 'guest' of no listeners\nThe user needs the tag monitoring or administrator.\n")
}
