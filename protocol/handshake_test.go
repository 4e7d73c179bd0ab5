package protocol

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"warren/protocol/wire"
)

func TestReadProtocolHeader(t *testing.T) {
	for _, h := range []string{"AMQP\x00\x00\x09\x01", "AMQP\x01\x01\x00\x09"} {
		r := NewReader(iotest.OneByteReader(strings.NewReader(h + string(AppendHeartbeat(nil)))))
		if err := r.ReadProtocolHeader(); err != nil {
			t.Errorf("%q: %v", h, err)
		}
		if f, err := r.ReadFrame(); err != nil || f.Type != FrameHeartbeat {
			t.Errorf("%q: the frame behind: %+v, %v", h, f, err)
		}
	}
}

func TestReadProtocolHeaderRefuses(t *testing.T) {
	for header, guess := range map[string]string{
		"AMQP\x00\x00\x08\x00":             GuessAMQP,
		"AMQP\x00\x00\x09\x00":             GuessAMQP,
		"AMQP\x00\x01\x00\x00":             GuessAMQP10,
		"AMQP\x03\x01\x00\x00":             GuessAMQP10,
		"GET / HTTP/1.1\r\n":               GuessHTTP,
		"PRI * HTTP/2.0\r\n":               GuessHTTP,
		"\x16\x03\x01\x02\x00\x01\x00\x01": GuessTLS,
		"\x16\x03\x03\x02\x00\x02\x00\x01": GuessNothing,
		"hello, world":                     GuessNothing,
		"amqp\x00\x00\x09\x01":             GuessNothing,
	} {
		r := NewReader(strings.NewReader(header))
		err := r.ReadProtocolHeader()
		var e *HeaderError
		if !errors.As(err, &e) || e.Guess != guess || string(e.Header[:]) != header[:8] {
			t.Errorf("%q: %v", header, err)
			continue
		}
		if !strings.Contains(e.Error(), guess) {
			t.Errorf("%q: %v", header, e)
		}
		if _, again := r.ReadFrame(); again != err {
			t.Errorf("%q: ReadFrame behind it: %v", header, again)
		}
	}
	if err := NewReader(strings.NewReader("")).ReadProtocolHeader(); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
	if err := NewReader(strings.NewReader("AMQP\x00\x00\x09")).ReadProtocolHeader(); err != io.ErrUnexpectedEOF {
		t.Errorf("seven bytes: %v", err)
	}
}

func TestParsePlain(t *testing.T) {
	for _, tt := range []struct {
		response, user, password string
		ok                       bool
	}{
		{"\x00guest\x00secret", "guest", "secret", true},
		{"\x00guest\x00", "guest", "", true},
		{"\x00\x00", "", "", true},
		{"\x00ü\x00\xff", "ü", "\xff", true},
		{"", "", "", false},
		{"\x00", "", "", false},
		{"\x00guest", "", "", false},
		{"guest\x00secret", "", "", false},
		{"id\x00guest\x00secret", "", "", false}, // RabbitMQ takes no authorization identity
		{"\x00guest\x00secret\x00", "", "", false},
	} {
		user, password, err := ParsePlain(tt.response)
		if user != tt.user || password != tt.password || (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrPlain) {
			t.Errorf("%q: %q, %q, %v", tt.response, user, password, err)
		}
	}
	if got := PlainResponse("guest", "secret"); got != "\x00guest\x00secret" {
		t.Errorf("PlainResponse = %q", got)
	}
}

func TestParseAMQPlain(t *testing.T) {
	response := func(table wire.Table) string { return string(wire.AppendTable(nil, table)[4:]) }
	// as old Python clients send it
	user, password, err := ParseAMQPlain("\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x06secret")
	if user != "guest" || password != "secret" || err != nil {
		t.Errorf("%q, %q, %v", user, password, err)
	}
	for name, tt := range map[string]struct {
		response string
		want     error
	}{
		"empty":       {"", ErrNoLogin},
		"no password": {response(wire.Table{{Name: "LOGIN", Value: "u"}}), ErrNoLogin},
		"a number":    {response(wire.Table{{Name: "LOGIN", Value: "u"}, {Name: "PASSWORD", Value: int32(1)}}), ErrLoginType},
		"with length": {"\x00\x00\x00\x0a" + response(wire.Table{{Name: "LOGIN", Value: ""}}), ErrAMQPlain},
		"cut short":   {"\x05LOGINS\x00\x00\x00\x05gue", ErrAMQPlain},
	} {
		user, password, err := ParseAMQPlain(tt.response)
		if user != "" || password != "" || !errors.Is(err, tt.want) {
			t.Errorf("%s: %q, %q, %v", name, user, password, err)
		}
	}
}

func FuzzSASL(f *testing.F) {
	f.Add("\x00guest\x00guest")
	f.Add("\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x06secret")
	f.Fuzz(func(t *testing.T, response string) {
		if user, password, err := ParsePlain(response); err == nil && PlainResponse(user, password) != response {
			t.Errorf("%q read as %q, %q", response, user, password)
		}
		user, password, err := ParseAMQPlain(response)
		if err != nil && (user != "" || password != "") {
			t.Errorf("%q: %q, %q with %v", response, user, password, err)
		}
		if err == nil && (!strings.Contains(response, "LOGIN") || !strings.Contains(response, user) || !strings.Contains(response, password)) {
			t.Errorf("%q read as %q, %q", response, user, password)
		}
	})
}
