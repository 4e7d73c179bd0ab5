package clients

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// body makes the body of a message: its number, and a filling whose length and content follow from it, so that
// whoever gets it sees whether it is whole.
func (s Scale) body(message uint64) []byte {
	b := strconv.AppendUint(nil, message, 10)
	b = append(b, ' ')
	return append(b, s.filling(message)...)
}

func (s Scale) filling(message uint64) []byte {
	mixed := message * 0x9e3779b97f4a7c15
	size := int(mixed>>54) % s.Body
	if mixed&0xff == 0 {
		size *= s.Large
	}
	return bytes.Repeat([]byte{byte('a' + mixed>>32%26)}, size)
}

// numberOf reads a body, and says what is wrong with it.
func (s Scale) numberOf(b []byte) (uint64, error) {
	text, rest, ok := strings.Cut(string(b), " ")
	number, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("a body of %d bytes that nobody sent: %.40q", len(b), b)
	}
	if rest != string(s.filling(number)) {
		return number, fmt.Errorf("the body of message %d is not as it was sent (%d bytes)", number, len(b))
	}
	return number, nil
}
