package integration

import (
	"fmt"
	"testing"
)

// A semantic is one behaviour that a client sees. It takes the nodes of the
// cluster by number, so that on three nodes what it does to one is at once seen
// on another; on a single node they are all the same.
type semantic struct {
	name string
	run  func(t *testing.T, c *cluster)
}

// TestSemantics checks behaviours of RabbitMQ through a real client, on one node
// and spread over three.
func TestSemantics(t *testing.T) {
	groups := []struct {
		name  string
		cases []semantic
	}{
		{"queues", queueSemantics},
		{"arguments", argumentSemantics},
		{"exchanges", exchangeSemantics},
		{"routing", routingSemantics},
		{"publish", publishSemantics},
		{"consume", consumeSemantics},
		{"tx", txSemantics},
		{"content", contentSemantics},
		{"life", lifeSemantics},
		{"order", orderSemantics},
		{"timeouts", timeoutSemantics},
		{"retry", retrySemantics},
		{"deaths", deathSemantics},
		{"credit", creditSemantics},
		{"policies", policySemantics},
	}
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			t.Parallel() // beside the other size
			c := sharedCluster(t, size)
			for _, g := range groups {
				for _, s := range g.cases {
					t.Run(g.name+"/"+s.name, func(t *testing.T) { s.run(t, c) })
				}
			}
		})
	}
}
