// Package faultdisk gives a server a disk that a test can make slow, full, or fail: a directory that is mounted
// (FUSE) and whose files are in another one. Everything that processes do with it goes through the process of the test,
// which lets each operation through, has it wait, or answers it with an error. So the server is the
// shipped one, and a fault begins and ends at a moment of the test's choice. Device mapper's targets,
// which do the same, are missing in many kernels of virtual machines.
//
// What a kernel keeps of a file in memory it reads from there; so that reading fails when it is meant to,
// files are opened for direct I/O. Those whose names end with .db are not: bbolt maps them into memory.
//
// It needs root and /dev/fuse.
package faultdisk
