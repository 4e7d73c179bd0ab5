package guard

import (
	"fmt"
	"strings"
	"testing"
)

func TestAttempts(t *testing.T) {
	var l AttemptLog
	alice := Source{"amqp091", "10.0.0.1", "alice"}
	l.Note(alice, true)
	l.Note(alice, false)
	l.Note(Source{"http", "10.0.0.1", "alice"}, false)
	if got := fmt.Sprint(l.Counts(false)); got != "[{{amqp091  } 1 1} {{http  } 0 1}]" {
		t.Errorf("by protocol: %s", got)
	}
	if got := fmt.Sprint(l.Counts(true)); got != "[{{amqp091 10.0.0.1 alice} 1 1} {{http 10.0.0.1 alice} 0 1}]" {
		t.Errorf("by source: %s", got)
	}
	l.Reset()
	if len(l.Counts(false))+len(l.Counts(true)) != 0 {
		t.Error("counts are left after a reset")
	}
}

// TestAttemptsAreBounded checks that names that somebody makes up don't fill memory, and that who is
// known stays known.
func TestAttemptsAreBounded(t *testing.T) {
	var l AttemptLog
	alice := Source{"amqp091", "10.0.0.1", "alice"}
	l.Note(alice, true)
	for i := range 3 * maxSources {
		l.Note(Source{"amqp091", "10.0.0.2", fmt.Sprint("user", i)}, false)
	}
	l.Note(alice, true)
	all := l.Counts(true)
	if len(all) > maxSources+1 {
		t.Errorf("%d sources", len(all))
	}
	sum := uint64(0)
	for _, a := range all {
		sum += a.Failed
		if a.Source == alice && a.Succeeded != 2 {
			t.Errorf("%+v", a)
		}
	}
	if sum != 3*maxSources {
		t.Errorf("%d failures are counted", sum)
	}
}

// TestAttemptNames keeps no more of a name than there may be of it.
func TestAttemptNames(t *testing.T) {
	var l AttemptLog
	for range 2 {
		l.Note(Source{Protocol: "http", Address: "a", User: strings.Repeat("ä", 1<<20)}, false)
	}
	if all := l.Counts(true); len(all) != 1 || all[0].Failed != 2 || len(all[0].User) != maxUser-1 {
		t.Errorf("%d sources, one of a name of %d bytes", len(all), len(all[0].User))
	}
}
