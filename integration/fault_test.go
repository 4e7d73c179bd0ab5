package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// startFlows puts a publisher and a consumer on every node, each with its
// counterpart on the next one.
func startFlows(t testing.TB, c *cluster) []*flow {
	t.Helper()
	var flows []*flow
	for i := range c.nodes {
		flows = append(flows, startFlow(t, c, c.node(i), c.node(i+1)))
	}
	return flows
}

// judge finishes all flows and judges each by which of its clients were on the
// node that went (nil: none went).
func judge(t testing.TB, flows []*flow, homes map[*flow][2]*node, gone *node) {
	t.Helper()
	for _, f := range flows {
		f.finish(t)
	}
	for _, f := range flows {
		home := homes[f]
		if home[0] == gone && f.pub.moved == 0 || home[1] == gone && f.con.moved == 0 {
			t.Errorf("the clients of %s noticed nothing: was it gone?", gone.name)
		}
		for _, err := range f.check(loss{publisher: home[0] == gone, consumer: home[1] == gone}) {
			t.Errorf("from %s to %s: %v", home[0].name, home[1].name, err)
		}
	}
}

// homesOf notes where the clients of each flow are now.
func homesOf(flows []*flow) map[*flow][2]*node {
	homes := map[*flow][2]*node{}
	for _, f := range flows {
		homes[f] = [2]*node{f.pub.node, f.con.node}
	}
	return homes
}

// reportSilence prints, and returns, the longest pause between two confirms that
// a client on a surviving node saw since the last call.
func reportSilence(t testing.TB, flows []*flow, homes map[*flow][2]*node, gone *node, what string) time.Duration {
	t.Helper()
	var longest time.Duration
	text := ""
	for _, f := range flows {
		s := f.pub.silence()
		if homes[f][0] == gone {
			continue
		}
		text += fmt.Sprintf(" %s: %v", homes[f][0].name, s.Round(100*time.Microsecond))
		longest = max(longest, s)
	}
	t.Logf("%s: longest silence between two confirms on the surviving nodes %v (%s)", what, longest.Round(100*time.Microsecond), text[min(1, len(text)):])
	return longest
}

// TestLoadWithoutFault proves the traffic and its judge against any broker.
func TestLoadWithoutFault(t *testing.T) {
	c := sharedCluster(t, 3)
	flows := startFlows(t, c)
	homes := homesOf(flows)
	progress(t, flows, 1000)
	reportSilence(t, flows, homes, nil, "no fault")
	judge(t, flows, homes, nil)
	for _, f := range flows {
		deleteAtEnd(t, c.node(0), f.queue)
	}
}

// TestLeaderKill: the leader is killed under load, round after round, with a
// restart in between.
//
// row: 1.6 confirm point; 1.3 publisher confirms
func TestLeaderKill(t *testing.T) {
	c := startCluster(t, 3)
	for round := 1; round <= 4; round++ {
		leader := c.leader(t)
		flows := startFlows(t, c)
		homes := homesOf(flows)
		progress(t, flows, 300)
		reportSilence(t, flows, homes, leader, fmt.Sprintf("round %d: before", round))

		leader.kill(t)
		progress(t, flows, 500)
		reportSilence(t, flows, homes, leader, fmt.Sprintf("round %d: leader %s killed", round, leader.name))

		leader.start(t)
		leader.waitReady(t)
		progress(t, flows, 200)
		reportSilence(t, flows, homes, leader, fmt.Sprintf("round %d: %s restarted", round, leader.name))
		judge(t, flows, homes, leader)
		if t.Failed() {
			return
		}
	}
}

// TestFollowerKill: the loss of a follower is hardly noticed elsewhere.
//
// row: 1.6 any node
func TestFollowerKill(t *testing.T) {
	c := startCluster(t, 3)
	follower := c.others(c.leader(t))[0]
	flows := startFlows(t, c)
	homes := homesOf(flows)
	progress(t, flows, 300)
	follower.kill(t)
	progress(t, flows, 500)
	reportSilence(t, flows, homes, follower, "follower "+follower.name+" killed")
	follower.start(t)
	follower.waitReady(t)
	progress(t, flows, 200)
	judge(t, flows, homes, follower)
}

// TestPause: a node that stands still, as in a long pause of its machine, holds
// up nobody for long, be it a follower or the leader. It goes on when it is back.
func TestPause(t *testing.T) {
	c := startCluster(t, 3)
	for _, role := range []string{"follower", "leader"} {
		paused := c.leader(t)
		if role == "follower" {
			paused = c.others(paused)[0]
		}
		flows := startFlows(t, c)
		homes := homesOf(flows)
		progress(t, flows, 300)
		reportSilence(t, flows, homes, paused, role+" "+paused.name+": before")

		paused.pause(t)
		var others []*flow
		for _, f := range flows {
			if homes[f][0] != paused {
				others = append(others, f)
			}
		}
		progress(t, others, 2000)
		reportSilence(t, flows, homes, paused, role+" "+paused.name+" stands still")
		paused.resume(t)
		progress(t, flows, 300)
		reportSilence(t, flows, homes, paused, role+" "+paused.name+" goes on")
		for _, f := range flows {
			f.finish(t)
			home := homes[f]
			for _, err := range f.check(loss{publisher: home[0] == paused, consumer: home[1] == paused}) {
				t.Errorf("%s paused: from %s to %s: %v", role, home[0].name, home[1].name, err)
			}
		}
	}
}

// TestLeaderStop: SIGTERM hands leadership over first. Clients of the node are
// told 320, the others go on.
//
// row: 1.6 maintenance; 1.1 close by operator
func TestLeaderStop(t *testing.T) {
	c := startCluster(t, 3)
	leader := c.leader(t)
	flows := startFlows(t, c)
	homes := homesOf(flows)
	idle := dial(t, leader)
	closed := idle.NotifyClose(make(chan *amqp.Error, 1))
	progress(t, flows, 300)
	reportSilence(t, flows, homes, leader, "before")

	leader.stop(t)
	e := receive(t, "end of an idle connection", closed)
	if e == nil || e.Code != amqp.ConnectionForced {
		t.Errorf("the idle client was told %v, want 320 CONNECTION_FORCED", e)
	}
	progress(t, flows, 500)
	reportSilence(t, flows, homes, leader, "leader "+leader.name+" stopped")
	if now := c.leader(t); now == leader {
		t.Errorf("%s leads still", leader.name)
	}
	leader.start(t)
	leader.waitReady(t)
	progress(t, flows, 100)
	judge(t, flows, homes, leader)
	for _, f := range flows {
		wantForced(t, homes[f][0] == leader, f.pub.errs, "publisher")
		wantForced(t, homes[f][1] == leader, f.con.errs, "consumer")
	}
}

// wantForced: a client of the node that was stopped was told 320, once.
func wantForced(t testing.TB, onNode bool, errs []error, who string) {
	t.Helper()
	if !onNode {
		return
	}
	for _, err := range errs {
		// Joined with the client's own error for what it was doing at the time.
		if strings.Contains(err.Error(), "CONNECTION_FORCED") {
			return
		}
	}
	t.Errorf("a %s of the stopped node was not told 320: %v", who, errs)
}
