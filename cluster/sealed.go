package cluster

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// The log's files have no checksum that is looked at when an entry is read: raft-wal
// has one for what is written together, and reads it only to repair the end of its log; bbolt has none.
// So each entry carries one, in Extensions, which nobody else uses: a version (1 byte), and
// CRC-32C of index, term, type and data (4). It is put there as the entry goes to disk and taken away
// as it is read; Raft and other nodes never see it. Entries of older versions have none.
const (
	sealVersion = 1
	sealSize    = 5
)

// sealed returns copies of entries with their checksums.
func sealed(logs []*raft.Log) []*raft.Log {
	all := make([]raft.Log, len(logs))
	seals := make([]byte, 0, sealSize*len(logs))
	out := make([]*raft.Log, len(logs))
	for i, l := range logs {
		all[i] = *l
		seals = appendSeal(seals, l)
		all[i].Extensions = seals[len(seals)-sealSize : len(seals) : len(seals)]
		out[i] = &all[i]
	}
	return out
}

func appendSeal(b []byte, l *raft.Log) []byte {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data)
	return binary.BigEndian.AppendUint32(append(b, sealVersion), sum)
}

// unseal checks an entry that was read from disk, and takes its checksum away.
func unseal(index uint64, l *raft.Log) (reason string) {
	if l.Index != index {
		return "another entry stands in its place"
	}
	switch {
	case len(l.Extensions) == 0:
		return ""
	case len(l.Extensions) != sealSize || l.Extensions[0] != sealVersion:
		return "its checksum is of an unknown kind"
	}
	seal := l.Extensions
	l.Extensions = nil
	if string(appendSeal(nil, l)) != string(seal) {
		return "its checksum does not match"
	}
	return ""
}
