package fsm

import (
	"math/bits"

	"warren/fsm/command"
)

// Hash returns a rolling hash over the index, verdict, results and effects of
// all entries applied. Two machines that saw the same log have the same hash; one that
// has gone its own way has another one from then on. It is part of the snapshot.
func (m *Machine) Hash() uint64 { return m.hash }

// mix folds a value into a hash: a multiplication by an odd constant spreads the
// low bits, a rotation brings the high ones back.
func mix(h, v uint64) uint64 {
	return bits.RotateLeft64((h^v)*0x9e3779b97f4a7c15, 29)
}

func (m *Machine) foldHash(out *Output) {
	h := mix(m.hash, m.index)
	h = mix(h, uint64(out.Verdict))
	for i := range out.Results {
		h = foldResult(h, &out.Results[i])
	}
	for i := range out.Effects {
		h = foldEffect(h, &out.Effects[i])
	}
	m.hash = h
}

func foldResult(h uint64, r *command.Result) uint64 {
	v := uint64(r.Kind)
	if r.Err != nil {
		v |= uint64(r.Err.Code)<<8 | uint64(len(r.Err.Text))<<32
	}
	if r.Unroutable {
		v |= 1 << 24
	}
	if r.Message != nil {
		v |= 1 << 25
	}
	if r.Rejected {
		v |= 1 << 26
	}
	h = mix(h, v)
	if r.Ordinal != 0 || r.Messages != 0 || r.Consumers != 0 {
		h = mix(h, r.Ordinal)
		h = mix(h, uint64(r.Messages)<<32|uint64(r.Consumers))
	}
	if r.Next != 0 || r.Kept != 0 {
		h = mix(h, r.Next)
		h = mix(h, uint64(r.Kept))
	}
	return h
}

func foldEffect(h uint64, e *command.Effect) uint64 {
	h = mix(h, uint64(e.Kind)|uint64(e.Command)<<8|uint64(e.To.Number)<<48)
	h = mix(h, e.To.Epoch^bits.RotateLeft64(e.To.Conn, 32))
	v := e.Ordinal << 1
	if e.Redelivered {
		v |= 1
	}
	return mix(h, v^uint64(e.Size)<<40)
}
