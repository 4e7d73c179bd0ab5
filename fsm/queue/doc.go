// Package queue holds queues, their consumers and the deliveries that channels
// have not settled yet, and gives messages to consumers.
//
// A Store is the frame for all queues of one state machine: it counts who holds
// a message, remembers which queues have something to hand out, and makes the
// memory of queues shareable with a capture, so that a snapshot of millions of
// messages stops nobody.
//
// A message gets a sequence number when it enters a queue and keeps it until it
// leaves, so one that comes back stands in its original place. Messages are
// kept in chunks of 1,024 slots; bitmaps tell which slots are filled, ready,
// and delivered before. A filled slot that is not ready is an unacknowledged
// message, and exactly one delivery of one channel refers to it.
//
// The package is part of the deterministic state machine: no clock, no random
// source, no goroutine, no order of a map. It knows neither exchanges nor names:
// package fsm finds queues and channels and decides what is allowed.
package queue
