package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A view is what the nodes said when they were last asked.
type view struct {
	nodes  []answer // of node i
	leader int      // the node that most of them name, -1 when there is none
}

// An answer is what one node says of the cluster (GET /api/cluster).
type answer struct {
	up      bool   // it answers at all
	Leader  string `json:"leader"`  // name, empty when it knows of none
	Serving bool   `json:"serving"` // it takes AMQP clients
	Waiting string `json:"waiting"` // what it waits for before it does
}

// state is the answer in words.
func (a answer) state() string {
	switch {
	case !a.up:
		return "does not answer"
	case a.Serving:
		return "serves clients"
	case a.Waiting != "":
		return "waits: " + a.Waiting
	}
	return "starting"
}

func (v view) serving() int {
	n := 0
	for _, a := range v.nodes {
		if a.Serving {
			n++
		}
	}
	return n
}

// watch asks the nodes again and again and sends what they say, until ctx ends.
func (c *Config) watch(ctx context.Context, views chan<- view) {
	tick := time.NewTicker(c.Poll)
	defer tick.Stop()
	for {
		select {
		case views <- c.ask(ctx):
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask asks all nodes at once who leads.
func (c *Config) ask(ctx context.Context) view {
	v := view{nodes: make([]answer, c.Nodes), leader: -1}
	var all sync.WaitGroup
	for i := range c.Nodes {
		all.Go(func() {
			a, err := c.askNode(ctx, i)
			if err == nil {
				a.up = true
				v.nodes[i] = a
			}
		})
	}
	all.Wait()
	votes, most := map[string]int{}, 0
	for _, a := range v.nodes {
		votes[a.Leader]++
	}
	for i := range c.Nodes {
		if n := votes[nodeName(i)]; n > most {
			v.leader, most = i, n
		}
	}
	return v
}

// maxAnswer bounds what is read of a node's answer, in bytes.
const maxAnswer = 1 << 20

func (c *Config) askNode(ctx context.Context, i int) (answer, error) {
	var a answer
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr(c.HTTPPort, i)+"/api/cluster", nil)
	if err != nil {
		return a, err
	}
	req.SetBasicAuth(c.User, c.Password)
	resp, err := c.Client.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&a); err != nil {
		return a, fmt.Errorf("%s: %w", req.URL, err)
	}
	return a, nil
}
