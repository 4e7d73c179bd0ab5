// Package msgstore keeps the messages of a node's state machine on disk: segment
// files with records of messages, and the Raft snapshots that refer to them. It is
// the machine's command.Records and Raft's raft.SnapshotStore. What a record or a snapshot
// means is the machine's affair. See DESIGN.md.
package msgstore
