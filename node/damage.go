package node

import (
	"errors"

	"warren/cluster"
	"warren/node/msgstore"
)

// ErrDamaged says that a file of the data directory is not as it was written. The node
// is not to go on with it; see Damaged.
var ErrDamaged = errors.New("damaged data")

// Damaged reports whether an error of Open or Wait means that the data directory is damaged. The way
// out is to wipe it and let the node join its cluster again, as a new one, or for a single node to
// restore a backup.
func Damaged(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, cluster.ErrDamaged) || errors.Is(err, msgstore.ErrDamaged)
}
