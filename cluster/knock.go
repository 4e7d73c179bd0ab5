package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"warren/cluster/mux"
)

// Knocked is who answers at the cluster's port of a node.
type Knocked struct {
	Node    string // id
	Cluster string // id; empty before it belongs to one
}

// ErrSecret: the other node does not take the secret, or asks for none, or the other way round.
var ErrSecret = errors.New("the cluster secret is not that of the other node")

// Knock greets a node from outside, without taking part: it tells whether the node can be reached and takes the secret. tls
// encrypts, when it is not nil.
func Knock(ctx context.Context, addr string, secrets []string, tls *tls.Config, timeout time.Duration) (Knocked, error) {
	var network Network = osNetwork{}
	if tls != nil {
		network = &tlsNetwork{Network: network, dial: tls}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := network.Dial(ctx, addr)
	if err != nil {
		return Knocked{}, err
	}
	defer func() { _ = conn.Close() }() // nothing was said on it
	var known mux.Secrets
	for _, s := range secrets {
		known = append(known, []byte(s))
	}
	w, err := mux.Greet(conn, mux.Hello{Identity: mux.Identity{Node: "visitor"}, Kind: mux.Call}, known, timeout)
	if mux.AboutSecret(err) {
		return Knocked{}, errors.Join(ErrSecret, err)
	}
	var refused *mux.RefusedError
	if err != nil && !errors.As(err, &refused) {
		return Knocked{}, err
	}
	return Knocked{Node: w.Node, Cluster: w.Cluster}, nil
}
