package management

import (
	"cmp"
	"encoding/json"
	"strings"
)

// compare orders values of fields: what is missing first, then false and true,
// numbers, strings; other kinds are all the same.
func compare(a, b any) int {
	ka, kb := kindOf(a), kindOf(b)
	if ka != kb {
		return cmp.Compare(ka, kb)
	}
	switch ka {
	case kindBool:
		x, y := a.(bool), b.(bool)
		switch {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	case kindNumber:
		return cmp.Compare(number(a), number(b))
	case kindString:
		return cmp.Compare(a.(string), b.(string))
	}
	return 0
}

const (
	kindNone = iota
	kindBool
	kindNumber
	kindString
	kindOther
)

func kindOf(v any) int {
	switch v.(type) {
	case nil:
		return kindNone
	case bool:
		return kindBool
	case int, int64, uint16, uint32, uint64, float64, json.Number:
		return kindNumber
	case string:
		return kindString
	}
	return kindOther
}

func number(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint16:
		return float64(v)
	case uint32:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	case json.Number:
		f, _ := v.Float64() // what JSON calls a number parses
		return f
	}
	return 0
}

// toObject turns a struct into an object, by its JSON.
func toObject(v any) (object, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	return o, nil
}
