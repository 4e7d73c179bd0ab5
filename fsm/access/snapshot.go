package access

import "warren/fsm/internal/stream"

// Write writes the state for a snapshot: equal states give equal bytes.
func (s *State) Write(w *stream.Writer) {
	w.Uint(s.revision)
	w.Byte(flag(s.begun))
	w.Uint(uint64(len(s.users)))
	for _, name := range s.names() {
		s.users[name].write(w)
	}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (a *account) write(w *stream.Writer) {
	w.String(a.Name)
	w.Uint(a.ID)
	w.String(a.Hash)
	w.String(a.Algorithm)
	w.Uint(uint64(len(a.Tags)))
	for _, t := range a.Tags {
		w.String(t)
	}
	w.Uint(uint64(len(a.permissions)))
	for _, vhost := range a.vhosts() {
		p := a.permissions[vhost]
		w.String(p.VHost)
		w.String(p.Configure)
		w.String(p.Write)
		w.String(p.Read)
	}
	w.Uint(uint64(len(a.topics)))
	for _, t := range a.sortedTopics() {
		p := a.topics[t]
		w.String(p.VHost)
		w.String(p.Exchange)
		w.String(p.Write)
		w.String(p.Read)
	}
}

// Restore reads what Write wrote. The reader has the error.
func Restore(r *stream.Reader) *State {
	s := New()
	s.revision, s.begun = r.Uint(), r.Flags(1) == 1
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		s.readUser(r)
	}
	return s
}

func (s *State) readUser(r *stream.Reader) {
	name := r.String()
	if s.users[name] != nil || name == "" && r.Err() == nil {
		r.Fail("user %q comes twice or has no name", name)
		return
	}
	a := s.add(name)
	a.ID, a.Hash, a.Algorithm = r.Bounded(s.revision), r.String(), r.String()
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		a.Tags = append(a.Tags, r.String())
	}
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		p := Permission{User: name, VHost: r.String(), Configure: r.String(), Write: r.String(), Read: r.String()}
		a.permissions[p.VHost] = p
	}
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		p := TopicPermission{User: name, VHost: r.String(), Exchange: r.String(), Write: r.String(), Read: r.String()}
		a.topics[topic{p.VHost, p.Exchange}] = p
	}
}
