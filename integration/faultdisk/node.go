//go:build linux

package faultdisk

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A node is a file or directory of a disk.
type node struct {
	*fs.LoopbackNode
	disk *Disk
}

// WrapChild makes a node of what the library finds below.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: child.(*fs.LoopbackNode), disk: n.disk}
}

// below is the path of the node, or of a name in it, as Trouble.Only wants it.
func (n *node) below(name string) string { return filepath.Join(n.Path(n.Root()), name) }

// Open opens a file, so that each read of it comes here.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		if errno := n.disk.meet(write, n.below("")); errno != 0 {
			return nil, 0, errno
		}
	}
	f, more, errno := n.LoopbackNode.Open(ctx, flags)
	return f, more | direct(n.below("")), errno
}

// Create makes a file.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.disk.meet(grow, n.below(name)); errno != 0 {
		return nil, nil, 0, errno
	}
	inode, f, more, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, f, more | direct(name), errno
}

// direct are the flags for an open file: nothing of it is to be kept by the kernel, unless it is mapped into memory.
func direct(name string) uint32 {
	if strings.HasSuffix(name, ".db") {
		return 0
	}
	return fuse.FOPEN_DIRECT_IO
}

// Read reads from an open file.
func (n *node) Read(ctx context.Context, f fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := n.disk.meet(read, n.below("")); errno != 0 {
		return nil, errno
	}
	return f.(fs.FileReader).Read(ctx, dest, off)
}

// Write writes to an open file.
func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	return n.Writev(ctx, f, [][]byte{data}, off)
}

// Writev is Write of data in several pieces.
func (n *node) Writev(ctx context.Context, f fs.FileHandle, data [][]byte, off int64) (uint32, syscall.Errno) {
	end := off
	for _, d := range data {
		end += int64(len(d))
	}
	need := write
	if end > room(ctx, f) {
		need = grow
	}
	if errno := n.disk.meet(need, n.below("")); errno != 0 {
		return 0, errno
	}
	return f.(fs.FileWritever).Writev(ctx, data, off)
}

// room is how much of a file has a place on the disk.
func room(ctx context.Context, f fs.FileHandle) int64 {
	const block = 512 // of st_blocks, whatever the file system's own is
	var out fuse.AttrOut
	if errno := f.(fs.FileGetattrer).Getattr(ctx, &out); errno != 0 {
		return 0
	}
	return int64(out.Blocks) * block
}

// Allocate takes room for an open file.
func (n *node) Allocate(ctx context.Context, f fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	if errno := n.disk.meet(grow, n.below("")); errno != 0 {
		return errno
	}
	return f.(fs.FileAllocater).Allocate(ctx, off, size, mode)
}

// Fsync syncs an open file.
func (n *node) Fsync(ctx context.Context, f fs.FileHandle, flags uint32) syscall.Errno {
	if errno := n.disk.meet(sync, n.below("")); errno != 0 {
		return errno
	}
	return f.(fs.FileFsyncer).Fsync(ctx, flags)
}

// OpendirHandle opens a directory.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, more, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &directory{f.(openDirectory), n}, more, 0
}

// A directory is one that is open.
type directory struct {
	openDirectory
	node *node
}

type openDirectory interface {
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
	fs.FileFsyncdirer
}

// Fsyncdir syncs it.
func (d *directory) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if errno := d.node.disk.meet(sync, d.node.below("")); errno != 0 {
		return errno
	}
	return d.openDirectory.Fsyncdir(ctx, flags)
}

// Setattr changes a file's size, mode, times.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.disk.meet(write, n.below("")); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.disk.meet(grow, n.below(name)); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

// Rmdir removes a directory.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.disk.meet(write, n.below(name)); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

// Unlink removes a file.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.disk.meet(write, n.below(name)); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

// Rename moves a file or directory.
func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.disk.meet(write, n.below(name)); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
}

// Statfs tells how much room there is.
func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	errno := n.LoopbackNode.Statfs(ctx, out)
	if n.disk.full() {
		out.Bfree, out.Bavail = 0, 0
	}
	return errno
}
