package management

import (
	"net/http/httptest"
	"testing"
)

// TestPageBuildsItself checks that a page costs its own items and no others, where the
// query does not need those.
func TestPageBuildsItself(t *testing.T) {
	a := newAPI(t)
	for query, want := range map[string]int{
		"page=3&page_size=10":                   10,
		"pagination=true":                       100,
		"page=100&page_size=10&columns=name":    10,
		"page=1&page_size=10&sort=name":         1000,
		"page=1&page_size=10&name=x":            1000,
		"page=1&page_size=10&sort_reverse=true": 1000,
		"":                                      1000,
		"page=101&page_size=10":                 0,
	} {
		s := &server{cfg: Config{Broker: a.broker}}
		c := &call{server: s, w: httptest.NewRecorder(), r: httptest.NewRequest("GET", "/api/things?"+query, nil)}
		built := 0
		err := c.listEach(1000, func(int) object { built++; return object{"name": "x"} })
		if built != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d items built, want %d; %v", query, built, want, err)
		}
	}
}
