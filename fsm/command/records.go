package command

import "io"

// A Record names a run of messages of one queue that a node keeps on disk. It
// means nothing on another node.
type Record struct {
	Segment uint64 // number of the file
	Offset  uint64 // in the file
	Size    uint32 // bytes, as given to RecordWriter.Store
}

// Records is the disk of a node as its machine sees it. Which messages are in memory
// and which on disk is the node's own affair: it changes no state, no output and no hash.
//
// Hold and Drop are counted by the caller: each record that the machine refers
// to was stored or held once, and is dropped once. What is dropped stays readable for
// captures that were taken before.
type Records interface {
	// Read returns the bytes of a record. They belong to the caller. An error
	// names the file.
	Read(Record) ([]byte, error)
	// Ahead says that Read of this record is likely to come soon. It does not block.
	Ahead(Record)
	// Hold says that the machine refers to a record of a snapshot that it loads.
	Hold(Record)
	// Drop says that the machine refers to a record no longer.
	Drop(Record)
}

// A RecordWriter takes a snapshot that refers to records. What is written to it
// and the records referred to are two sequences, each read in its order later.
type RecordWriter interface {
	io.Writer
	// Store keeps a copy of the bytes as a new record, held for the caller. It is
	// safe on disk when the snapshot is.
	Store(b []byte) (Record, error)
	// Refer makes a record part of the snapshot. It stands before the next bytes written.
	Refer(Record) error
	// Stale reports whether a record had better be stored anew, because its
	// file holds little else that is in use.
	Stale(Record) bool
	// Read returns the bytes of a record.
	Read(Record) ([]byte, error)
}

// A RecordReader reads what a RecordWriter took.
type RecordReader interface {
	io.Reader
	// Next returns the next record that was referred to.
	Next() (Record, error)
}
