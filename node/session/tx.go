package session

import (
	"warren/fsm/command"
	"warren/protocol"
)

// A transaction is what a transactional channel has published and settled since
// the last commit. The machine carries it out at once (see command.Commit).
type transaction struct {
	commands   []byte   // as command.Commit takes them
	replies    []*Reply // to be sent when the commands are carried out
	replyBytes int
	publishes  int
	settled    []unacked // to be given back by a rollback
}

// size is how many bytes the transaction holds.
func (t *transaction) size() int { return len(t.commands) + t.replyBytes }

func (ch *channel) txMethod(m protocol.Method) error {
	switch m.(type) {
	case *protocol.TxSelect:
		if ch.confirms.on {
			return preconditionFailed(m.ID(), "cannot switch from confirm to tx mode")
		}
		if ch.tx == nil {
			ch.flushSettles()
			ch.tx = new(transaction)
		}
		ch.send(&protocol.TxSelectOk{})
		return nil
	case *protocol.TxCommit, *protocol.TxRollback:
		if ch.tx == nil {
			return preconditionFailed(m.ID(), "channel is not transactional")
		}
		if m.ID() == protocol.IDTxCommit {
			ch.commit()
		} else {
			ch.rollback()
		}
		return nil
	}
	return unimplemented(m)
}

// buffer appends a command to the open transaction.
func (ch *channel) buffer(cmd command.Command) {
	before := len(ch.tx.commands)
	ch.tx.commands = command.AppendCommand(ch.tx.commands, cmd)
	ch.grown(len(ch.tx.commands) - before)
}

// bufferReply appends a direct reply to the open transaction.
func (ch *channel) bufferReply(r *Reply) {
	ch.tx.replies = append(ch.tx.replies, r)
	ch.tx.replyBytes += r.size()
	ch.grown(r.size())
}

// grown accounts for bytes that the transaction took up.
func (ch *channel) grown(bytes int) {
	if !ch.c.charge(bytes) {
		return
	}
	if n := ch.tx.size(); n > ch.c.cfg.MaxTransaction {
		ch.fail(preconditionFailed(protocol.NewID(protocol.ClassTx, 0),
			"transaction of %d bytes is larger than the maximum of %d bytes", n, ch.c.cfg.MaxTransaction))
	}
}

// commit is tx.commit: one command. Messages that could not be routed and are
// mandatory come back before commit-ok.
func (ch *channel) commit() {
	ch.flushSettles()
	if !ch.open {
		return // the last acknowledgement made it too large
	}
	commands, replies := ch.tx.commands, ch.tx.replies
	if len(commands) == 0 {
		ch.resetTx()
		ch.commitReplies(replies)
		return
	}
	cmd := &command.Commit{VHost: ch.c.vhost, Channel: ch.name(), Commands: commands}
	ch.c.flight.start(len(commands))
	ch.c.unasked = 0
	ch.call(protocol.IDTxCommit, cmd, func(r *command.Result) {
		for _, m := range r.Returned {
			ch.giveBack(m)
		}
		if ch.open {
			ch.commitReplies(replies)
		}
	})
	ch.resetTx()
}

// commitReplies sends the direct replies of a transaction whose commands are
// carried out, and then commit-ok, when it is known what became of them.
func (ch *channel) commitReplies(replies []*Reply) {
	left := 1
	one := func() {
		if left--; left > 0 {
			return
		}
		ch.waiting = nil
		ch.send(&protocol.TxCommitOk{})
		ch.release()
	}
	ch.waiting = &waiting{id: protocol.IDTxCommit}
	for _, r := range replies {
		left++
		r.token = newToken(ch.number, ch.incarnation, forMethod, 0)
		r.after = func(bool) { one() }
		ch.sendReply(r)
	}
	one()
}

// rollback forgets the publishes and makes the settled deliveries unsettled again.
func (ch *channel) rollback() {
	ch.gathered = gathered{}
	ch.unacked.restore(ch.tx.settled)
	ch.resetTx()
	ch.send(&protocol.TxRollbackOk{})
}

func (ch *channel) resetTx() {
	ch.c.charge(-ch.tx.size())
	ch.tx = new(transaction)
}
