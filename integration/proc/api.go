package proc

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// ClusterInfo is the part of GET /api/cluster that tests use.
type ClusterInfo struct {
	NodeID        string   `json:"id"`
	Leader        string   `json:"leader"` // a name
	Term          uint64   `json:"raft_term"`
	LastIndex     uint64   `json:"raft_last_index"`
	AppliedIndex  uint64   `json:"raft_applied_index"`
	SnapshotIndex uint64   `json:"raft_snapshot_index"`
	Members       []Member `json:"members"`
}

// Member is a node in a ClusterInfo.
type Member struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Voter   bool   `json:"raft_voter"`
	Running bool   `json:"running"`
}

// API is the HTTP API of a node, for its first user.
type API struct {
	Addr string // HOST:PORT
}

// Cluster asks the node how it sees the cluster.
func (a API) Cluster() (ClusterInfo, error) {
	var info ClusterInfo
	err := a.Get("/api/cluster", &info)
	return info, err
}

// Get fetches a path and decodes the answer.
func (a API) Get(path string, into any) error {
	body, err := a.Do(http.MethodGet, path, "")
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// Do makes a request and returns the answer of one that went well.
func (a API) Do(method, path, body string) ([]byte, error) {
	req, err := http.NewRequest(method, "http://"+a.Addr+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("guest", "guest")
	resp, err := HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, nil
}

// HTTP is the client of an API. Connections are not kept: a node may be cut off meanwhile, and one that is kept would
// count as the node's.
var HTTP = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
