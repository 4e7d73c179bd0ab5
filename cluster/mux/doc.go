// Package mux lets everything that nodes say to each other share one TCP port:
// Raft's streams, gossip's streams, calls and forwarded batches.
//
// The first bytes of a connection are a Hello that says what the connection is
// for and who speaks; the other side answers with a Welcome, or refuses. What
// follows belongs to whoever handles that kind. Calls and batches use the frames
// of this package (see Frame); Raft and gossip have their own.
//
// Bytes of strangers cost a bounded buffer, a bounded time and a log line.
// The package knows no Raft and no gossip, and authenticates nobody.
package mux
