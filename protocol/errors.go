package protocol

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxReplyText is the longest reply text, in bytes: a short string.
const maxReplyText = 255

// An Error ends a channel or a connection, in AMQP's terms. Its fields are those
// of channel.close and connection.close; Text is the explanation without the
// name of the code. ClassID and MethodID are 0 when no method is to blame.
type Error struct {
	Code     uint16
	Text     string
	ClassID  uint16
	MethodID uint16
}

// Errorf makes an Error with a formatted explanation. id is the method to blame,
// or 0.
func Errorf(code uint16, id ID, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...), ClassID: id.Class(), MethodID: id.Method()}
}

// Connection reports whether the error closes the connection: all codes but the
// soft errors of the specification (311, 312, 313, 403, 404, 405, 406) do.
func (e *Error) Connection() bool { return !softCode(e.Code) }

// Error returns RabbitMQ's reply text at full length: the code's name, " - ", the
// explanation. A code without a name counts as INTERNAL_ERROR, as in RabbitMQ.
func (e *Error) Error() string {
	name := CodeName(e.Code)
	if name == "" {
		name = CodeName(InternalError)
	}
	if e.Text == "" {
		return name
	}
	return name + " - " + e.Text
}

// ReplyText returns Error cut to what a close method can hold: a text of more
// than 255 bytes ends behind at most 252 bytes, never inside a character, in
// "..." (RabbitMQ: amqp_exception_explanation).
func (e *Error) ReplyText() string { return cutReplyText(e.Error()) }

func cutReplyText(s string) string {
	if len(s) <= maxReplyText {
		return s
	}
	end := maxReplyText - 3
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// Close returns the connection.close or channel.close that tells the peer.
func (e *Error) Close() Method {
	if e.Connection() {
		return &ConnectionClose{ReplyCode: e.Code, ReplyText: e.ReplyText(), ClassID: e.ClassID, MethodID: e.MethodID}
	}
	return &ChannelClose{ReplyCode: e.Code, ReplyText: e.ReplyText(), ClassID: e.ClassID, MethodID: e.MethodID}
}

// frameError is the 501 of a bad frame, in the words of rabbit_reader:frame_error.
func frameError(f Frame, what string) *Error {
	return Errorf(FrameError, 0, "type %d, %s: %s", f.Type, snippet(f.Payload), what)
}

// unknownFrame is the error of a frame whose type does not exist or whose payload
// cannot be of its type.
func unknownFrame(f Frame) *Error { return frameError(f, "unknown_frame") }

// UnexpectedFrameError is the 505 of a frame that may not come now, in the words of
// rabbit_reader:unexpected_frame.
func UnexpectedFrameError(f Frame) *Error {
	return Errorf(UnexpectedFrame, 0, "type %d, %s", f.Type, snippet(f.Payload))
}

// snippet describes a payload by its first bytes.
func snippet(payload []byte) string {
	const most = 16
	if len(payload) <= most {
		return "all octets = " + erlangTerm(payload)
	}
	return "first 16 octets = " + erlangTerm(payload[:most])
}

// erlangTerm writes bytes as Erlang prints a binary with ~p: as text when they are
// printable ASCII, else as erlangBytes does.
func erlangTerm(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return erlangBytes(b)
		}
	}
	if len(b) == 0 {
		return "<<>>"
	}
	return "<<" + strconv.Quote(string(b)) + ">>"
}

// erlangBytes writes bytes as Erlang prints a binary with ~w. More than would fit
// into a reply text is left out.
func erlangBytes(b []byte) string {
	if len(b) > maxReplyText {
		b = b[:maxReplyText]
	}
	var s strings.Builder
	s.WriteString("<<")
	for i, c := range b {
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteString(strconv.Itoa(int(c)))
	}
	s.WriteString(">>")
	return s.String()
}
