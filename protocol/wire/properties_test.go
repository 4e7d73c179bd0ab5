package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// all is a message with every property set.
var all = Properties{
	Present:         0xFFFC,
	ContentType:     "text/plain",
	ContentEncoding: "gzip",
	Headers:         Table{{"k", "v"}, {"n", int32(-1)}},
	DeliveryMode:    2,
	Priority:        9,
	CorrelationID:   "corr",
	ReplyTo:         "rq",
	Expiration:      "60000",
	MessageID:       "m1",
	Timestamp:       0x5f000000,
	Type:            "kind",
	UserID:          "guest",
	AppID:           "app",
	ClusterID:       "cl",
}

var goldenProperties = []struct {
	name  string
	bytes string
	p     Properties
}{
	{"none", "0000", Properties{}},
	{"delivery mode", "1000 02", Properties{Present: FlagDeliveryMode, DeliveryMode: 2}},
	{"a producer of the tutorial", "9000 0a 746578742f706c61696e 02", Properties{
		Present: FlagContentType | FlagDeliveryMode, ContentType: "text/plain", DeliveryMode: 2}},
	{"empty but present", "3080 00000000 00 00", Properties{
		Present: FlagHeaders | FlagDeliveryMode | FlagMessageID}},
	{"all", "fffc" +
		"0a 746578742f706c61696e" +
		"04 677a6970" +
		"0000000f 01 6b 53 00000001 76 01 6e 49 ffffffff" +
		"02 09" +
		"04 636f7272" +
		"02 7271" +
		"05 3630303030" +
		"02 6d31" +
		"000000005f000000" +
		"04 6b696e64" +
		"05 6775657374" +
		"03 617070" +
		"02 636c", all},
}

func TestPropertiesGolden(t *testing.T) {
	for _, tt := range goldenProperties {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.bytes)
			if got := AppendProperties([]byte("x"), &tt.p); !bytes.Equal(got[1:], want) {
				t.Errorf("AppendProperties = %x, want %x", got[1:], want)
			}
			if err := CheckProperties(want); err != nil {
				t.Errorf("CheckProperties: %v", err)
			}
			got, err := ParseProperties(want)
			if err != nil || !reflect.DeepEqual(got, tt.p) {
				t.Errorf("ParseProperties = %+v, %v, want %+v", got, err, tt.p)
			}
		})
	}
}

// RabbitMQ passes over the two lowest bits of the flags word: no second word is
// looked for.
func TestPropertiesReservedBits(t *testing.T) {
	for _, s := range []string{"1001 02", "1002 02", "1003 02"} {
		got, err := ParseProperties(unhex(t, s))
		if err != nil || got.Present != FlagDeliveryMode || got.DeliveryMode != 2 {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	if err := CheckProperties(unhex(t, "0001 0000")); !errors.Is(err, ErrTrailing) {
		t.Errorf("a second flags word: %v", err)
	}
	// and what is not a property is not written
	if got := AppendProperties(nil, &Properties{Present: 3}); !bytes.Equal(got, []byte{0, 0}) {
		t.Errorf("written as %x", got)
	}
}

func TestPropertiesMalformed(t *testing.T) {
	for _, tt := range []struct {
		name, bytes string
		want        error
	}{
		{"nothing", "", ErrTruncated},
		{"half the flags", "80", ErrTruncated},
		{"no content type", "8000", ErrTruncated},
		{"content type too long", "8000 02 61", ErrTruncated},
		{"no delivery mode", "1000", ErrTruncated},
		{"half a timestamp", "0040 00000000", ErrTruncated},
		{"half a table length", "2000 0000", ErrTruncated},
		{"table beyond the data", "2000 00000005 0161", ErrTruncated},
		{"bad table", "2000 00000003 01 61 5a", ErrType},
		{"trailing", "1000 02 00", ErrTrailing},
	} {
		b := unhex(t, tt.bytes)
		if err := CheckProperties(b); !errors.Is(err, tt.want) {
			t.Errorf("%s: CheckProperties: %v, want %v", tt.name, err, tt.want)
		}
		if _, err := ParseProperties(b); !errors.Is(err, tt.want) {
			t.Errorf("%s: ParseProperties: %v, want %v", tt.name, err, tt.want)
		}
	}
	deep := AppendProperties(nil, &Properties{Present: FlagHeaders, Headers: nested(MaxDepth + 1)})
	if err := CheckProperties(deep); !errors.Is(err, ErrDepth) {
		t.Errorf("deep headers: %v", err)
	}
}

func TestPeek(t *testing.T) {
	b := AppendProperties(nil, &all)
	if got := Headers(b); !reflect.DeepEqual(got, all.Headers) {
		t.Errorf("Headers = %v", got)
	}
	if got := DeliveryMode(b); got != 2 {
		t.Errorf("DeliveryMode = %d", got)
	}
	if got := Priority(b); got != 9 {
		t.Errorf("Priority = %d", got)
	}
	if got, ok := TimestampOf(b); got != all.Timestamp || !ok {
		t.Errorf("TimestampOf = %d, %v", got, ok)
	}
	for flag, want := range map[uint16]string{
		FlagContentType: "text/plain", FlagCorrelationID: "corr", FlagReplyTo: "rq",
		FlagExpiration: "60000", FlagUserID: "guest", FlagClusterID: "cl",
	} {
		if got, ok := ShortProperty(b, flag); string(got) != want || !ok {
			t.Errorf("ShortProperty(%#x) = %q, %v", flag, got, ok)
		}
	}
	if _, ok := ShortProperty(b, FlagHeaders); ok {
		t.Error("the headers are a string")
	}
	if v, ok := Header(b, "n"); v != int32(-1) || !ok {
		t.Errorf("Header = %v, %v", v, ok)
	}
	if _, ok := Header(b, "x"); ok {
		t.Error("a header that is not there")
	}
	none := []byte{0, 0}
	if _, ok := TimestampOf(none); ok || Headers(none) != nil || DeliveryMode(none) != 0 || Priority(none) != 0 {
		t.Error("properties of an empty list")
	}
	if _, ok := Header(none, "n"); ok {
		t.Error("a header of an empty list")
	}
	if _, ok := ShortProperty(none, FlagReplyTo); ok {
		t.Error("reply-to of an empty list")
	}
}

func TestAppendReplaced(t *testing.T) {
	for _, flag := range []uint16{FlagContentType, FlagCorrelationID, FlagReplyTo, FlagExpiration, FlagClusterID} {
		b := AppendProperties(nil, &all)
		for _, value := range []string{"", "x", strings.Repeat("y", 255)} {
			got := AppendReplaced([]byte("before"), b, flag, value)
			got, ok := bytes.CutPrefix(got, []byte("before"))
			if v, present := ShortProperty(got, flag); !ok || !present || string(v) != value {
				t.Errorf("%#x: %q, want %q", flag, v, value)
			}
			if err := CheckProperties(got); err != nil {
				t.Errorf("%#x: %v", flag, err)
			}
			old, _ := ShortProperty(b, flag)
			if back := AppendReplaced(nil, got, flag, string(old)); !bytes.Equal(back, b) {
				t.Errorf("%#x: % x is changed to % x", flag, b, back)
			}
		}
	}
	for _, flag := range []uint16{FlagHeaders, FlagPriority} {
		if b := AppendProperties(nil, &all); !bytes.Equal(AppendReplaced(nil, b, flag, "x"), b) {
			t.Errorf("%#x is no string", flag)
		}
	}
	if got := AppendReplaced(nil, []byte{0, 0}, FlagReplyTo, "x"); !bytes.Equal(got, []byte{0, 0}) {
		t.Errorf("% x", got)
	}
}

func TestAppendWithoutHeader(t *testing.T) {
	for _, present := range []uint16{0xFFFC, FlagHeaders, FlagHeaders | FlagClusterID, FlagContentType | FlagHeaders} {
		p := all
		p.Present = present
		p.Headers = Table{{Name: "a", Value: int32(1)}, {Name: "gone", Value: "x"}, {Name: "b", Value: Table{{Name: "gone", Value: true}}}, {Name: "gone"}}
		b := AppendProperties(nil, &p)
		got, ok := bytes.CutPrefix(AppendWithoutHeader([]byte("before"), b, "gone"), []byte("before"))
		p.Headers = Table{p.Headers[0], p.Headers[2]}
		if want := AppendProperties(nil, &p); !ok || !bytes.Equal(got, want) {
			t.Errorf("%#x: % x, want % x", present, got, want)
		}
		if !AnyHeader(b, "other", "gone") || AnyHeader(got, "gone", "other") {
			t.Errorf("%#x: AnyHeader does not see what is there", present)
		}
		if again := AppendWithoutHeader(nil, got, "gone"); !bytes.Equal(again, got) {
			t.Errorf("%#x: % x is changed to % x", present, got, again)
		}
	}
	if got := AppendWithoutHeader(nil, []byte{0, 0}, "gone"); !bytes.Equal(got, []byte{0, 0}) {
		t.Errorf("% x", got)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	b := AppendProperties(nil, &all)
	bad := b[:len(b)-1]
	badType := unhex(t, "2000 00000003 01 61 5a")
	n := testing.AllocsPerRun(100, func() {
		if AnyHeader(b, "no", "such") {
			t.Fatal("no such header")
		}
		if CheckProperties(b) != nil || CheckProperties(bad) == nil || CheckProperties(badType) == nil {
			t.Fatal("wrong verdict")
		}
		if DeliveryMode(b) != 2 {
			t.Fatal("wrong mode")
		}
		if v, _ := ShortProperty(b, FlagReplyTo); len(v) != 2 {
			t.Fatal("wrong reply-to")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzProperties(f *testing.F) {
	for _, tt := range goldenProperties {
		f.Add(unhex(f, tt.bytes))
	}
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		checkErr := CheckProperties(b)
		p, err := ParseProperties(b)
		if (checkErr == nil) != (err == nil) {
			t.Fatalf("CheckProperties: %v, ParseProperties: %v", checkErr, err)
		}
		// Peeks never panic and agree with the whole.
		headers, mode := Headers(b), DeliveryMode(b)
		reply, _ := ShortProperty(b, FlagReplyTo)
		stamp, _ := TimestampOf(b)
		_, _ = Header(b, "k")
		_ = AppendReplaced(nil, b, FlagReplyTo, "x")
		_ = AnyHeader(b, "k")
		without := AppendWithoutHeader(nil, b, "k")
		if err != nil {
			return
		}
		if err := CheckProperties(without); err != nil || AnyHeader(without, "k") {
			t.Fatalf("without a header: % x, %v", without, err)
		}
		if !EqualTable(headers, p.Headers) || mode != p.DeliveryMode || string(reply) != p.ReplyTo || stamp != p.Timestamp || Priority(b) != p.Priority {
			t.Fatalf("peeks differ from %+v", p)
		}
		once := AppendProperties(nil, &p)
		q, err := ParseProperties(once)
		if err != nil || q.Present != p.Present {
			t.Fatalf("%x: %+v, %v", once, q, err)
		}
		if twice := AppendProperties(nil, &q); !bytes.Equal(once, twice) {
			t.Fatalf("%x, then %x", once, twice)
		}
	})
}

func BenchmarkCheckProperties(b *testing.B) {
	raw := AppendProperties(nil, &all)
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckProperties(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseProperties(b *testing.B) {
	raw := AppendProperties(nil, &all)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseProperties(raw); err != nil {
			b.Fatal(err)
		}
	}
}
