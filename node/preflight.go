package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"warren/cluster"
	"warren/node/alarm"
	"warren/node/certs"
)

// What can be looked at before a node runs, or beside one, for `warren doctor`.

// VerifyIdentity reads the small files by which a node knows who it is and which cluster it belongs to, as far as they are there.
// The node may run. See Verify for all files.
func VerifyIdentity(dir string, report func(Finding)) {
	path := filepath.Join(dir, nodeIDFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return // nothing is there yet
	}
	_, err := readIdentity(dir)
	report(Finding{Path: path, Err: err})
	cluster.VerifyFormation(filepath.Join(dir, clusterDir), func(f cluster.Finding) { report(Finding(f)) })
}

// MemoryAvailable is how many bytes of memory a node may use here: of the machine, or the container. 0: nobody knows.
func MemoryAvailable() int64 { return alarm.Available(os.DirFS("/")) }

// DiskFree is how many bytes may be written below a directory.
func DiskFree(dir string) (int64, error) { return alarm.DiskFree(dir) }

// CertificateExpiry reads certificates as a node would and returns when the first of them ends.
func CertificateExpiry(c TLS) (time.Time, error) {
	store, err := certs.Open(c)
	if err != nil {
		return time.Time{}, err
	}
	own, authorities := store.Expiry()
	var first time.Time
	for _, t := range append(own, authorities...) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first, nil
}

// ErrSecret is the error of Knock when the other node knows another cluster secret, or one of the two has none.
var ErrSecret = cluster.ErrSecret

// knockTimeout bounds Knock.
const knockTimeout = 3 * time.Second

// Knock greets the node at an address of the cluster's port, without taking part. t is used when nodes speak TLS, else nil.
func Knock(ctx context.Context, addr string, secrets []string, t *TLS) error {
	if t == nil {
		_, err := cluster.Knock(ctx, addr, secrets, nil, knockTimeout)
		return err
	}
	store, err := certs.Open(*t)
	if err != nil {
		return err
	}
	_, dial := store.Peers()
	_, err = cluster.Knock(ctx, addr, secrets, dial, knockTimeout)
	return err
}
