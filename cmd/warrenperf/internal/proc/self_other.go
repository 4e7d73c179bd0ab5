//go:build !unix

package proc

import "time"

// Self returns 0: the processor time is not known on this system.
func Self() time.Duration { return 0 }
