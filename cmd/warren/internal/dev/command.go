package dev

import (
	"fmt"
	"strconv"
	"strings"
)

// A verb is what a person may type while the cluster runs.
type verb struct {
	name string
	node bool // takes the number of a node
	help string
}

var verbs = []verb{
	{"status", false, "show the nodes and who leads"},
	{"kill", true, "kill -9 the node"},
	{"stop", true, "stop the node in order (SIGTERM)"},
	{"restart", true, "start the node, after stopping it if it runs"},
	{"quit", false, "stop all nodes; their data stays"},
	{"help", false, "show these commands"},
}

// A request is one line that was typed.
type request struct {
	verb string
	node int // when the verb takes one
}

// parseRequest reads a line like "kill 2". An empty line is an empty request.
func parseRequest(line string, nodes int) (request, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return request{}, nil
	}
	for _, v := range verbs {
		if v.name != words[0] {
			continue
		}
		if !v.node {
			if len(words) != 1 {
				return request{}, fmt.Errorf("%s takes no argument", v.name)
			}
			return request{verb: v.name}, nil
		}
		if len(words) != 2 {
			return request{}, fmt.Errorf("%s takes the number of a node: %s 0", v.name, v.name)
		}
		i, err := strconv.Atoi(strings.TrimPrefix(words[1], "node"))
		if err != nil || i < 0 || i >= nodes {
			return request{}, fmt.Errorf("no node %q: they are 0 to %d", words[1], nodes-1)
		}
		return request{v.name, i}, nil
	}
	return request{}, fmt.Errorf("unknown command %q: type help", words[0])
}

func helpText() string {
	var b strings.Builder
	for _, v := range verbs {
		name := v.name
		if v.node {
			name += " N"
		}
		fmt.Fprintf(&b, "  %-10s %s\n", name, v.help)
	}
	return b.String()
}
