package cluster

// SetTrailingBytes changes how much log stays behind a snapshot, and returns what
// changes it back.
func SetTrailingBytes(n int) func() {
	old := trailingBytes
	trailingBytes = n
	return func() { trailingBytes = old }
}
