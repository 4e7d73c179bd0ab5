// Package fsm is the state machine of the broker: vhosts with their exchanges,
// bindings and queues, the consumers and unacknowledged messages of every
// channel in the cluster, and the epochs of the nodes.
//
// A Machine is fed the entries of the Raft log with Apply, and gives results for
// who proposed an entry and effects for who has to act on it. It is pure: equal
// entries give equal states, results and effects on every node and on every
// replay. It has no clock (time comes stamped in the entries), no random source, no
// goroutine, does no I/O, and nothing in it depends on the order of a map. Messages
// that need not be in memory are read through the small interface command.Records.
//
// It is neither safe for concurrent use nor aware of Raft: package node/replica
// guards it and feeds it. See DESIGN.md.
package fsm
