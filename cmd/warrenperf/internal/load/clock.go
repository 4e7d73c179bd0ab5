package load

import "time"

var started = time.Now()

// now returns nanoseconds since 1970 that never go backwards within the process,
// so that the stamps of one process can be read by another on the same machine.
func now() int64 { return started.UnixNano() + int64(time.Since(started)) }
