// Package bench holds what "make bench" runs besides warrenperf: bench.sh, and a
// benchmark of the ceiling that Raft and the disk set for any broker on top.
package bench
