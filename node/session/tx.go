package session

import (
	"warren/fsm/command"
	"warren/protocol"
)

// A transaction is what a transactional channel has published and settled since
// the last commit. The machine carries it out at once (see command.Commit).
type transaction struct {
	commands  []byte // as command.Commit takes them
	publishes int
	settled   []unacked // to be given back by a rollback
}

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
	if !ch.c.charge(len(ch.tx.commands) - before) {
		return
	}
	if n := len(ch.tx.commands); n > ch.c.cfg.MaxTransaction {
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
	commands := ch.tx.commands
	if len(commands) == 0 {
		ch.resetTx()
		ch.send(&protocol.TxCommitOk{})
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
			ch.send(&protocol.TxCommitOk{})
		}
	})
	ch.resetTx()
}

// rollback forgets the publishes and makes the settled deliveries unsettled again.
func (ch *channel) rollback() {
	ch.gathered = gathered{}
	ch.unacked.restore(ch.tx.settled)
	ch.resetTx()
	ch.send(&protocol.TxRollbackOk{})
}

func (ch *channel) resetTx() {
	ch.c.charge(-len(ch.tx.commands))
	ch.tx = new(transaction)
}
