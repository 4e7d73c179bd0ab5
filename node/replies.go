package node

import (
	"context"

	"github.com/google/uuid"

	"warren/node/session"
)

// replies carries direct replies: to a session of this node at once, to another
// node by the outbox.
type replies struct {
	node    uuid.UUID
	session func(conn uint64) (*session.Session, bool)
	out     *outbox
}

var _ session.Replies = (*replies)(nil)

func newReplies(n *Node, node uuid.UUID) *replies {
	return &replies{node: node, session: n.sessions.Get, out: newOutbox(n, callReplies)}
}

// close ends what is under way; whoever waits for it is told that it is gone.
func (p *replies) close() { p.out.close() }

// Node is the id of this node.
func (p *replies) Node() [16]byte { return p.node }

// Send is session.Replies.
func (p *replies) Send(r *session.Reply) session.Outcome {
	to := uuid.UUID(r.To.Node)
	switch {
	case to == p.node && p.take(r):
		return session.Delivered
	case to != p.node && p.out.send(to, replyParcel{r}):
		return session.Pending
	}
	return session.Gone
}

// take hands a reply to a session of this node.
func (p *replies) take(r *session.Reply) bool {
	s, ok := p.session(r.To.Conn)
	return ok && s.TakeReply(r)
}

// answer is the handler of callReplies.
func (p *replies) answer(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var taken []byte
	for len(payload) > 0 {
		r, rest, err := parseReply(payload)
		if err != nil {
			return taken, err
		}
		payload = rest
		one := byte(0)
		if r.To.Node == p.node && p.take(r) {
			one = 1
		}
		taken = append(taken, one)
	}
	return taken, nil
}

// A replyParcel is a direct reply on its way. The answer is 1 when it was taken.
type replyParcel struct{ *session.Reply }

func (r replyParcel) Done(answer byte, err error) { r.Reply.Done(err == nil && answer == 1) }

// Append appends an octet that is 1 for a probe, then the message.
func (r replyParcel) Append(b []byte) []byte {
	probe := byte(0)
	if r.Probe {
		probe = 1
	}
	return appendMessage(append(b, probe), r.VHost, r.Name, r.Properties, r.Body)
}

// parseReply reads what Append wrote, and returns what follows. The reply is
// a copy: it may wait for its client much longer than the others of its batch.
func parseReply(b []byte) (r *session.Reply, rest []byte, err error) {
	c := parcelCursor{b: b}
	probe := c.take(1)
	r = &session.Reply{}
	r.VHost, r.Name, r.Properties, r.Body = c.message()
	to, ok := session.ParseReplyName(r.Name)
	if c.bad || !ok || probe[0] > 1 {
		return nil, nil, errParcels
	}
	r.To, r.Probe = to, probe[0] == 1
	return r, c.b, nil
}
