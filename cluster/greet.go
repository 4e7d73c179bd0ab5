package cluster

import (
	"context"
	"errors"
	"net"
	"time"

	"warren/cluster/mux"
)

func (c *Cluster) identity() mux.Identity {
	return mux.Identity{
		Cluster: c.clusterID(), Node: c.cfg.ID, Addr: c.advertise, Instance: c.instance, Boot: c.boot,
	}
}

func (c *Cluster) selfEntry() entry {
	return entry{
		Addr: c.advertise, Name: c.cfg.Name, Boot: c.boot,
		Cluster: c.clusterID(), Expect: c.cfg.Expect, Tags: c.cfg.Tags, Reluctant: c.reluctant.Load(),
	}
}

// welcome decides over whoever connects.
func (c *Cluster) welcome(h mux.Hello) mux.Welcome {
	own := c.clusterID()
	w := mux.Welcome{Identity: c.identity()}
	switch {
	case h.Node == c.cfg.ID && h.Instance == c.instance:
		w.Refusal = "this is you"
	case h.Node == c.cfg.ID:
		c.log.Warn("another process has this node's id: is its data directory a copy?", "addr", h.Addr)
		w.Refusal = "your id is mine: is your data directory a copy?"
	case h.To != "" && h.To != c.cfg.ID:
		w.Refusal = "this is node " + c.cfg.ID
	case h.Cluster != "" && own != "" && h.Cluster != own:
		w.Refusal = "this is cluster " + own + ", yours is " + h.Cluster
	case (h.Kind == mux.Raft || h.Kind == mux.Propose) && (own == "" || h.Cluster != own):
		w.Refusal = "not of one cluster yet"
	default:
		c.book.learn(h.Node, entry{Addr: h.Addr, Boot: h.Boot, Cluster: h.Cluster})
	}
	return w
}

// dial connects to an address and greets. to is the node that must answer, or "".
func (c *Cluster) dial(kind mux.Kind, to, addr string, timeout time.Duration) (net.Conn, mux.Welcome, error) {
	return c.dialContext(c.ctx, kind, to, addr, timeout)
}

func (c *Cluster) dialContext(ctx context.Context, kind mux.Kind, to, addr string, timeout time.Duration) (net.Conn, mux.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.cfg.Network.Dial(ctx, addr)
	if err != nil {
		return nil, mux.Welcome{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	w, err := mux.Greet(conn, mux.Hello{Identity: c.identity(), Kind: kind, To: to}, c.secrets(), timeout)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if mux.AboutSecret(err) && c.mayLog(&c.secretLogged) {
			c.log.Warn("a node does not take this node's cluster secret, or has none", "addr", addr, "error", err)
		}
		return nil, w, errors.Join(err, conn.Close())
	}
	c.book.learn(w.Node, entry{Addr: w.Addr, Boot: w.Boot, Cluster: w.Cluster})
	return conn, w, nil
}

func (c *Cluster) secrets() (out mux.Secrets) {
	for _, s := range c.cfg.Secrets {
		out = append(out, []byte(s))
	}
	return out
}

// mayLog says whether a line that was last logged at the given time is due again.
func (c *Cluster) mayLog(last *time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(*last) < 15*time.Second {
		return false
	}
	*last = time.Now()
	return true
}
