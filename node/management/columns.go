package management

import "strings"

// columns are the fields that are asked for, as a tree of their paths: of a field without any below
// it all is wanted. nil means that all fields are.
type columns map[string]columns

// parseColumns reads "a,b.c".
func parseColumns(s string) columns {
	var all columns
	for column := range strings.SplitSeq(s, ",") {
		path := strings.FieldsFunc(strings.TrimSpace(column), func(r rune) bool { return r == '.' })
		if len(path) == 0 {
			continue
		}
		if all == nil {
			all = columns{}
		}
		all.add(path)
	}
	return all
}

// wanted are the fields that the items of a list are made with: those of the answer, and those that it is filtered and sorted by. nil: all.
func (c *call) wanted() columns {
	v := c.r.URL.Query()
	all := parseColumns(v.Get("columns"))
	if all == nil {
		return nil
	}
	all.add([]string{"name"})
	if s := v.Get("sort"); s != "" {
		all.add(strings.Split(s, "."))
	}
	return all
}

func (c columns) add(path []string) {
	below, there := c[path[0]]
	switch {
	case len(path) == 1:
		c[path[0]] = nil
		return
	case there && below == nil:
		return // all of it is wanted already
	case !there:
		below = columns{}
		c[path[0]] = below
	}
	below.add(path[1:])
}

// cut returns an object with the columns only.
func (c columns) cut(o object) object {
	if c == nil {
		return o
	}
	some := make(object, len(c))
	for name, below := range c {
		if v, ok := o[name]; ok {
			some[name] = below.cutValue(v)
		}
	}
	return some
}

// cutValue cuts the objects in a value.
func (c columns) cutValue(v any) any {
	if c == nil {
		return v
	}
	switch v := v.(type) {
	case object:
		return c.cut(v)
	case []object:
		some := make([]object, len(v))
		for i := range v {
			some[i] = c.cut(v[i])
		}
		return some
	case []any:
		some := make([]any, len(v))
		for i := range v {
			some[i] = c.cutValue(v[i])
		}
		return some
	}
	return v
}

// has reports whether a field, or anything in it, is asked for.
func (c columns) has(name string) bool {
	if c == nil {
		return true
	}
	_, ok := c[name]
	return ok
}

// hasAny reports whether a field is asked for whose name begins so.
func (c columns) hasAny(prefix string) bool {
	if c == nil {
		return true
	}
	for name := range c {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func lookup(o object, path []string) (any, bool) {
	v, ok := o[path[0]]
	if !ok || len(path) == 1 {
		return v, ok
	}
	inner, ok := v.(object)
	if !ok {
		return nil, false
	}
	return lookup(inner, path[1:])
}
