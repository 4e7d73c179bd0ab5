package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const threeNodes = `{"id":"id1","node":"n1","leader":"n2","members":[
 {"id":"id1","name":"n1","cluster_address":"h1:7900","raft_voter":true,"running":true},
 {"id":"id2","name":"n2","cluster_address":"h2:7900","raft_voter":true,"running":true,"raft_leader":true},
 {"id":"id3","name":"n3","running":false},{"id":"id4","name":"n4","running":true}]}`

func TestDrainCommand(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/cluster":                           {200, threeNodes},
		"POST /api/cluster/nodes/id1/drain":          {200, `{"connections_closed":3}`},
		"GET /api/cluster/nodes/id1/quorum-critical": {200, `{"status":"ok"}`},
		"POST /api/cluster/nodes/n2/drain":           {409, `{"error":"quorum_critical","reason":"the node cannot be drained now: n3 does not answer"}`},
		"POST /api/cluster/nodes/id1/revive":         {204, ""},
	})
	f.expect(t, []string{"drain"}, 0, "Will put node n1 into maintenance mode. The node will no longer serve any client traffic!\n", "")
	if f.body != `{"force":false}` {
		t.Errorf("asked with %s", f.body)
	}
	f.expect(t, []string{"drain", "--await-quorum", "-q"}, 0, "", "")
	f.expect(t, []string{"drain", "n2", "-q"}, 65, "", "Error: node NODE: the node cannot be drained now: n3 does not answer\n--force drains the node all the same.\n")
	f.expect(t, []string{"drain", "n9", "-q"}, 65, "", "Error: the cluster has no node n9\n")
	f.expect(t, []string{"revive"}, 0, "Will put node n1 back into regular operating mode. The node will again serve client traffic.\n", "")
	f.expect(t, []string{"drain", "-q", "--force"}, 0, "", "")
	if f.body != `{"force":true}` {
		t.Errorf("asked with %s", f.body)
	}
}

// Of nodes that are to be drained at once some are refused after they were told that they may go: they wait again.
func TestDrainAwaitsAgain(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/cluster":                           {200, threeNodes},
		"GET /api/cluster/nodes/id1/quorum-critical": {200, `{"status":"ok"}`},
		"POST /api/cluster/nodes/id1/drain":          {200, `{"connections_closed":3}`},
	})
	drains, inner := 0, f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if drains++; drains <= 2 {
				w.WriteHeader(http.StatusConflict)
				_, _ = w.Write([]byte(`{"error":"quorum_critical","reason":"the node cannot be drained now: n3 is drained"}`))
				return
			}
		}
		inner.ServeHTTP(w, r)
	})
	f.expect(t, []string{"drain", "--await-quorum", "-q"}, 0, "", "")
	if drains != 3 {
		t.Errorf("it was asked %d times", drains)
	}
}

func TestAwaitQuorumCommand(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/cluster":                           {200, threeNodes},
		"GET /api/cluster/nodes/id1/quorum-critical": {200, `{"status":"ok"}`},
		"GET /api/cluster/nodes/n2/quorum-critical":  {503, `{"status":"failed","reason":"n3 is drained"}`},
		"GET /api/cluster/nodes/n3/quorum-critical":  {200, `{"status":"ok","reason":"single node cluster"}`},
	})
	f.expect(t, []string{"await_online_quorum_plus_one"}, 0, "Will wait for a quorum + 1 of nodes to be online for all quorum queues for 120 seconds...\n", "")
	f.expect(t, []string{"await_online_quorum_plus_one", "-q", "-t", "3", "n2"}, 75, "",
		"Error: time is up, no quorum + 1 online replicas came online: NODE: n3 is drained\n"+
			"'warrenctl cluster_status' shows who is missing; --timeout SECONDS waits longer.\n")
	f.expect(t, []string{"await_online_quorum_plus_one", "-t", "1", "n3"}, 0, "Will wait for a quorum + 1 of nodes to be online for all quorum queues for 1 seconds...\n"+
		"Target node seems to be the only one in a single node cluster, the command does not apply\n", "")
	f.expect(t, []string{"await_online_quorum_plus_one", "-q", "n9"}, 65, "", "Error: the cluster has no node n9\n")
}

func TestAddMemberCommand(t *testing.T) {
	f := newFake(t, answers{"GET /api/cluster": {200, threeNodes}})
	f.expect(t, []string{"add_member", "n2"}, 0, "Waiting for node n2 to become a voter ...\nNode n2 votes\n", "")
	var three cluster
	if err := json.Unmarshal([]byte(threeNodes), &three); err != nil {
		t.Fatal(err)
	}
	for node, want := range map[string]string{
		"n3": "it does not run\nStart it, or remove it: warrenctl forget_cluster_node id3\n",
		"n4": "it is catching up\nIts log and 'warrenctl status' on it show how far it is.\n",
		"n9": "the cluster has not heard of it\nStart it with an empty data directory, the cluster's secret, and --join h1:7900,h2:7900; look into its log when it runs already.\n",
	} {
		why, hint := three.notVoting(node)
		if why+"\n"+hint+"\n" != want {
			t.Errorf("%s: %q, %q", node, why, hint)
		}
	}
	code, _, errs := run("-n", f.URL, "add_member", "-q", "-t", "3", "n3")
	if code != 75 || errs != "Error: n3 does not vote after 3 seconds: it does not run\nStart it, or remove it: warrenctl forget_cluster_node id3\n" {
		t.Errorf("%d %s", code, errs)
	}
	five := cluster{Leader: "a"}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		five.Members = append(five.Members, member{Name: name, Running: true, Voter: name != "f"})
	}
	if why, hint := five.notVoting("f"); !strings.Contains(why, "5 nodes vote already") || hint == "" {
		t.Errorf("%q, %q", why, hint)
	}
}

func TestForgetHints(t *testing.T) {
	f := newFake(t, answers{
		"DELETE /api/cluster/nodes/n1": {409, `{"error":"node_running","reason":"the node is running: stop it first: n1"}`},
		"DELETE /api/cluster/nodes/n2": {503, `{"error":"x","reason":"removing the node would leave the cluster without a quorum: 1 of the 2 others that vote are alive"}`},
		"DELETE /api/cluster/nodes/n3": {503, `{"error":"x","reason":"more than one node has that name: use the id: a, b"}`},
	})
	for node, want := range map[string]string{"n1": "Drain it (warrenctl drain n1)", "n2": "Start other nodes first", "n3": "Give the id", "n9": "shows names and ids"} {
		code, _, errs := run("-n", f.URL, "forget_cluster_node", "-q", node)
		if code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s", node, code, errs)
		}
	}
}
