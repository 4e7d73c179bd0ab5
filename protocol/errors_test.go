package protocol

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestErrorClasses(t *testing.T) {
	hard := []uint16{320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541}
	soft := []uint16{311, 312, 313, 403, 404, 405, 406}
	for _, code := range hard {
		e := Errorf(code, IDQueueDeclare, "x")
		if m, ok := e.Close().(*ConnectionClose); !e.Connection() || !ok || m.ReplyCode != code || m.ClassID != 50 || m.MethodID != 10 {
			t.Errorf("%d closes the channel: %+v", code, e.Close())
		}
	}
	for _, code := range soft {
		e := Errorf(code, IDQueueDeclare, "x")
		if m, ok := e.Close().(*ChannelClose); e.Connection() || !ok || m.ReplyCode != code || m.ClassID != 50 || m.MethodID != 10 {
			t.Errorf("%d closes the connection: %+v", code, e.Close())
		}
	}
	if !(&Error{Code: 999}).Connection() {
		t.Error("an unknown code closes the channel only")
	}
}

func TestErrorText(t *testing.T) {
	for _, tt := range []struct {
		e    *Error
		want string
	}{
		{Errorf(404, 0, "no queue '%s' in vhost '/'", "q"), "NOT_FOUND - no queue 'q' in vhost '/'"},
		{Errorf(406, 0, "x"), "PRECONDITION_FAILED - x"},
		{Errorf(320, 0, "x"), "CONNECTION_FORCED - x"},
		{&Error{Code: 541}, "INTERNAL_ERROR"},
		{&Error{Code: 999, Text: "x"}, "INTERNAL_ERROR - x"},
	} {
		if got := tt.e.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if got := tt.e.ReplyText(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if CodeName(0) != "" || CodeName(312) != "NO_ROUTE" || CodeName(200) != "REPLY_SUCCESS" {
		t.Error("wrong names")
	}
}

func TestReplyTextIsCut(t *testing.T) {
	const prefix = "NOT_FOUND - "
	exact := Errorf(NotFound, 0, "%s", strings.Repeat("x", 255-len(prefix)))
	if got := exact.ReplyText(); len(got) != 255 || strings.HasSuffix(got, "...") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	long := Errorf(NotFound, 0, "%s", strings.Repeat("x", 256-len(prefix)))
	if got := long.ReplyText(); len(got) != 255 || !strings.HasSuffix(got, "x...") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	for pad := range 4 {
		e := Errorf(NotFound, 0, "%s%s", strings.Repeat("x", pad), strings.Repeat("€", 100))
		got := e.ReplyText()
		if len(got) > 255 || len(got) < 252 || !utf8.ValidString(got) || !strings.HasSuffix(got, "€...") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}

func TestUnexpectedFrameError(t *testing.T) {
	e := UnexpectedFrameError(Frame{Type: FrameBody, Payload: []byte("0123456789abcdefXYZ")})
	check(t, e, UnexpectedFrame,
		"UNEXPECTED_FRAME - type 3, first 16 octets = <<\"0123456789abcdef\">>")
}
