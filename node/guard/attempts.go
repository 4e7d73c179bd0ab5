package guard

import (
	"cmp"
	"slices"
	"strings"
	"sync"
)

// maxSources is how many sources of logins are counted apart. What comes from others when so many are
// known is counted together, under no address and no name: somebody who makes up names must not fill memory.
const maxSources = 1000

// maxUser is how many bytes of a name are kept: whoever tries to log in may give any.
const maxUser = 255

// A Source is where logins come from. In a count by protocol only Protocol is set.
type Source struct {
	Protocol string `json:"protocol"`       // amqp091 or http
	Address  string `json:"remote_address"` // without the port
	User     string `json:"username"`
}

// Attempts are logins that were tried.
type Attempts struct {
	Source
	Succeeded uint64 `json:"auth_attempts_succeeded"`
	Failed    uint64 `json:"auth_attempts_failed"`
}

// An AttemptLog counts logins since the process started, or since Reset. The zero value is
// ready for use; its methods may be called from any goroutine.
type AttemptLog struct {
	mu      sync.Mutex
	total   map[Source]*Attempts // by protocol
	sources map[Source]*Attempts
}

// Note counts a login.
func (l *AttemptLog) Note(from Source, succeeded bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total == nil {
		l.total, l.sources = make(map[Source]*Attempts), make(map[Source]*Attempts)
	}
	if len(from.User) > maxUser {
		from.User = strings.Clone(strings.ToValidUTF8(from.User[:maxUser], ""))
	}
	if _, known := l.sources[from]; !known && len(l.sources) >= maxSources {
		from.Address, from.User = "", ""
	}
	note(l.total, Source{Protocol: from.Protocol}, succeeded)
	note(l.sources, from, succeeded)
}

func note(counts map[Source]*Attempts, from Source, succeeded bool) {
	a := counts[from]
	if a == nil {
		a = &Attempts{Source: from}
		counts[from] = a
	}
	if succeeded {
		a.Succeeded++
	} else {
		a.Failed++
	}
}

// Counts returns what was counted, by protocol or by source, sorted.
func (l *AttemptLog) Counts(bySource bool) []Attempts {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.total
	if bySource {
		from = l.sources
	}
	all := make([]Attempts, 0, len(from))
	for _, a := range from {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b Attempts) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Address, b.Address), cmp.Compare(a.User, b.User))
	})
	return all
}

// Reset begins to count anew.
func (l *AttemptLog) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total, l.sources = nil, nil
}
