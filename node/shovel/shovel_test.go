package shovel

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestParse(t *testing.T) {
	s, err := Parse("v", "s", []byte(`{"src-uri":"amqp://a","src-queue":"q","src-queue-args":{"x-max-length":5,"x-a":[1.5,"t"]},
		"src-prefetch-count":7,"src-delete-after":"queue-length","reconnect-delay":0.5,"src-predeclared":true,
		"dest-uri":["amqp://b","amqps://c"],"dest-exchange":"","dest-exchange-key":"k","ack-mode":"on-publish",
		"add-forward-headers":false,"dest-add-forward-headers":true,"publish-properties":{"delivery_mode":2,"type":"a"},"dest-publish-properties":{"type":"b"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Source.Prefetch != 7 || s.Source.DeleteAfter != QueueLength || s.ReconnectDelay != 500*time.Millisecond || !s.Source.Predeclared ||
		s.Source.QueueArgs["x-max-length"] != int64(5) || len(s.Destination.URIs) != 2 || s.Destination.Exchange == nil || *s.Destination.Key != "k" ||
		s.AckMode != OnPublish || !s.Destination.ForwardHeaders || s.Destination.TimestampHead {
		t.Errorf("parsed %+v", s)
	}
	if args, ok := s.Source.QueueArgs["x-a"].([]any); !ok || args[0] != 1.5 || args[1] != "t" {
		t.Errorf("x-a is %v", s.Source.QueueArgs["x-a"])
	}
	var m amqp.Publishing
	s.Destination.Properties.apply(&m)
	if m.DeliveryMode != 2 || m.Type != "b" {
		t.Errorf("properties %+v", m)
	}
	s, err = Parse("v", "s", []byte(`{"src-uri":"amqp://","src-exchange":"x","dest-uri":"amqp://","prefetch-count":0,"src-queue-args":[],"publish-properties":[]}`))
	if err != nil || s.AckMode != OnConfirm || s.Source.Prefetch != 65535 || s.Source.DeleteAfter != Never || s.ReconnectDelay != DefaultReconnectDelay ||
		s.Source.Protocol != "amqp091" || s.Destination.Exchange != nil {
		t.Errorf("parsed %+v, %v", s, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{
		``, `5`, `[]`, `{}`, `{"src-uri":5}`, `{"src-uri":"amqp://u:secret@h","dest-uri":"amqp://u:secret@h"}`,
		`{"src-uri":"amqp://u:secret@h","src-queue":"q","dest-uri":[]}`,
		`{"src-uri":"amqp://u:secret@h","src-queue":"q","src-exchange":"x","dest-uri":"amqp://"}`,
		`{"src-uri":"amqp://u:secret@h","src-queue":"q","dest-queue":"r","dest-exchange":"x","dest-uri":"amqp://"}`,
		`{"src-uri":"amqp://u:secret@h","src-queue":"q","dest-uri":"amqp://","delete-after":"soon"}`,
		`{"src-uri":"amqp://u:secret@h","src-queue":"q","dest-uri":"amqp://","src-delete-after":-1}`,
		`{"src-uri":"amqp://u:secret@h","src-queue":"q","dest-uri":"amqp://","ack-mode":"later"}`,
		`{"src-uri":"amqp://u:secret@h","src-queue":"q","dest-uri":"amqp://","prefetch-count":"x"}`,
		`{"src-uri":"amqp://u:secret@h","src-protocol":"amqp10","src-address":"/q","dest-uri":"amqp://"}`,
	} {
		s, err := Parse("/", "s", []byte(bad))
		if err == nil {
			t.Errorf("%s is taken: %+v", bad, s)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", bad, err)
		}
	}
}

func TestURIs(t *testing.T) {
	for _, c := range []struct {
		uri, protocol, redacted, vhost string
		inside, trusted                bool
	}{
		{"amqp://", "amqp091", "amqp://", "/", true, true},
		{"amqp:///v", "amqp091", "amqp:///v", "v", true, true},
		{"amqp:///%2f", "amqp091", "amqp:///%2f", "/", true, true},
		{"amqp://u:secret@/v", "amqp091", "amqp:///v", "v", true, false},
		{"amqp://u:secret@h:5/v?heartbeat=5", "amqp091", "amqp://h:5/v", "v", false, false},
		{"amqps://u:secret@h/v?keyfile=/k&password=secret#secret", "amqp091", "amqps://h/v", "v", false, false},
		{"amqp:u:secret@h", "amqp091", "amqp://", "/", true, true},
		{"amqp://h/v", "local", "amqp://h/v", "v", true, true},
		{"amqp://u:secret@h/v", "local", "amqp://h/v", "v", true, false},
		{"amqp://u:sec ret@h", "local", "", "", false, false},
	} {
		vhost, inside, trusted := Inside(c.uri, c.protocol)
		if vhost != c.vhost || inside != c.inside || trusted != c.trusted {
			t.Errorf("%s, %s: vhost %q, inside %v, trusted %v", c.uri, c.protocol, vhost, inside, trusted)
		}
		if got := Redact(c.uri); got != c.redacted {
			t.Errorf("%s is shown as %q, want %q", c.uri, got, c.redacted)
		}
	}
}

// FuzzParse wants every parameter that is taken to name two sides, and no error to quote a value.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"src-uri":"amqp://","src-queue":"q","dest-uri":["amqp://h"],"dest-exchange":"x","src-delete-after":5}`))
	f.Add([]byte(`{"src-uri":"amqp://u:p@h","src-exchange":"x","dest-uri":"amqps://h","publish-properties":{"timestamp":1},"reconnect-delay":1e300,"prefetch-count":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse("/", "s", b)
		if err != nil {
			return
		}
		if len(s.Source.URIs) == 0 || len(s.Destination.URIs) == 0 || s.Source.Prefetch < 1 || s.Source.Prefetch > 65535 || s.ReconnectDelay < 0 {
			t.Errorf("%s gives %+v", b, s)
		}
		var m amqp.Publishing
		s.Destination.Properties.apply(&m)
		if !json.Valid(b) {
			t.Errorf("%q is taken", b)
		}
	})
}

// FuzzURIs wants what is shown of a URI to have nothing of its user, password and query, and what is checked of one to be what is
// done with it: one that nobody logs in with leads nowhere but inside.
func FuzzURIs(f *testing.F) {
	for _, uri := range []string{"amqp://", "amqp:///%2f", "amqps://u:secret@h:5671/v?password=secret#secret", "amqp:u:secret@h", "amqp://:5672/v", "amqp://[::1]:5/", "amqp://@/"} {
		f.Add(uri, true)
	}
	f.Fuzz(func(t *testing.T, uri string, local bool) {
		protocol := "amqp091"
		if local {
			protocol = "local"
		}
		vhost, inside, trusted := Inside(uri, protocol)
		if trusted && !inside {
			t.Errorf("%q is trusted, and leads outside", uri)
		}
		shown := Redact(uri)
		u, err := url.Parse(uri)
		if err != nil {
			if shown != "" {
				t.Errorf("%q is shown as %q", uri, shown)
			}
			return
		}
		again, err := url.Parse(shown)
		if err == nil && (again.User != nil || again.RawQuery != "" || again.Fragment != "") {
			t.Errorf("%q is shown as %q", uri, shown)
		}
		if inside && !local && u.Host != "" {
			t.Errorf("%q leads to %q, and is taken for inside", uri, u.Host)
		}
		if p, err := amqp.ParseURI(uri); err == nil && p.Vhost != vhost {
			t.Errorf("%q: vhost %q is checked, %q is used", uri, vhost, p.Vhost)
		}
	})
}
