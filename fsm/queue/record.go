package queue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"warren/fsm/command"
)

// recordBytes is about the most that one record holds, unless a single message
// is larger: what a node reads at once, and how much a load costs.
const recordBytes = 1 << 20

var errRecord = errors.New("damaged record of messages")

// A record is a sequence of messages: slot within the chunk, exchange, key,
// properties, body. Numbers are unsigned varints, and the four stand behind their length.

func appendMessage(b []byte, slot int, m *command.Message) []byte {
	b = binary.AppendUvarint(b, uint64(slot))
	b = binary.AppendUvarint(b, uint64(len(m.Exchange)))
	b = append(b, m.Exchange...)
	b = appendBytes(b, m.Key)
	b = appendBytes(b, m.Properties)
	return appendBytes(b, m.Body)
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// decodeRecord hands the messages of a record to f. m is f's during the call only,
// and its slices alias b.
func decodeRecord(b []byte, f func(slot int, m *command.Message)) error {
	var m command.Message
	before := -1
	for len(b) > 0 {
		n, k := binary.Uvarint(b)
		if k <= 0 || n >= chunkSize || int(n) <= before {
			return fmt.Errorf("%w: slot %d behind %d", errRecord, n, before)
		}
		before = int(n)
		var exchange []byte
		ok := true
		exchange, b = cut(b[k:], &ok)
		m.Key, b = cut(b, &ok)
		m.Properties, b = cut(b, &ok)
		m.Body, b = cut(b, &ok)
		if !ok {
			return fmt.Errorf("%w: message in slot %d is cut", errRecord, n)
		}
		if m.Exchange != string(exchange) {
			m.Exchange = string(exchange)
		}
		f(int(n), &m)
	}
	return nil
}

// cut takes a length and so many bytes off b. It clears ok when b is too short.
func cut(b []byte, ok *bool) (v, rest []byte) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		*ok = false
		return nil, nil
	}
	b = b[k:]
	if n == 0 {
		return nil, b
	}
	return b[:n:n], b[n:]
}
