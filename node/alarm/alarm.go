// Package alarm watches what a node may run out of, memory and disk, and knows
// which nodes of the cluster have run low, as RabbitMQ has it
// (https://www.rabbitmq.com/docs/alarms): while any node has an alarm raised,
// publishers on all nodes are blocked.
//
// A Monitor measures its own node and raises and clears its alarms; a Board
// gathers the alarms of all nodes. Neither blocks anybody nor talks to other
// nodes: that is the matter of package node.
package alarm

import "strings"

// A Set is a set of alarms. The bits are part of the protocol between nodes.
type Set uint8

// The alarms.
const (
	Memory Set = 1 << iota // more memory is used than the watermark allows
	Disk                   // less disk is free than the limit asks for
)

// Names of the resources, as RabbitMQ's HTTP API and connection.blocked have them.
const (
	memoryName = "memory"
	diskName   = "disk"
)

// Resources names the resources that have run low: "memory", "disk".
func (s Set) Resources() []string {
	names := []string{}
	if s&Memory != 0 {
		names = append(names, memoryName)
	}
	if s&Disk != 0 {
		names = append(names, diskName)
	}
	return names
}

// Reason is what connection.blocked says of the alarms: "low on memory",
// "low on disk", "low on memory & disk" (rabbit_reader: blocked_by_message),
// or nothing when there is none.
func (s Set) Reason() string {
	if s == 0 {
		return ""
	}
	return "low on " + strings.Join(s.Resources(), " & ")
}

// A State is what a node measured last, and what it made of it. All sizes are in
// bytes; a limit of 0 means that there is none.
type State struct {
	MemoryUsed, MemoryLimit int64
	DiskFree, DiskLimit     int64
	Raised                  Set
}
