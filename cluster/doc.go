// Package cluster is one Raft group with gossip around it: it forms the cluster,
// keeps its members, takes batches to the leader and into the log, and says who
// leads and who is gone. What the batches mean is the state machine's affair.
//
// hashicorp/raft decides who is a member and what is committed; memberlist only
// finds nodes and spreads their addresses. See DESIGN.md.
package cluster
