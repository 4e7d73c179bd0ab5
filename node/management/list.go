package management

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"warren/fsm"
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
	columns    columns // nil: all
}

func parseQuery(v url.Values) (query, error) {
	q := query{paged: v.Has("page") || v.Get("pagination") == "true"}
	var err error
	if q.page, q.size, err = parsePage(v); err != nil {
		return q, err
	}
	if q.paged {
		if err := checkPage(q.page, q.size); err != nil {
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
	q.columns = parseColumns(v.Get("columns"))
	return q, nil
}

// parsePage reads the number of a page, from 1, and the size of pages.
func parsePage(v url.Values) (page, size int, err error) {
	page, size = 1, defaultPageSize
	for name, n := range map[string]*int{"page": &page, "page_size": &size} {
		if v.Has(name) {
			if *n, err = strconv.Atoi(v.Get(name)); err != nil {
				return 0, 0, errBadRequest("Pagination parameters are invalid")
			}
		}
	}
	return page, size, nil
}

func checkPage(page, size int) error {
	if page >= 1 && size >= 1 && size <= maxPageSize {
		return nil
	}
	return &failure{http.StatusBadRequest, "invalid_pagination_parameters",
		fmt.Sprintf("Invalid pagination parameters: page number %d, page size %d", page, size)}
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

// A source is a list that is not built yet, in its order by default. Of very many items only those of
// the page that is asked for are built, where the query needs no others.
type source struct {
	n int
	// name is what items are filtered by; nil: the field of that name, for which they are built.
	name func(i int) string
	// key returns the field of an item that the list is to be sorted by, when that can be had
	// without building it. It is asked for all items or none. nil: it cannot.
	key func(path []string) func(i int) any
	// build describes items. One that has gone meanwhile is nil.
	build func(which []int) ([]object, error)
}

// keysOf is the key of a source that has some fields at hand, by their names.
func keysOf(at map[string]func(i int) any) func(path []string) func(i int) any {
	return func(path []string) func(i int) any { return at[strings.Join(path, ".")] }
}

// list answers with items as the query parameters ask: filtered by name, sorted,
// cut to one page and to some columns.
func (c *call) list(items []object) error {
	return c.listEach(len(items), func(i int) object { return items[i] })
}

// listEach is list for n items that build makes one by one.
func (c *call) listEach(n int, build func(i int) object) error {
	return c.listFrom(source{n: n, build: eachOf(build)})
}

// eachOf is the build of a source whose items are built one by one.
func eachOf(build func(i int) object) func([]int) ([]object, error) {
	return func(which []int) ([]object, error) {
		items := make([]object, len(which))
		for k, i := range which {
			items[k] = build(i)
		}
		return items, nil
	}
}

// listFrom is list for a source.
func (c *call) listFrom(s source) error {
	q, err := parseQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	total := s.n
	which, err := q.arrange(&s)
	if err != nil {
		return err
	}
	if !q.paged {
		return c.wholeList(&q, &s, which)
	}
	return c.page(&q, &s, total, which)
}

// arrange returns the items that the query asks for, in its order. If that needs the items, they are
// built, and the source gives them from then on.
func (q *query) arrange(s *source) ([]int, error) {
	which := make([]int, s.n)
	for i := range which {
		which[i] = i
	}
	if q.keep != nil {
		if s.name == nil {
			if err := s.buildAll(which); err != nil {
				return nil, err
			}
			s.name = func(i int) string {
				name, _ := s.field(i, []string{"name"}).(string)
				return name
			}
		}
		which = slices.DeleteFunc(which, func(i int) bool { return !q.keep(s.name(i)) })
	}
	if q.sort != nil {
		if err := s.sort(which, q.sort); err != nil {
			return nil, err
		}
	}
	if q.reverse {
		slices.Reverse(which)
	}
	return which, nil
}

// sort sorts items by a field.
func (s *source) sort(which []int, path []string) error {
	var key func(i int) any
	if s.key != nil {
		key = s.key(path)
	}
	if key == nil {
		if err := s.buildAll(which); err != nil {
			return err
		}
		key = func(i int) any { return s.field(i, path) }
	}
	keys := make([]any, s.n)
	for _, i := range which {
		keys[i] = key(i)
	}
	slices.SortStableFunc(which, func(a, b int) int { return compare(keys[a], keys[b]) })
	return nil
}

// buildAll builds items now, for a query that needs to look into all of them.
func (s *source) buildAll(which []int) error {
	items, err := s.build(which)
	if err != nil {
		return err
	}
	built := make([]object, s.n)
	for k, i := range which {
		built[i] = items[k]
	}
	s.build = eachOf(func(i int) object { return built[i] })
	return nil
}

// field returns a field of an item that is built.
func (s *source) field(i int, path []string) any {
	item, err := s.build([]int{i})
	if err != nil || item[0] == nil {
		return nil
	}
	v, _ := lookup(item[0], path)
	return v
}

// page answers with a page of the items, out of a total before filtering.
func (c *call) page(q *query, s *source, total int, which []int) error {
	n := len(which)
	if q.page-1 > n/q.size {
		return &failure{http.StatusBadRequest, "page_out_of_range",
			fmt.Sprintf("Page out of range, page: %d page size: %d, len: %d", q.page, q.size, n)}
	}
	start := (q.page - 1) * q.size
	items, err := s.build(which[start:min(start+q.size, n)])
	if err != nil {
		return err
	}
	p := page{Total: total, Filtered: n, Page: q.page, Size: q.size, Pages: (n + q.size - 1) / q.size}
	p.Objects = q.project(items)
	p.Items = len(p.Objects)
	return c.ok(p)
}

// project takes out what has gone, and cuts the others to the columns. A list is never null.
func (q *query) project(items []object) []object {
	cut := make([]object, 0, len(items))
	for _, o := range items {
		if o != nil {
			cut = append(cut, q.columns.cut(o))
		}
	}
	return cut
}

// one answers with a single object, cut to columns.
func (c *call) one(o object) error {
	return c.ok(parseColumns(c.r.URL.Query().Get("columns")).cut(o))
}

// viewChunk is how many objects are read of the machine at once: it stands still meanwhile.
const viewChunk = 256

// A viewer calls f with the state machine under its lock.
type viewer func(f func(m *fsm.Machine))

// each calls f for 0 to n-1 with the machine under its lock, which is let go now and then.
func (v viewer) each(n int, f func(m *fsm.Machine, i int)) {
	for from := 0; from < n; from += viewChunk {
		v(func(m *fsm.Machine) {
			for i := from; i < min(from+viewChunk, n); i++ {
				f(m, i)
			}
		})
	}
}

func (c *call) viewEach(n int, f func(m *fsm.Machine, i int)) { viewer(c.view).each(n, f) }
