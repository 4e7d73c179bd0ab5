// Package fsmtest tests the state machine: text scripts with recorded output,
// seeded random runs with invariants, replicas restored from snapshots at any cut, machines
// whose messages leave memory at any moment, and the rules that keep the machine pure.
// Records is for other packages' tests too.
package fsmtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"

	"warren/fsm/command"
)

// Records keeps records in memory and knows which are in use. The zero value is empty.
type Records struct {
	last  uint64
	data  map[command.Record][]byte // kept when dropped: captures may need them
	live  map[command.Record]int
	Fail  error                     // what Read and Store return, if not nil
	Stale func(command.Record) bool // nil: none is
	Reads int
}

// Read implements command.Records.
func (s *Records) Read(r command.Record) ([]byte, error) {
	s.Reads++
	if s.Fail != nil {
		return nil, s.Fail
	}
	b, ok := s.data[r]
	if !ok {
		return nil, fmt.Errorf("fsmtest: no record %v", r)
	}
	return bytes.Clone(b), nil
}

// Ahead implements command.Records.
func (s *Records) Ahead(r command.Record) {
	if s.live[r] == 0 {
		panic(fmt.Sprintf("fsmtest: record %v asked for, which is not there", r))
	}
}

// Hold implements command.Records.
func (s *Records) Hold(r command.Record) {
	if _, ok := s.data[r]; !ok {
		panic(fmt.Sprintf("fsmtest: record %v held, which was never stored", r))
	}
	s.live[r]++
}

// Drop implements command.Records. Dropping what is not there panics.
func (s *Records) Drop(r command.Record) {
	if s.live[r] == 0 {
		panic(fmt.Sprintf("fsmtest: record %v dropped, which is not there", r))
	}
	if s.live[r]--; s.live[r] == 0 {
		delete(s.live, r)
	}
}

// Clone returns a copy that goes its own way.
func (s *Records) Clone() *Records {
	c := *s
	c.data, c.live = maps.Clone(s.data), maps.Clone(s.live)
	return &c
}

// Live returns the number of records in use.
func (s *Records) Live() int { return len(s.live) }

func (s *Records) store(b []byte) (command.Record, error) {
	if s.Fail != nil {
		return command.Record{}, s.Fail
	}
	if s.data == nil {
		s.data = make(map[command.Record][]byte)
		s.live = make(map[command.Record]int)
	}
	s.last++
	r := command.Record{Segment: s.last, Size: uint32(len(b))}
	s.data[r] = bytes.Clone(b)
	s.live[r] = 1
	return r, nil
}

// A Saved is a snapshot that refers to Records. It implements command.RecordWriter.
type Saved struct {
	bytes.Buffer
	Refs    []command.Record
	Records *Records
}

// Read returns a record, as a RecordWriter does.
func (s *Saved) Read(r command.Record) ([]byte, error) { return s.Records.Read(r) }

// Store implements command.RecordWriter.
func (s *Saved) Store(b []byte) (command.Record, error) { return s.Records.store(b) }

// Refer implements command.RecordWriter.
func (s *Saved) Refer(r command.Record) error {
	s.Refs = append(s.Refs, r)
	return nil
}

// Stale implements command.RecordWriter.
func (s *Saved) Stale(r command.Record) bool { return s.Records.Stale != nil && s.Records.Stale(r) }

// Reader returns what was saved, to be loaded any number of times.
func (s *Saved) Reader() command.RecordReader {
	return &savedReader{Reader: bytes.NewReader(s.Bytes()), refs: s.Refs}
}

type savedReader struct {
	io.Reader
	refs []command.Record
}

// Next implements command.RecordReader.
func (s *savedReader) Next() (command.Record, error) {
	if len(s.refs) == 0 {
		return command.Record{}, errors.New("no record is left")
	}
	r := s.refs[0]
	s.refs = s.refs[1:]
	return r, nil
}
