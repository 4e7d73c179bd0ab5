package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// spec is what the generator reads of the XML.
type spec struct {
	XMLName   xml.Name   `xml:"amqp"`
	Constants []constant `xml:"constant"`
	Domains   []domain   `xml:"domain"`
	Classes   []class    `xml:"class"`
}

type constant struct {
	Name  string `xml:"name,attr"`
	Value uint16 `xml:"value,attr"`
	Class string `xml:"class,attr"` // "soft-error", "hard-error" or nothing
}

type domain struct {
	Name string `xml:"name,attr"`
	Type string `xml:"type,attr"`
}

type class struct {
	Name    string   `xml:"name,attr"`
	Index   uint16   `xml:"index,attr"`
	Methods []method `xml:"method"`
}

type method struct {
	Name    string  `xml:"name,attr"`
	Index   uint16  `xml:"index,attr"`
	Content int     `xml:"content,attr"`
	Fields  []field `xml:"field"`
}

type field struct {
	Name     string `xml:"name,attr"`
	Domain   string `xml:"domain,attr"`
	Type     string `xml:"type,attr"`
	Reserved int    `xml:"reserved,attr"`
}

// missing lists the classes that the XML lacks and RabbitMQ speaks: access
// was dropped from 0-9-1, but clients written for 0-9 still ask for a ticket, and
// RabbitMQ hands out ticket 1 (rabbit_channel.erl, 'access.request').
var missing = []class{{
	Name: "access", Index: 30, Methods: []method{
		{Name: "request", Index: 10, Fields: []field{
			{Name: "realm", Type: "shortstr"},
			{Name: "exclusive", Type: "bit"},
			{Name: "passive", Type: "bit"},
			{Name: "active", Type: "bit"},
			{Name: "write", Type: "bit"},
			{Name: "read", Type: "bit"},
		}},
		{Name: "request-ok", Index: 11, Fields: []field{
			{Name: "ticket", Type: "short"},
		}},
	},
}}

// kinds maps a type of the specification to its Go type and to the names of the
// functions that read and append it.
var kinds = map[string]kind{
	"bit":       {Go: "bool"},
	"octet":     {Go: "uint8", Read: "octet", Append: "append(dst, %s)", Zero: "append(dst, 0)"},
	"short":     {Go: "uint16", Read: "short", Append: "binary.BigEndian.AppendUint16(dst, %s)", Zero: "append(dst, 0, 0)"},
	"long":      {Go: "uint32", Read: "long", Append: "binary.BigEndian.AppendUint32(dst, %s)", Zero: "append(dst, 0, 0, 0, 0)"},
	"longlong":  {Go: "uint64", Read: "longLong", Append: "binary.BigEndian.AppendUint64(dst, %s)"},
	"shortstr":  {Go: "string", Read: "text", Append: "wire.AppendShortString(dst, %s)", Zero: "append(dst, 0)"},
	"longstr":   {Go: "string", Read: "longString", Append: "wire.AppendLongString(dst, %s)", Zero: "append(dst, 0, 0, 0, 0)"},
	"timestamp": {Go: "wire.Timestamp", Read: "timestamp", Append: "binary.BigEndian.AppendUint64(dst, uint64(%s))"},
	"table":     {Go: "wire.Table", Read: "table", Append: "wire.AppendTable(dst, %s)"},
}

type kind struct{ Go, Read, Append, Zero string }

// A model is the checked specification: methods in the order of their ids, field
// types resolved.
type model struct {
	constants []constant
	classes   []class
}

func newModel(s *spec) (*model, error) {
	types := make(map[string]string)
	for _, d := range s.Domains {
		types[d.Name] = d.Type
	}
	m := &model{constants: s.Constants, classes: s.Classes}
	for _, c := range missing {
		if slices.ContainsFunc(m.classes, func(have class) bool { return have.Index == c.Index }) {
			return nil, fmt.Errorf("class %s is in the specification: take it out of the generator", c.Name)
		}
		m.classes = append(m.classes, c)
	}
	slices.SortFunc(m.classes, func(a, b class) int { return cmp.Compare(a.Index, b.Index) })
	for _, c := range m.classes {
		slices.SortFunc(c.Methods, func(a, b method) int { return cmp.Compare(a.Index, b.Index) })
		for _, me := range c.Methods {
			if err := resolve(me.Fields, types); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", c.Name, me.Name, err)
			}
		}
	}
	return m, nil
}

// resolve puts the type of each field's domain into the field.
func resolve(fields []field, types map[string]string) error {
	for i := range fields {
		f := &fields[i]
		if f.Type == "" {
			f.Type = types[f.Domain]
		}
		k, ok := kinds[f.Type]
		if !ok {
			return fmt.Errorf("field %s: unknown type %q", f.Name, f.Type)
		}
		if f.Reserved != 0 && f.Type != "bit" && k.Zero == "" {
			return fmt.Errorf("field %s: reserved, of type %s", f.Name, f.Type)
		}
	}
	return nil
}

// goName turns "consumer-tag" into ConsumerTag.
func goName(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		switch part {
		case "id":
			b.WriteString("ID")
		case "nowait": // confirm.select writes no-wait so
			b.WriteString("NoWait")
		default:
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// upper turns "not-found" into NOT_FOUND.
func upper(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
