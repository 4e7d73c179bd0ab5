package main

import (
	"fmt"
	"io"
	"time"
)

// progressEvery is the time between two lines of progress.
const progressEvery = 5 * time.Second

// progress tells now and then how far long work is.
type progress struct {
	w    io.Writer
	next time.Time
}

// progress begins to tell of something, unless --quiet or --silent wants none.
func (o *options) progress() *progress {
	w := o.errs
	if o.quiet || o.silent {
		w = io.Discard
	}
	return &progress{w, time.Now().Add(progressEvery)}
}

// tell writes a line if none has been written for a while.
func (p *progress) tell(format string, args ...any) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(progressEvery)
		fmt.Fprintf(p.w, format+"\n", args...)
	}
}
