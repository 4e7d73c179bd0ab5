package management

import (
	"net/http"
	"net/url"
	"strings"
)

// A route is a resource and a method. A pattern is a path below /api without
// slashes at its ends; "{name}" stands for one segment.
type route struct {
	method  string
	pattern []string
	serve   func(*call) error
	look    bool // it can be had from a node that is not up to date: see onlyLook
	open    bool // it needs no login
}

func handle(method, pattern string, serve func(*call) error) route {
	return route{method: method, pattern: strings.Split(pattern, "/"), serve: serve}
}

// look is a resource that says what the node itself is and waits for.
func look(pattern string, serve func(*call) error) route {
	r := handle(http.MethodGet, pattern, serve)
	r.look = true
	return r
}

// open is a resource that tells of the node itself to everybody, as RabbitMQ's does.
func open(pattern string, serve func(*call) error) route {
	r := look(pattern, serve)
	r.open = true
	return r
}

// split cuts an escaped path at its slashes and then unescapes each segment. A
// vhost "/" is sent as "%2F" and has to stay one segment; net/http's ServeMux
// does not route such a segment to a wildcard. A slash at the end is passed over.
func split(escapedPath string) ([]string, error) {
	segments := strings.Split(strings.Trim(escapedPath, "/"), "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return nil, err
		}
		segments[i] = plain
	}
	return segments, nil
}

// find returns the route for a path and its parameters, or the methods that the
// path allows when the method is none of them. GET serves HEAD too. Of two routes that fit
// ("queues/{vhost}" and "queues/detailed") the one with fewer parameters is meant.
func find(routes []route, method string, path []string) (rt *route, params map[string]string, allowed string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var methods []string
	for i := range routes {
		p, ok := match(routes[i].pattern, path)
		if !ok {
			continue
		}
		if routes[i].method == method && (rt == nil || len(p) < len(params)) {
			rt, params = &routes[i], p
		}
		methods = append(methods, routes[i].method)
	}
	if rt != nil || len(methods) == 0 {
		return rt, params, ""
	}
	return nil, nil, strings.Join(append(methods, http.MethodOptions), ", ")
}

func match(pattern, path []string) (map[string]string, bool) {
	if len(pattern) != len(path) {
		return nil, false
	}
	params := make(map[string]string)
	for i, p := range pattern {
		if name, ok := strings.CutPrefix(p, "{"); ok {
			params[strings.TrimSuffix(name, "}")] = path[i]
		} else if p != path[i] {
			return nil, false
		}
	}
	return params, true
}
