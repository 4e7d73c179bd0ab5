package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestParametersReplicated sets parameters and the cluster's name on one node and sees them on the others, over the
// loss of the leader and a restart of all, and in the definitions of another cluster.
//
// row: 1.7 parameters
func TestParametersReplicated(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := startCluster(t, size)
			testParameters(t, c)
		})
	}
}

func testParameters(t *testing.T, c *cluster) {
	const shovel = `{"dest-queue":"b","dest-uri":"amqp://other","src-queue":"a","src-uri":"amqp://"}` // as lists show it
	first, last := c.node(0), c.node(2)
	before := fmt.Sprint(dial(t, last).Properties["cluster_name"])
	if !strings.Contains(first.ctl(t, "status"), "Cluster name: "+before) {
		t.Errorf("clients are told the cluster's name %q, and operators another", before)
	}
	first.ctl(t, "add_vhost", "v")
	first.ctl(t, "set_parameter", "shovel", "s", shovel)
	first.ctl(t, "set_parameter", "-p", "v", "federation-upstream", "u", `{"uri":"amqp://up"}`)
	first.ctl(t, "set_global_parameter", "mqtt_default_vhosts", `{"cn":"/"}`)
	first.ctl(t, "set_cluster_name", "burrow")
	if out, err := first.tryCtl("set_parameter", "odd", "s", "{}"); err == nil || !strings.Contains(out, "component odd not found") {
		t.Errorf("a parameter of an unknown component: %v, %s", err, out)
	}
	var id string
	there := func() {
		t.Helper()
		for _, n := range c.nodes {
			if !n.running() {
				continue
			}
			eventually(t, n.name+" has the parameters", func() error {
				for row, args := range map[string][]string{
					"shovel\ts\t" + shovel:                            {"list_parameters", "-q"},
					"federation-upstream\tu\t{\"uri\":\"amqp://up\"}": {"list_parameters", "-q", "-p", "v"},
					"mqtt_default_vhosts\t{\"cn\":\"/\"}":             {"list_global_parameters", "-q"},
					"cluster_name\t\"burrow\"":                        {"list_global_parameters", "-q"},
					"Cluster name: burrow":                            {"status"},
				} {
					if out := n.ctl(t, args...); !strings.Contains(out, row) {
						return fmt.Errorf("%v lacks %s:\n%s", args, row, out)
					}
				}
				return nil
			})
			if name := dial(t, n).Properties["cluster_name"]; name != "burrow" {
				t.Errorf("%s calls the cluster %v", n.name, name)
			}
			_, body := n.api(t, "guest", "guest", "GET", "/api/global-parameters/internal_cluster_id", nil)
			if !strings.Contains(body, "warren-cluster-id-") || id != "" && body != id {
				t.Errorf("%s has the cluster's id %s, and it was %s", n.name, body, id)
			}
			id = body
		}
	}
	there()
	throughFaults(t, c, there)

	file := filepath.Join(t.TempDir(), "definitions.json")
	first.ctl(t, "export_definitions", file)
	other := startCluster(t, 1).node(0)
	other.ctl(t, "import_definitions", file)
	wantRow(t, other, []string{"shovel", "s", shovel}, "list_parameters", "-q")
	wantRow(t, other, []string{"cluster_name", `"burrow"`}, "list_global_parameters", "-q")
	if _, body := other.api(t, "guest", "guest", "GET", "/api/global-parameters/internal_cluster_id", nil); body == id {
		t.Error("two clusters have one id")
	}

	last.ctl(t, "clear_parameter", "shovel", "s")
	last.ctl(t, "clear_global_parameter", "mqtt_default_vhosts")
	if out := first.ctl(t, "list_parameters", "-q"); strings.Contains(out, "shovel") {
		t.Errorf("a parameter that was cleared is listed:\n%s", out)
	}
	last.ctl(t, "delete_vhost", "v")
	last.ctl(t, "add_vhost", "v")
	if out := last.ctl(t, "list_parameters", "-q", "-p", "v"); strings.Contains(out, "u") {
		t.Errorf("a new vhost has a parameter of the old one:\n%s", out)
	}
}
