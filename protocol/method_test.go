package protocol

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"warren/protocol/wire"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whole method frames on channel 1, written by hand from the specification.
var goldenMethods = []struct {
	bytes string
	m     Method
}{
	{"01 0001 00000028 000a 000a 00 09 0000000c 01 70 53 00000005 52 61 62 62 69" + // "p": "Rabbi"
		"00000005 504c41494e 00000005 656e5f5553 ce",
		&ConnectionStart{VersionMajor: 0, VersionMinor: 9, ServerProperties: wire.Table{{Name: "p", Value: "Rabbi"}},
			Mechanisms: "PLAIN", Locales: "en_US"}},
	{"01 0001 00000022 000a 000b 00000000 05 504c41494e 0000000a 00 6775657374 00 706173 05 656e5f5553 ce",
		&ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00pas", Locale: "en_US"}},
	{"01 0001 0000000a 000a 0014 00000002 6162 ce", &ConnectionSecure{Challenge: "ab"}},
	{"01 0001 0000000a 000a 0015 00000002 6162 ce", &ConnectionSecureOk{Response: "ab"}},
	{"01 0001 0000000c 000a 001e 07ff 00020000 003c ce", &ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60}},
	{"01 0001 0000000c 000a 001f 07ff 00020000 003c ce", &ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60}},
	{"01 0001 00000008 000a 0028 01 2f 00 00 ce", &ConnectionOpen{VirtualHost: "/"}},
	{"01 0001 00000005 000a 0029 00 ce", &ConnectionOpenOk{}},
	{"01 0001 0000000e 000a 0032 0140 03 627965 003c 0028 ce",
		&ConnectionClose{ReplyCode: 320, ReplyText: "bye", ClassID: 60, MethodID: 40}},
	{"01 0001 00000004 000a 0033 ce", &ConnectionCloseOk{}},
	{"01 0001 00000008 000a 003c 03 6c6f77 ce", &ConnectionBlocked{Reason: "low"}},
	{"01 0001 00000004 000a 003d ce", &ConnectionUnblocked{}},
	{"01 0001 0000000c 000a 0046 00000002 6e73 01 72 ce", &ConnectionUpdateSecret{NewSecret: "ns", Reason: "r"}},
	{"01 0001 00000004 000a 0047 ce", &ConnectionUpdateSecretOk{}},
	{"01 0001 00000005 0014 000a 00 ce", &ChannelOpen{}},
	{"01 0001 00000008 0014 000b 00000000 ce", &ChannelOpenOk{}},
	{"01 0001 00000005 0014 0014 01 ce", &ChannelFlow{Active: true}},
	{"01 0001 00000005 0014 0015 00 ce", &ChannelFlowOk{Active: false}},
	{"01 0001 0000000e 0014 0028 0194 03 627965 0032 000a ce",
		&ChannelClose{ReplyCode: 404, ReplyText: "bye", ClassID: 50, MethodID: 10}},
	{"01 0001 00000004 0014 0029 ce", &ChannelCloseOk{}},
	{"01 0001 0000000b 001e 000a 05 2f64617461 1e ce",
		&AccessRequest{Realm: "/data", Passive: true, Active: true, Write: true, Read: true}},
	{"01 0001 00000006 001e 000b 0001 ce", &AccessRequestOk{Ticket: 1}},
	{"01 0001 00000014 0028 000a 0000 01 65 06 6469726563 74 02 00000000 ce",
		&ExchangeDeclare{Exchange: "e", Type: "direct", Durable: true}},
	{"01 0001 0000000e 0028 000a 0000 01 65 00 1d 00000000 ce",
		&ExchangeDeclare{Exchange: "e", Passive: true, AutoDelete: true, Internal: true, NoWait: true}},
	{"01 0001 00000004 0028 000b ce", &ExchangeDeclareOk{}},
	{"01 0001 00000009 0028 0014 0000 01 65 03 ce", &ExchangeDelete{Exchange: "e", IfUnused: true, NoWait: true}},
	{"01 0001 00000004 0028 0015 ce", &ExchangeDeleteOk{}},
	{"01 0001 00000011 0028 001e 0000 01 64 01 73 01 6b 01 00000000 ce",
		&ExchangeBind{Destination: "d", Source: "s", RoutingKey: "k", NoWait: true}},
	{"01 0001 00000004 0028 001f ce", &ExchangeBindOk{}},
	{"01 0001 00000011 0028 0028 0000 01 64 01 73 01 6b 00 00000000 ce",
		&ExchangeUnbind{Destination: "d", Source: "s", RoutingKey: "k"}},
	{"01 0001 00000004 0028 0033 ce", &ExchangeUnbindOk{}},
	{"01 0001 00000014 0032 000a 0000 01 71 02 00000007 01 61 49 00000005 ce", // durable, a=5
		&QueueDeclare{Queue: "q", Durable: true, Arguments: wire.Table{{Name: "a", Value: int32(5)}}}},
	{"01 0001 0000000c 0032 000a 0000 00 1d 00000000 ce",
		&QueueDeclare{Passive: true, Exclusive: true, AutoDelete: true, NoWait: true}},
	{"01 0001 0000000e 0032 000b 01 71 00000003 00000001 ce", &QueueDeclareOk{Queue: "q", MessageCount: 3, ConsumerCount: 1}},
	{"01 0001 00000011 0032 0014 0000 01 71 01 65 01 6b 01 00000000 ce",
		&QueueBind{Queue: "q", Exchange: "e", RoutingKey: "k", NoWait: true}},
	{"01 0001 00000004 0032 0015 ce", &QueueBindOk{}},
	{"01 0001 00000009 0032 001e 0000 01 71 01 ce", &QueuePurge{Queue: "q", NoWait: true}},
	{"01 0001 00000008 0032 001f 00000007 ce", &QueuePurgeOk{MessageCount: 7}},
	{"01 0001 00000009 0032 0028 0000 01 71 05 ce", &QueueDelete{Queue: "q", IfUnused: true, NoWait: true}},
	{"01 0001 00000008 0032 0029 00000007 ce", &QueueDeleteOk{MessageCount: 7}},
	{"01 0001 00000010 0032 0032 0000 01 71 01 65 01 6b 00000000 ce", &QueueUnbind{Queue: "q", Exchange: "e", RoutingKey: "k"}},
	{"01 0001 00000004 0032 0033 ce", &QueueUnbindOk{}},
	{"01 0001 0000000b 003c 000a 00000000 0001 00 ce", &BasicQos{PrefetchCount: 1}},
	{"01 0001 0000000b 003c 000a 00000009 0001 01 ce", &BasicQos{PrefetchSize: 9, PrefetchCount: 1, Global: true}},
	{"01 0001 00000004 003c 000b ce", &BasicQosOk{}},
	{"01 0001 0000000f 003c 0014 0000 01 71 01 63 0a 00000000 ce",
		&BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true, NoWait: true}},
	{"01 0001 0000000f 003c 0014 0000 01 71 01 63 05 00000000 ce",
		&BasicConsume{Queue: "q", ConsumerTag: "c", NoLocal: true, Exclusive: true}},
	{"01 0001 00000006 003c 0015 01 63 ce", &BasicConsumeOk{ConsumerTag: "c"}},
	{"01 0001 00000007 003c 001e 01 63 01 ce", &BasicCancel{ConsumerTag: "c", NoWait: true}},
	{"01 0001 00000006 003c 001f 01 63 ce", &BasicCancelOk{ConsumerTag: "c"}},
	{"01 0001 0000000b 003c 0028 0000 01 65 01 6b 01 ce", &BasicPublish{Exchange: "e", RoutingKey: "k", Mandatory: true}},
	{"01 0001 0000000b 003c 0028 0000 01 65 01 6b 02 ce", &BasicPublish{Exchange: "e", RoutingKey: "k", Immediate: true}},
	{"01 0001 00000013 003c 0032 0138 08 4e4f5f524f555445 01 65 01 6b ce",
		&BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE", Exchange: "e", RoutingKey: "k"}},
	{"01 0001 00000013 003c 003c 01 63 0000000000000102 01 01 65 01 6b ce",
		&BasicDeliver{ConsumerTag: "c", DeliveryTag: 258, Redelivered: true, Exchange: "e", RoutingKey: "k"}},
	{"01 0001 00000009 003c 0046 0000 01 71 01 ce", &BasicGet{Queue: "q", NoAck: true}},
	{"01 0001 00000015 003c 0047 0000000000000102 00 01 65 01 6b 00000004 ce",
		&BasicGetOk{DeliveryTag: 258, Exchange: "e", RoutingKey: "k", MessageCount: 4}},
	{"01 0001 00000005 003c 0048 00 ce", &BasicGetEmpty{}},
	{"01 0001 0000000d 003c 0050 0000000000000102 01 ce", &BasicAck{DeliveryTag: 258, Multiple: true}},
	{"01 0001 0000000d 003c 005a 0000000000000102 01 ce", &BasicReject{DeliveryTag: 258, Requeue: true}},
	{"01 0001 00000005 003c 0064 01 ce", &BasicRecoverAsync{Requeue: true}},
	{"01 0001 00000005 003c 006e 01 ce", &BasicRecover{Requeue: true}},
	{"01 0001 00000004 003c 006f ce", &BasicRecoverOk{}},
	{"01 0001 0000000d 003c 0078 0000000000000102 02 ce", &BasicNack{DeliveryTag: 258, Requeue: true}},
	{"01 0001 0000000d 003c 0078 0000000000000102 01 ce", &BasicNack{DeliveryTag: 258, Multiple: true}},
	{"01 0001 00000005 0055 000a 01 ce", &ConfirmSelect{NoWait: true}},
	{"01 0001 00000004 0055 000b ce", &ConfirmSelectOk{}},
	{"01 0001 00000004 005a 000a ce", &TxSelect{}},
	{"01 0001 00000004 005a 000b ce", &TxSelectOk{}},
	{"01 0001 00000004 005a 0014 ce", &TxCommit{}},
	{"01 0001 00000004 005a 0015 ce", &TxCommitOk{}},
	{"01 0001 00000004 005a 001e ce", &TxRollback{}},
	{"01 0001 00000004 005a 001f ce", &TxRollbackOk{}},
}

func TestMethodsGolden(t *testing.T) {
	seen := make(map[ID]bool)
	for _, tt := range goldenMethods {
		seen[tt.m.ID()] = true
		t.Run(tt.m.ID().String(), func(t *testing.T) {
			want := unhex(t, tt.bytes)
			if got := AppendMethod([]byte("x"), 1, tt.m); !bytes.Equal(got[1:], want) {
				t.Errorf("AppendMethod = %x, want %x", got[1:], want)
			}
			f, err := NewReader(bytes.NewReader(want)).ReadFrame()
			if err != nil || f.Type != FrameMethod || f.Channel != 1 {
				t.Fatalf("ReadFrame = %+v, %v", f, err)
			}
			got, err := ParseMethod(f.Payload)
			if err != nil || !reflect.DeepEqual(got, tt.m) {
				t.Errorf("ParseMethod = %+v, %v, want %+v", got, err, tt.m)
			}
		})
	}
	for id := range eachID {
		if !seen[id] {
			t.Errorf("no example of %s", id)
		}
	}
}

// eachID yields all methods that exist.
func eachID(yield func(ID) bool) {
	for class := range uint16(256) {
		for method := range uint16(256) {
			if id := NewID(class, method); NewMethod(id) != nil && !yield(id) {
				return
			}
		}
	}
}

func TestIDs(t *testing.T) {
	n := 0
	for id := range eachID {
		n++
		m := NewMethod(id)
		if m.ID() != id || id.String() == "" || NewID(id.Class(), id.Method()) != id {
			t.Errorf("%d.%d is %T, %s", id.Class(), id.Method(), m, id)
		}
		content := id == IDBasicPublish || id == IDBasicDeliver || id == IDBasicReturn || id == IDBasicGetOk
		if id.HasContent() != content {
			t.Errorf("%s has content: %v", id, id.HasContent())
		}
	}
	if n != 66 { // 64 of RabbitMQ's XML and two of class access
		t.Errorf("%d methods", n)
	}
	if NewMethod(NewID(60, 99)) != nil || NewID(60, 99).String() != "" {
		t.Error("a method that is none")
	}
}

// check asserts that err closes the connection with code and text.
func check(t *testing.T, err error, code uint16, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want an *Error", err)
	}
	if e.Code != code || !strings.HasPrefix(e.Error(), text) || !e.Connection() {
		t.Errorf("%d %q, want %d %q…", e.Code, e, code, text)
	}
}

func TestParseMethodUnknown(t *testing.T) {
	_, err := ParseMethod(unhex(t, "0063 0001 00"))
	check(t, err, NotImplemented, "NOT_IMPLEMENTED - unknown method 1 of class 99")
	_, err = ParseMethod(unhex(t, "003c 0063 00"))
	check(t, err, NotImplemented, "NOT_IMPLEMENTED - unknown method 99 of class 60")
	_, err = ParseMethod(unhex(t, "003c 00"))
	check(t, err, FrameError, "FRAME_ERROR - type 1, all octets = <<0,60,0>>: unknown_frame")
}

// Every method, cut short anywhere, and with a byte too many.
func TestParseMethodTruncated(t *testing.T) {
	for _, tt := range goldenMethods {
		payload := unhex(t, tt.bytes)[frameHeaderSize:]
		payload = payload[:len(payload)-1]
		for n := 4; n < len(payload); n++ {
			_, err := ParseMethod(payload[:n])
			var e *Error
			if !errors.As(err, &e) || e.Code != FrameError || !e.Connection() || NewID(e.ClassID, e.MethodID) != tt.m.ID() {
				t.Errorf("%s cut to %d bytes: %v", tt.m.ID(), n, err)
			}
		}
		_, err := ParseMethod(append(payload[:len(payload):len(payload)], 0))
		check(t, err, FrameError, "FRAME_ERROR - cannot decode <<")
	}
}

func TestParseMethodTrailing(t *testing.T) {
	_, err := ParseMethod(unhex(t, "0014 0029 07"))
	check(t, err, FrameError, "FRAME_ERROR - cannot decode <<7>>")
}

func TestParseMethodText(t *testing.T) {
	payload := func(m Method) []byte {
		b := AppendMethod(nil, 1, m)
		return b[frameHeaderSize : len(b)-1]
	}
	_, err := ParseMethod(payload(&QueueDeclare{Queue: "a\xffb"}))
	check(t, err, FrameError, "FRAME_ERROR - Malformed UTF-8 in shortstr")
	// RabbitMQ does not look where content follows.
	if _, err := ParseMethod(payload(&BasicPublish{RoutingKey: "a\xffb"})); err != nil {
		t.Error(err)
	}
	if _, err := ParseMethod(payload(&QueueDeclare{Queue: "schlüssel"})); err != nil {
		t.Error(err)
	}
}

func TestParseMethodTable(t *testing.T) {
	// queue.declare with a field of unknown type, and one that runs past its table
	for _, table := range []string{"00000003 01 61 5a", "00000003 05 61 56"} {
		_, err := ParseMethod(unhex(t, "0032 000a 0000 01 71 00"+table))
		check(t, err, SyntaxError, "SYNTAX_ERROR - malformed table in arguments of queue.declare")
	}
	var deep wire.Table
	for range wire.MaxDepth + 1 {
		deep = wire.Table{{Name: "a", Value: deep}}
	}
	b := AppendMethod(nil, 1, &QueueDeclare{Arguments: deep})
	_, err := ParseMethod(b[frameHeaderSize : len(b)-1])
	check(t, err, SyntaxError, "SYNTAX_ERROR - malformed table")
	// a table that runs past the arguments
	_, err = ParseMethod(unhex(t, "0032 000a 0000 01 71 00 000000ff 01 61 56"))
	check(t, err, FrameError, "FRAME_ERROR - cannot decode <<0,0,1,113,0,0,0,0,255,1,97,86>>")
}

func TestParseMethodInto(t *testing.T) {
	b := AppendMethod(nil, 1, &BasicQos{PrefetchCount: 3})
	qos := BasicQos{PrefetchSize: 1, Global: true}
	if err := ParseMethodInto(b[frameHeaderSize:len(b)-1], &qos); err != nil || qos != (BasicQos{PrefetchCount: 3}) {
		t.Errorf("%+v, %v", qos, err)
	}
	check(t, ParseMethodInto(b[frameHeaderSize:len(b)-1], &BasicAck{}), CommandInvalid, "COMMAND_INVALID - expected method basic.ack")
	check(t, ParseMethodInto(nil, &BasicAck{}), FrameError, "FRAME_ERROR - type 1, all octets = <<>>: unknown_frame")
}

func TestViews(t *testing.T) {
	payload := func(m Method) []byte {
		b := AppendMethod(nil, 1, m)
		return b[frameHeaderSize : len(b)-1]
	}
	var p PublishView
	if err := p.Parse(payload(&BasicPublish{Exchange: "e", RoutingKey: "k.l", Mandatory: true})); err != nil ||
		string(p.Exchange) != "e" || string(p.RoutingKey) != "k.l" || !p.Mandatory || p.Immediate {
		t.Errorf("%+v, %v", p, err)
	}
	if err := p.Parse(payload(&BasicPublish{Immediate: true})); err != nil ||
		len(p.Exchange) != 0 || len(p.RoutingKey) != 0 || p.Mandatory || !p.Immediate {
		t.Errorf("%+v, %v", p, err)
	}
	check(t, p.Parse(unhex(t, "003c 0028 0000 05 61")), FrameError, "FRAME_ERROR - cannot decode <<0,0,5,97>>")
	check(t, p.Parse(payload(&BasicAck{})), CommandInvalid, "COMMAND_INVALID")
	check(t, p.Parse(nil), FrameError, "FRAME_ERROR")

	for _, tt := range []struct {
		m    Method
		want AckView
	}{
		{&BasicAck{DeliveryTag: 7}, AckView{ID: IDBasicAck, DeliveryTag: 7}},
		{&BasicAck{DeliveryTag: 7, Multiple: true}, AckView{ID: IDBasicAck, DeliveryTag: 7, Multiple: true}},
		{&BasicNack{DeliveryTag: 7, Multiple: true}, AckView{ID: IDBasicNack, DeliveryTag: 7, Multiple: true}},
		{&BasicNack{DeliveryTag: 7, Requeue: true}, AckView{ID: IDBasicNack, DeliveryTag: 7, Requeue: true}},
		{&BasicReject{DeliveryTag: 7, Requeue: true}, AckView{ID: IDBasicReject, DeliveryTag: 7, Requeue: true}},
	} {
		v := AckView{Multiple: true, Requeue: true}
		if err := v.Parse(payload(tt.m)); err != nil || v != tt.want {
			t.Errorf("%+v: %+v, %v", tt.m, v, err)
		}
	}
	var a AckView
	check(t, a.Parse(unhex(t, "003c 0050 00")), FrameError, "FRAME_ERROR - cannot decode <<0>>")
	check(t, a.Parse(payload(&BasicQos{})), CommandInvalid, "COMMAND_INVALID")

	publish, ack := payload(&BasicPublish{Exchange: "e", RoutingKey: "k"}), payload(&BasicAck{DeliveryTag: 1})
	if n := testing.AllocsPerRun(100, func() {
		if p.Parse(publish) != nil || a.Parse(ack) != nil {
			t.Fatal("error")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestContentHeader(t *testing.T) {
	properties := wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagDeliveryMode, DeliveryMode: 2})
	b := AppendHeader(nil, 1, ClassBasic, 5, properties)
	if want := unhex(t, "02 0001 0000000f 003c 0000 0000000000000005 1000 02 ce"); !bytes.Equal(b, want) {
		t.Errorf("AppendHeader = %x, want %x", b, want)
	}
	payload := b[frameHeaderSize : len(b)-1]
	h, err := ParseContentHeader(payload)
	if err != nil || h.ClassID != ClassBasic || h.BodySize != 5 || !bytes.Equal(h.Properties, properties) {
		t.Errorf("%+v, %v", h, err)
	}
	payload[3] = 1 // the weight is not looked at
	if _, err := ParseContentHeader(payload); err != nil {
		t.Error(err)
	}
	for n := range contentHeaderSize {
		_, err := ParseContentHeader(payload[:n])
		check(t, err, FrameError, "FRAME_ERROR - type 2, all octets = <<")
	}
	for n := contentHeaderSize; n < len(payload); n++ {
		_, err := ParseContentHeader(payload[:n])
		check(t, err, SyntaxError, "SYNTAX_ERROR - malformed content properties: truncated")
	}
}

func FuzzMethod(f *testing.F) {
	for _, tt := range goldenMethods {
		b := unhex(f, tt.bytes)
		f.Add(b[frameHeaderSize : len(b)-1])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var publish PublishView
		publishErr := publish.Parse(payload)
		var ack AckView
		ackErr := ack.Parse(payload)
		if h, err := ParseContentHeader(payload); err == nil {
			if _, err := wire.ParseProperties(h.Properties); err != nil {
				t.Fatal(err)
			}
		}
		m, err := ParseMethod(payload)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !e.Connection() || len(e.ReplyText()) > 255 {
				t.Fatalf("%v", err)
			}
			return
		}
		switch m := m.(type) {
		case *BasicPublish:
			if publishErr != nil || string(publish.Exchange) != m.Exchange || string(publish.RoutingKey) != m.RoutingKey ||
				publish.Mandatory != m.Mandatory || publish.Immediate != m.Immediate {
				t.Fatalf("%+v, %v, want %+v", publish, publishErr, m)
			}
		case *BasicNack:
			if want := (AckView{IDBasicNack, m.DeliveryTag, m.Multiple, m.Requeue}); ackErr != nil || ack != want {
				t.Fatalf("%+v, %v, want %+v", ack, ackErr, want)
			}
		}
		b := AppendMethod(nil, 0, m)
		again, err := ParseMethod(b[frameHeaderSize : len(b)-1])
		if err != nil {
			t.Fatalf("%+v does not come back: %v", m, err)
		}
		if twice := AppendMethod(nil, 0, again); !bytes.Equal(b, twice) {
			t.Fatalf("%x, then %x", b, twice)
		}
	})
}
