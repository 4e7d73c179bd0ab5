package management

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Page sizes, as RabbitMQ has them.
const (
	defaultPageSize = 100
	maxPageSize     = 500
)

// query is what all lists understand. As in RabbitMQ, names are filtered where
// pages are asked for only
// (https://www.rabbitmq.com/docs/http-api-reference#pagination-parameters).
type query struct {
	paged      bool
	page, size int
	keep       func(name string) bool // nil: all
	sort       []string               // path of a field; nil: as listed
	reverse    bool
	columns    [][]string // paths of fields; nil: all
}

func parseQuery(v url.Values) (query, error) {
	q := query{paged: v.Has("page") || v.Get("pagination") == "true"}
	var err error
	if q.paged {
		if q.page, q.size, err = parsePage(v); err != nil {
			return q, err
		}
		if name := v.Get("name"); name != "" {
			if q.keep, err = nameFilter(name, v.Get("use_regex") == "true"); err != nil {
				return q, err
			}
		}
	}
	if s := v.Get("sort"); s != "" {
		q.sort = strings.Split(s, ".")
	}
	q.reverse = v.Get("sort_reverse") == "true"
	if s := v.Get("columns"); s != "" {
		for column := range strings.SplitSeq(s, ",") {
			q.columns = append(q.columns, strings.Split(strings.TrimSpace(column), "."))
		}
	}
	return q, nil
}

// parsePage reads the number of a page, from 1, and the size of pages.
func parsePage(v url.Values) (page, size int, err error) {
	page, size = 1, defaultPageSize
	for name, n := range map[string]*int{"page": &page, "page_size": &size} {
		if s := v.Get(name); s != "" {
			if *n, err = strconv.Atoi(s); err != nil {
				return 0, 0, errBadRequest("Pagination parameters are invalid")
			}
		}
	}
	if page < 1 || size < 1 || size > maxPageSize {
		return 0, 0, &failure{http.StatusBadRequest, "invalid_pagination_parameters",
			fmt.Sprintf("Invalid pagination parameters: page number %d, page size %d", page, size)}
	}
	return page, size, nil
}

// nameFilter matches a part of the name or a regular expression, in any case.
func nameFilter(name string, isRegexp bool) (func(string) bool, error) {
	if !isRegexp {
		part := strings.ToLower(name)
		return func(s string) bool { return strings.Contains(strings.ToLower(s), part) }, nil
	}
	re, err := regexp.Compile("(?i)" + name)
	if err != nil {
		return nil, errBadRequest("name: %v", err)
	}
	return re.MatchString, nil
}

// page is a part of a list.
type page struct {
	Total    int      `json:"total_count"`
	Items    int      `json:"item_count"`
	Filtered int      `json:"filtered_count"`
	Page     int      `json:"page"`
	Size     int      `json:"page_size"`
	Pages    int      `json:"page_count"`
	Objects  []object `json:"items"`
}

// list answers with items as the query parameters ask: filtered by name, sorted,
// cut to one page and to some columns.
func (c *call) list(items []object) error {
	return c.listEach(len(items), func(i int) object { return items[i] })
}

// listEach is list for n items that build makes. Where the query needs no others, only those of
// the page are built.
func (c *call) listEach(n int, build func(i int) object) error {
	q, err := parseQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	if q.needsPage() && q.keep == nil {
		return c.page(&q, n, n, func(from, to int) ([]object, error) { return buildAll(from, to, build), nil })
	}
	items := buildAll(0, n, build)
	if q.keep != nil {
		items = slices.DeleteFunc(items, func(o object) bool {
			name, _ := o["name"].(string)
			return !q.keep(name)
		})
	}
	q.order(items)
	if !q.paged {
		return c.ok(q.project(items))
	}
	return c.page(&q, n, len(items), func(from, to int) ([]object, error) { return items[from:to], nil })
}

func buildAll(from, to int, build func(i int) object) []object {
	items := make([]object, 0, to-from)
	for i := from; i < to; i++ {
		items = append(items, build(i))
	}
	return items
}

// needsPage tells whether a page is asked for that can be found without looking into the items.
func (q *query) needsPage() bool { return q.paged && q.sort == nil && !q.reverse }

// page answers with a page of n items, out of a total before filtering. build gives
// those of the page.
func (c *call) page(q *query, total, n int, build func(from, to int) ([]object, error)) error {
	p := page{Total: total, Filtered: n, Page: q.page, Size: q.size}
	p.Pages = max(1, (n+q.size-1)/q.size)
	if q.page > p.Pages {
		return &failure{http.StatusBadRequest, "page_out_of_range",
			fmt.Sprintf("Page out of range, page: %d page size: %d, len: %d", q.page, q.size, n)}
	}
	start := (q.page - 1) * q.size
	items, err := build(start, min(start+q.size, n))
	if err != nil {
		return err
	}
	p.Objects = q.project(items)
	p.Items = len(p.Objects)
	return c.ok(p)
}

func (q *query) order(items []object) {
	if q.sort != nil {
		slices.SortStableFunc(items, func(a, b object) int {
			x, _ := lookup(a, q.sort)
			y, _ := lookup(b, q.sort)
			return compare(x, y)
		})
	}
	if q.reverse {
		slices.Reverse(items)
	}
}

// project cuts objects to the columns. A list is never null.
func (q *query) project(items []object) []object {
	if items == nil {
		items = []object{}
	}
	if q.columns == nil {
		return items
	}
	cut := make([]object, len(items))
	for i, o := range items {
		cut[i] = object{}
		for _, path := range q.columns {
			if v, ok := lookup(o, path); ok {
				place(cut[i], path, v)
			}
		}
	}
	return cut
}

// one answers with a single object, cut to columns.
func (c *call) one(o object) error {
	q, err := parseQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	return c.ok(q.project([]object{o})[0])
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

func place(o object, path []string, v any) {
	for _, name := range path[:len(path)-1] {
		inner, ok := o[name].(object)
		if !ok {
			inner = object{}
			o[name] = inner
		}
		o = inner
	}
	o[path[len(path)-1]] = v
}

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
