package cluster

// sizes remembers how many bytes the newest entries of the log have, in a ring of
// trailingEntries.
type sizes struct {
	first, end uint64 // indexes known: [first, end); none when equal
	ring       []uint32
}

func (s *sizes) slot(index uint64) *uint32 { return &s.ring[index%trailingEntries] }

// append takes in the newest entry. A gap before it forgets the older ones.
func (s *sizes) append(index uint64, bytes int) {
	if s.ring == nil {
		s.ring = make([]uint32, trailingEntries)
	}
	if s.first == s.end || index != s.end {
		s.first = index
	}
	*s.slot(index) = uint32(bytes)
	s.end = index + 1
	s.first = max(s.first, s.end-min(s.end, trailingEntries))
}

// prepend takes in the entry before the oldest that is known, or the first one.
// What does not fit there is not remembered.
func (s *sizes) prepend(index uint64, bytes int) {
	switch {
	case s.first == s.end:
		s.append(index, bytes)
	case index+1 == s.first && s.end-index <= trailingEntries:
		*s.slot(index) = uint32(bytes)
		s.first = index
	}
}

func (s *sizes) at(index uint64) (bytes int, known bool) {
	if index < s.first || index >= s.end {
		return 0, false
	}
	return int(*s.slot(index)), true
}

// delete forgets what was deleted from the head or from the tail.
func (s *sizes) delete(lo, hi uint64) {
	if lo < s.end && hi+1 >= s.end {
		s.end = max(lo, s.first)
	} else if hi >= s.first {
		s.first = min(hi+1, s.end)
	}
}
