package management

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics serves what Prometheus scrapes, with the paths and names of RabbitMQ's plugin
// (https://www.rabbitmq.com/docs/prometheus), to everybody who reaches it:
//
//	/metrics             sums: a few hundred series, whatever there is in the broker
//	/metrics/per-object  with a series for each queue, connection and channel
//	/metrics/memory-breakdown  what the memory of the node is used for
//	/metrics/detailed    the families that are asked for, of the vhosts and queues that are
//
// Of what all nodes know, such as queues, only the leader tells: sums over all nodes are right.
func (s *Server) Metrics() http.Handler {
	mux := http.NewServeMux()
	for path, serve := range s.metrics.handlers() {
		mux.Handle("GET "+path, serve)
	}
	return mux
}

// metrics makes the answers to Prometheus.
type metrics struct {
	server *server
	others []prometheus.Collector // of the node
}

func (m *metrics) handlers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/metrics":            m.serveSums,
		"/metrics/per-object": m.servePerObject,
		"/metrics/detailed":   m.serveDetailed,
		memoryPath:            m.serveMemory,
	}
}

// register adds the metrics to the HTTP API's own port. The names of queues and clients need a login there.
func (m *metrics) register(mux *http.ServeMux) {
	for path, serve := range m.handlers() {
		if path == "/metrics" || path == memoryPath {
			mux.HandleFunc("GET "+path, serve)
			continue
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			c := &call{server: m.server, w: w, r: r}
			err := c.login()
			if err == nil {
				err = monitors(c)
			}
			if err != nil {
				c.fail(err)
				return
			}
			serve(w, r)
		})
	}
}

func (m *metrics) serveSums(w http.ResponseWriter, r *http.Request) {
	m.serve(w, r, &scrape{endpoint: "aggregated", prefix: "rabbitmq_", families: sumFamilies}, m.others)
}

func (m *metrics) servePerObject(w http.ResponseWriter, r *http.Request) {
	m.serve(w, r, &scrape{
		endpoint: "per-object", prefix: "rabbitmq_", families: slices.Concat(objectFamilies, nodeFamilies, globalFamilies),
	}, m.others)
}

func (m *metrics) serveMemory(w http.ResponseWriter, r *http.Request) {
	m.serve(w, r, &scrape{endpoint: "memory-breakdown", prefix: "rabbitmq_", families: []family{memoryFamily}}, nil)
}

func (m *metrics) serveDetailed(w http.ResponseWriter, r *http.Request) {
	s := &scrape{endpoint: "detailed", prefix: "rabbitmq_detailed_"}
	asked := r.URL.Query()
	for _, name := range asked["family"] {
		f, ok := detailedFamilies[name]
		if !ok {
			http.Error(w, fmt.Sprintf("there is no family %q", name), http.StatusBadRequest)
			return
		}
		s.families = append(s.families, f)
	}
	s.filter(asked)
	m.serve(w, r, s, nil)
}

func (m *metrics) serve(w http.ResponseWriter, r *http.Request, s *scrape, others []prometheus.Collector) {
	s.call = &call{server: m.server, w: w, r: r}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	registry.MustRegister(others...)
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: promLog{m.server}}).ServeHTTP(w, r)
}

// promLog logs what promhttp cannot tell the client.
type promLog struct{ *server }

func (l promLog) Println(v ...any) { l.log.Error("metrics", "err", fmt.Sprint(v...)) }

// A scrape is one request of Prometheus.
type scrape struct {
	*call
	endpoint string
	prefix   string
	families []family
	vhosts   []string // nil: all
	queues   []string // nil: all

	connections []Connection // of this node

	out   chan<- prometheus.Metric
	descs map[string]*prometheus.Desc
}

// A family is some metrics that belong together.
type family func(*scrape)

func (s *scrape) filter(asked url.Values) {
	s.vhosts, s.queues = asked["vhost"], asked["queue"]
}

// wants reports whether an object is among those that are asked for.
func (s *scrape) wants(vhost, queue string) bool {
	return (s.vhosts == nil || slices.Contains(s.vhosts, vhost)) && (s.queues == nil || slices.Contains(s.queues, queue))
}

// Describe makes the scrape a prometheus.Collector that does not say in advance what there will be.
func (s *scrape) Describe(chan<- *prometheus.Desc) {}

// Collect makes the metrics.
func (s *scrape) Collect(out chan<- prometheus.Metric) {
	s.out, s.descs = out, make(map[string]*prometheus.Desc)
	identity(s)
	for _, f := range s.families {
		f(s)
	}
}

// gauge and counter make a metric; labels are names and values in turn.
func (s *scrape) gauge(name, help string, v float64, labels ...string) {
	s.put(s.prefix+name, help, prometheus.GaugeValue, v, labels)
}

func (s *scrape) counter(name, help string, v uint64, labels ...string) {
	s.put(s.prefix+name, help, prometheus.CounterValue, float64(v), labels)
}

func (s *scrape) put(name, help string, kind prometheus.ValueType, v float64, labels []string) {
	names, values := make([]string, 0, len(labels)/2), make([]string, 0, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	desc := s.descs[name]
	if desc == nil {
		desc = prometheus.NewDesc(name, help, names, nil)
		s.descs[name] = desc
	}
	metric, err := prometheus.NewConstMetric(desc, kind, v, values...)
	if err != nil { // a name that is no UTF-8
		metric = prometheus.NewInvalidMetric(desc, err)
	}
	s.out <- metric
}
