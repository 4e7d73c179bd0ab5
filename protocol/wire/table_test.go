package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// unhex reads hexadecimal text; spaces are for the eye.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// One field of every type: the bytes were written by hand from the specification,
// section 4.2.1, and RabbitMQ's errata.
var goldenTables = []struct {
	name  string
	bytes string
	table Table
}{
	{"empty", "00000000", nil},
	{"void", "00000003 01 61 56", Table{{"a", nil}}},
	{"true", "00000004 01 61 74 01", Table{{"a", true}}},
	{"false", "00000004 01 61 74 00", Table{{"a", false}}},
	{"byte", "00000004 01 61 62 fe", Table{{"a", int8(-2)}}},
	{"unsignedbyte", "00000004 01 61 42 fe", Table{{"a", uint8(254)}}},
	{"short", "00000005 01 61 73 fffe", Table{{"a", int16(-2)}}},
	{"unsignedshort", "00000005 01 61 75 fffe", Table{{"a", uint16(65534)}}},
	{"signedint", "00000007 01 61 49 fffffffe", Table{{"a", int32(-2)}}},
	{"unsignedint", "00000007 01 61 69 fffffffe", Table{{"a", uint32(4294967294)}}},
	{"long", "0000000b 01 61 6c fffffffffffffffe", Table{{"a", int64(-2)}}},
	{"float", "00000007 01 61 66 3fc00000", Table{{"a", float32(1.5)}}},
	{"double", "0000000b 01 61 64 3ff8000000000000", Table{{"a", float64(1.5)}}},
	{"decimal", "00000008 01 61 44 02 0000007b", Table{{"a", Decimal{2, 123}}}},
	{"longstr", "0000000a 01 61 53 00000003 78797a", Table{{"a", "xyz"}}},
	{"binary", "00000009 01 61 78 00000002 00ff", Table{{"a", []byte{0, 255}}}},
	{"timestamp", "0000000b 01 61 54 000000005f000000", Table{{"a", Timestamp(0x5f000000)}}},
	{"empty array", "00000007 01 61 41 00000000", Table{{"a", Array(nil)}}},
	{"array", "0000000d 01 61 41 00000006 56 49 00000007", Table{{"a", Array{nil, int32(7)}}}},
	{"empty table", "00000007 01 61 46 00000000", Table{{"a", Table(nil)}}},
	{"table", "0000000c 01 61 46 00000005 02 6262 74 01", Table{{"a", Table{{"bb", true}}}}},
	{"no name", "00000002 00 56", Table{{"", nil}}},
	{"one name twice", "00000006 01 61 56 01 61 56", Table{{"a", nil}, {"a", nil}}},
	{"order kept", "00000006 01 62 56 01 61 56", Table{{"b", nil}, {"a", nil}}},
}

func TestTableGolden(t *testing.T) {
	for _, tt := range goldenTables {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.bytes)
			if got := AppendTable([]byte("x"), tt.table); !bytes.Equal(got[1:], want) {
				t.Errorf("AppendTable = %x, want %x", got[1:], want)
			}
			got, rest, err := ParseTable(append(want, "rest"...))
			if err != nil || string(rest) != "rest" || !reflect.DeepEqual(got, tt.table) {
				t.Errorf("ParseTable = %#v, %q, %v, want %#v", got, rest, err, tt.table)
			}
			rest, err = CheckTableBytes(append(want, "rest"...))
			if err != nil || string(rest) != "rest" {
				t.Errorf("CheckTableBytes = %q, %v", rest, err)
			}
			if err := CheckTable(tt.table); err != nil {
				t.Errorf("CheckTable: %v", err)
			}
			if tt.table != nil {
				name := strings.Fields(tt.name)
				if got := TypeName(tt.table[0].Value); len(name) == 1 && name[0] != "true" && name[0] != "false" && got != name[0] {
					t.Errorf("TypeName = %q", got)
				}
			}
		})
	}
}

// What is read in one form and written in another.
func TestTableReadOnly(t *testing.T) {
	for _, tt := range []struct {
		bytes string
		value any
	}{
		{"0000000b 01 61 4c fffffffffffffffe", int64(-2)}, // 'L' is signed too
		{"00000004 01 61 74 07", true},                    // any octet but zero
	} {
		got, _, err := ParseTable(unhex(t, tt.bytes))
		if v, _ := got.Get("a"); err != nil || v != tt.value {
			t.Errorf("%s: %#v, %v", tt.bytes, v, err)
		}
	}
}

func TestTableMalformed(t *testing.T) {
	for _, tt := range []struct {
		name, bytes string
		want        error
	}{
		{"nothing", "", ErrTruncated},
		{"half a length", "0000", ErrTruncated},
		{"length beyond the data", "00000001", ErrTruncated},
		{"greatest length", "ffffffff 01 61 56", ErrTruncated},
		{"name beyond the table", "00000002 05 61", ErrTruncated},
		{"name without type", "00000002 01 61", ErrTruncated},
		{"name into the data behind", "00000002 02 61 62 56", ErrTruncated},
		{"unknown type", "00000003 01 61 5a", ErrType},
		{"type zero", "00000003 01 61 00", ErrType},
		{"half an int", "00000005 01 61 49 0000", ErrTruncated},
		{"no bool", "00000003 01 61 74", ErrTruncated},
		{"half a decimal", "00000006 01 61 44 000000", ErrTruncated},
		{"half a long", "00000006 01 61 6c 000000", ErrTruncated},
		{"string beyond the table", "00000008 01 61 53 00000002 78 78", ErrTruncated},
		{"greatest string", "00000008 01 61 53 ffffffff 78", ErrTruncated},
		{"array beyond the table", "00000008 01 61 41 00000002 56 56", ErrTruncated},
		{"half a value in an array", "00000008 01 61 41 00000001 49", ErrTruncated},
		{"unknown type in an array", "00000008 01 61 41 00000001 5a", ErrType},
		{"nested table beyond its own", "0000000a 01 61 46 00000003 05 61 56", ErrTruncated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := unhex(t, tt.bytes)
			if got, _, err := ParseTable(b); !errors.Is(err, tt.want) || got != nil {
				t.Errorf("ParseTable = %v, %v, want %v", got, err, tt.want)
			}
			if _, err := CheckTableBytes(b); !errors.Is(err, tt.want) {
				t.Errorf("CheckTableBytes: %v, want %v", err, tt.want)
			}
		})
	}
}

// nested returns a table with depth levels, tables and arrays in turn.
func nested(depth int) Table {
	t := Table{{"a", true}}
	for ; depth > 1; depth-- {
		if depth%2 == 0 && depth > 2 {
			depth--
			t = Table{{"a", Array{t}}}
		} else {
			t = Table{{"a", t}}
		}
	}
	return t
}

func TestTableDepth(t *testing.T) {
	for _, depth := range []int{1, 2, MaxDepth - 1, MaxDepth} {
		if err := CheckTable(nested(depth)); err != nil {
			t.Errorf("CheckTable at depth %d: %v", depth, err)
		}
		if _, _, err := ParseTable(AppendTable(nil, nested(depth))); err != nil {
			t.Errorf("ParseTable at depth %d: %v", depth, err)
		}
	}
	for _, depth := range []int{MaxDepth + 1, MaxDepth + 2, 10_000} {
		b := AppendTable(nil, nested(depth))
		if err := CheckTable(nested(depth)); !errors.Is(err, ErrDepth) {
			t.Errorf("CheckTable at depth %d: %v", depth, err)
		}
		if _, _, err := ParseTable(b); !errors.Is(err, ErrDepth) {
			t.Errorf("ParseTable at depth %d: %v", depth, err)
		}
		if _, err := CheckTableBytes(b); !errors.Is(err, ErrDepth) {
			t.Errorf("CheckTableBytes at depth %d: %v", depth, err)
		}
	}
}

// Strings must not pin or follow the buffer that they were read from.
func TestParseTableCopies(t *testing.T) {
	want := Table{{"name", "value"}, {"bin", []byte("bytes")}}
	b := AppendTable(nil, want)
	got, _, err := ParseTable(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("after the buffer was cleared: %v", got)
	}
}

func TestCheckTable(t *testing.T) {
	for _, tt := range []struct {
		name  string
		table Table
		want  error
	}{
		{"long name", Table{{strings.Repeat("n", 256), nil}}, ErrName},
		{"int", Table{{"a", 1}}, ErrValueType},
		{"uint64", Table{{"a", uint64(1)}}, ErrValueType},
		{"deep inside", Table{{"a", Table{{"b", Array{struct{}{}}}}}}, ErrValueType},
	} {
		if err := CheckTable(tt.table); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestAppendShortStringCuts(t *testing.T) {
	got := AppendShortString(nil, strings.Repeat("n", 300))
	if len(got) != 256 || got[0] != 255 {
		t.Errorf("%d bytes, length %d", len(got), got[0])
	}
}

func TestAppendTablePanicsOnForeignType(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	AppendTable(nil, Table{{"a", 1}})
}

func TestTableGet(t *testing.T) {
	table := Table{{"a", nil}, {"b", int32(1)}, {"b", int32(2)}}
	if v, ok := table.Get("a"); v != nil || !ok {
		t.Errorf("a: %v, %v", v, ok)
	}
	if v, ok := table.Get("b"); v != int32(1) || !ok {
		t.Errorf("b: %v, %v", v, ok)
	}
	if v, ok := table.Get("c"); v != nil || ok {
		t.Errorf("c: %v, %v", v, ok)
	}
}

func TestEqual(t *testing.T) {
	sevens := []any{int8(7), uint8(7), int16(7), uint16(7), int32(7), uint32(7), int64(7)}
	for _, a := range sevens {
		for _, b := range sevens {
			if !EqualValue(a, b) {
				t.Errorf("%T(7) and %T(7) differ", a, b)
			}
		}
	}
	for _, tt := range []struct {
		a, b any
		want bool
	}{
		{int8(-1), uint8(255), false},
		{int32(7), "7", false},
		{int64(7), Timestamp(7), false},
		{int32(1), true, false},
		{int32(1), float64(1), false},
		{float32(1.5), float64(1.5), true},
		{float64(1.5), float64(2.5), false},
		{math.NaN(), math.NaN(), true},
		{nil, nil, true},
		{nil, false, false},
		{false, nil, false},
		{"a", "a", true},
		{"a", []byte("a"), false},
		{[]byte("a"), []byte("a"), true},
		{Timestamp(1), Timestamp(1), true},
		{Decimal{1, 2}, Decimal{1, 2}, true},
		{Decimal{1, 2}, Decimal{2, 2}, false},
		{Array{int8(1), "x"}, Array{int64(1), "x"}, true},
		{Array{int8(1), "x"}, Array{"x", int8(1)}, false},
		{Array{int8(1)}, Array{int8(1), nil}, false},
		{Array(nil), Table(nil), false},
		{Table{{"a", int8(1)}, {"b", nil}}, Table{{"b", nil}, {"a", int32(1)}}, true},
		{Table{{"a", int8(1)}}, Table{{"b", int8(1)}}, false},
		{Table{{"a", nil}}, Table(nil), false},
		{Table(nil), Table{{"a", nil}}, false},
		{Table{{"a", nil}, {"a", true}}, Table{{"a", nil}}, true}, // the first counts
		{Table{{"a", true}, {"a", nil}}, Table{{"a", nil}}, false},
		{Table{{"a", nil}}, Table{{"b", nil}}, false},
	} {
		if got := EqualValue(tt.a, tt.b); got != tt.want {
			t.Errorf("EqualValue(%#v, %#v) = %v", tt.a, tt.b, got)
		}
		if got := EqualValue(tt.b, tt.a); got != tt.want {
			t.Errorf("EqualValue(%#v, %#v) = %v", tt.b, tt.a, got)
		}
	}
	if TypeName(7) != "" {
		t.Error("int has a name")
	}
}

// The cost of a hostile table must stay near its size: fields
// without name and value are the dearest in memory.
func TestParseTableCost(t *testing.T) {
	content := bytes.Repeat([]byte("\x00V"), 50_000)
	b := AppendLongString(nil, content)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := ParseTable(b)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(20*len(b)) {
		t.Errorf("%d bytes allocated for a table of %d", got, len(b))
	}
	// A length that the data does not have costs nothing.
	bad := append([]byte{0, 0, 0, 12, 1, 'a', 'S', 0xff, 0xff, 0xff, 0xff}, "short"...)
	if n := testing.AllocsPerRun(10, func() { _, _, _ = ParseTable(bad) }); n > 0 {
		t.Errorf("%v allocations for a length beyond the data", n)
	}
}

func FuzzTable(f *testing.F) {
	for _, tt := range goldenTables {
		f.Add(unhex(f, tt.bytes))
	}
	f.Add(AppendTable(nil, nested(MaxDepth)))
	f.Add(AppendTable(nil, nested(MaxDepth+1)))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, rest, err := ParseTable(b)
		checkedRest, checkErr := CheckTableBytes(b)
		if (err == nil) != (checkErr == nil) || len(rest) != len(checkedRest) {
			t.Fatalf("ParseTable: %v, CheckTableBytes: %v", err, checkErr)
		}
		if err != nil {
			if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrDepth) && !errors.Is(err, ErrType) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if err := CheckTable(table); err != nil {
			t.Fatalf("a parsed table does not pass CheckTable: %v", err)
		}
		once := AppendTable(nil, table)
		if len(once) != len(b)-len(rest) {
			t.Fatalf("%d bytes read, %d written", len(b)-len(rest), len(once))
		}
		again, rest, err := ParseTable(once)
		if err != nil || len(rest) != 0 || !EqualTable(table, again) {
			t.Fatalf("%#v came back as %#v, %v", table, again, err)
		}
		if twice := AppendTable(nil, again); !bytes.Equal(once, twice) {
			t.Fatalf("%x, then %x", once, twice)
		}
	})
}
