package msgstore

import (
	"log/slog"
	"maps"
	"slices"
)

// A Finding is what Verify has to say of one file.
type Finding struct {
	Path  string
	Bytes int64 // that were read
	Err   error // nil: sound
}

// Verify reads the snapshots in a directory, and all messages that they need, and reports on
// each file. It changes nothing but what a start would; the node must not run. It returns the
// index of the newest snapshot, 0 when there is none or it is not sound.
func Verify(dir string, report func(Finding)) (newest uint64) {
	s, err := Open(Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		report(Finding{Path: dir, Err: err})
		return 0
	}
	defer func() {
		if err := s.Close(); err != nil {
			report(Finding{Path: dir, Err: err})
		}
	}()
	list, err := s.List()
	if err != nil {
		report(Finding{Path: dir, Err: err})
		return 0
	}
	for _, meta := range list {
		snapshot := Finding{Path: s.statePath(meta.ID)}
		segments := make(map[uint64]*Finding)
		snapshot.Err = s.eachBlock(meta.ID, func(b block) error {
			if b.kind == blockBytes {
				snapshot.Bytes += int64(len(b.data))
				return nil
			}
			n := b.record.Segment
			if segments[n] == nil {
				segments[n] = &Finding{Path: s.fs.Path(segmentName(n))}
			}
			if _, err := s.read(b.record); err != nil && segments[n].Err == nil {
				segments[n].Err = err
			}
			segments[n].Bytes += length(b.record)
			return nil
		})
		report(snapshot)
		for _, n := range slices.Sorted(maps.Keys(segments)) {
			report(*segments[n])
		}
		if snapshot.Err == nil {
			newest = max(newest, meta.Index)
		}
	}
	return newest
}
