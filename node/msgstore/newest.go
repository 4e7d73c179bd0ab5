package msgstore

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// ErrNoSnapshot says that the store has none yet.
var ErrNoSnapshot = errors.New("there is no snapshot yet")

// newestTries is how often Newest looks again when a newer snapshot took the place of
// the one that it was about to open.
const newestTries = 5

// Newest opens the newest snapshot as Open does. While it is open the files of messages that
// it names stay.
func (s *Store) Newest() (meta *raft.SnapshotMeta, rc io.ReadCloser, err error) {
	for range newestTries {
		list, err := s.List()
		if err != nil {
			return nil, nil, fmt.Errorf("list snapshots: %w", err)
		}
		if len(list) == 0 {
			return nil, nil, ErrNoSnapshot
		}
		if meta, rc, err = s.Open(list[0].ID); err == nil {
			return meta, rc, nil
		}
		if now, lerr := s.List(); lerr != nil || len(now) > 0 && now[0].ID == list[0].ID {
			return nil, nil, err
		}
	}
	return nil, nil, fmt.Errorf("open newest snapshot: %w", err)
}
