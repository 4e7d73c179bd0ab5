package management

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"warren/protocol/wire"
)

// tableFromJSON turns a JSON object into a field table, its fields sorted by
// name. Whole numbers become 64-bit integers ('l'), others doubles, as RabbitMQ
// does. Numbers must have been decoded as json.Number.
func tableFromJSON(o map[string]any) (wire.Table, error) {
	if len(o) == 0 {
		return nil, nil
	}
	t := make(wire.Table, 0, len(o))
	for _, name := range slices.Sorted(maps.Keys(o)) {
		v, err := valueFromJSON(o[name])
		if err != nil {
			return nil, err
		}
		t = append(t, wire.Field{Name: name, Value: v})
	}
	if err := wire.CheckTable(t); err != nil {
		return nil, errBadRequest("%v", err)
	}
	return t, nil
}

func valueFromJSON(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, errBadRequest("number %s is out of range", v)
		}
		return f, nil
	case []any:
		a := make(wire.Array, len(v))
		for i, e := range v {
			var err error
			if a[i], err = valueFromJSON(e); err != nil {
				return nil, err
			}
		}
		return a, nil
	case map[string]any:
		t, err := tableFromJSON(v)
		if t == nil {
			t = wire.Table{}
		}
		return t, err
	}
	return nil, errBadRequest("value %v cannot be put in a table", v)
}

// tableToJSON turns a field table into what JSON can hold. Bytes that are no
// text become base64; infinities and not-a-numbers become strings.
func tableToJSON(t wire.Table) object {
	o := make(object, len(t))
	for _, f := range t {
		if _, ok := o[f.Name]; !ok { // the first counts, as in wire.Table.Get
			o[f.Name] = valueToJSON(f.Value)
		}
	}
	return o
}

func valueToJSON(v any) any {
	switch v := v.(type) {
	case wire.Table:
		return tableToJSON(v)
	case wire.Array:
		a := make([]any, len(v))
		for i, e := range v {
			a[i] = valueToJSON(e)
		}
		return a
	case []byte:
		return textOrBase64(string(v))
	case string:
		return textOrBase64(v)
	case float32:
		return valueToJSON(float64(v))
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case wire.Decimal:
		return float64(v.Value) / math.Pow10(int(v.Scale))
	case wire.Timestamp:
		return uint64(v)
	}
	return v
}

func textOrBase64(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return base64.StdEncoding.EncodeToString([]byte(s))
}
