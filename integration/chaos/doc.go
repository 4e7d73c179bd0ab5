// Package chaos runs clusters of real node processes, each in a network namespace of
// its own, lets faults happen to them under load, and judges what clients saw by their
// history: docs/guarantees.md says what is promised, and which check holds it.
//
// A run is a number of rounds on one cluster. A round starts all workloads on new queues, lets the faults
// of its plan happen, mends everything, waits until all is quiet, and checks. The plan
// follows from the seed and the number of the round alone, so one round can be had again.
// What happens exactly when does not: the processes and the network are real.
//
// The namespaces need root, ip and iptables (Debian: iproute2, iptables), the disks /dev/fuse. Runs of ten minutes and more also
// begin clusters with the server of the version before, and upgrade them. Variables that change a run:
//
//	CHAOS_SEED    the seed; else it is drawn, and printed
//	CHAOS_TIME    how long to go on, as 30s or 2h; else a short run
//	CHAOS_ROUND   only this round, from 1
//	CHAOS_NODES   3 or 5; else both in turn
//	CHAOS_FAULTS  names of faults, separated by commas, to choose from; else all
//	CHAOS_BEFORE  a server of another version, with which every cluster begins
//	CHAOS_SLOW    how many times as long clients, nodes and checks wait for something, on a machine that is busy; else 1
//	CHAOS_DIR     where logs, data and histories go; else a temporary directory, which is kept
//	              after a failure only
//
// The package is for Linux.
package chaos
