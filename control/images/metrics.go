package images

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// metrics are what happens between requests of clients. No name of a repository is a label: anybody could make many.
type metrics struct {
	upstreams *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	seconds   prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{
		upstreams: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lanyard_images_upstream_requests_total", Help: "Requests to GitHub, by kind (api: counts for its rate limit; download) and status of the answer (0: none came)."}, []string{"kind", "code"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lanyard_images_refreshes_total", Help: "Catalogues that were made anew, by outcome (ok, failed)."}, []string{"outcome"}),
		seconds:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lanyard_images_refresh_seconds", Help: "How long that took.", Buckets: []float64{.01, .1, 1, 10, 60, 600}}),
	}
}

func (m *metrics) upstream(kind string, status int) {
	m.upstreams.WithLabelValues(kind, strconv.Itoa(status)).Inc()
}

// Refreshed is of library.Observer.
func (m *metrics) Refreshed(_ simplestreams.Repo, took time.Duration, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.refreshes.WithLabelValues(outcome).Inc()
	m.seconds.Observe(took.Seconds())
}

// gauges are read when Prometheus asks.
var gauges = []struct {
	name, help string
	value      func(r *role, s state) (float64, bool)
}{
	{"lanyard_images_cache_bytes", "Size of the files in the cache.", func(_ *role, s state) (float64, bool) { return float64(s.bytes), true }},
	{"lanyard_images_cache_max_bytes", "Bound of that.", func(r *role, _ state) (float64, bool) { return float64(r.store.Max()), true }},
	{"lanyard_images_cache_files", "Files in the cache.", func(_ *role, s state) (float64, bool) { return float64(s.files), true }},
	{"lanyard_images_repositories", "Repositories that were asked for.", func(_ *role, s state) (float64, bool) { return float64(s.repos), true }},
	{"lanyard_images_repositories_failing", "Those whose last refresh failed: what was last known is served.", func(_ *role, s state) (float64, bool) { return float64(s.failing), true }},
	{"lanyard_images_offered", "Versions of images that are offered, of each architecture.", func(_ *role, s state) (float64, bool) { return float64(s.offered), true }},
	{"lanyard_images_skipped", "Those that are left out because something is wrong with them: lanyard images verify says what.", func(_ *role, s state) (float64, bool) { return float64(s.skipped), true }},
	{"lanyard_images_oldest_seconds", "For how long the source of a repository that is in use was not asked with success, at most.", func(_ *role, s state) (float64, bool) { return s.oldest.Seconds(), true }},
	{"lanyard_images_github_remaining", "Requests that GitHub's rate limit leaves; absent until it is known.", func(r *role, _ state) (float64, bool) {
		l := r.github.Limit()
		return float64(l.Remaining), l.Known
	}},
}

// state is what the gauges are of.
type state struct {
	bytes                                   int64
	files, repos, failing, offered, skipped int
	oldest                                  time.Duration
}

func (r *role) state() (s state) {
	s.bytes, s.files = r.store.Usage()
	for _, st := range r.library.Status() {
		s.repos++
		if st.Err != nil {
			s.failing++
		}
		if st.View == nil {
			continue
		}
		s.offered += len(st.View.Catalog.Images)
		for _, k := range st.View.Catalog.Skipped {
			if !k.Old {
				s.skipped++
			}
		}
		if !st.Tried.IsZero() { // in use since this process began
			s.oldest = max(s.oldest, time.Since(st.View.Catalog.Listed))
		}
	}
	return s
}

type collector struct{ r *role }

func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.r.state()
	for _, g := range gauges {
		if v, ok := g.value(c.r, s); ok {
			ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.name, g.help, nil, nil), prometheus.GaugeValue, v)
		}
	}
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("lanyard_build_info", "Always 1; the version of the daemon.", []string{"version"}, nil), prometheus.GaugeValue, 1, c.r.version)
}

// metricsServer serves /metrics, /healthz (the process lives) and /readyz (it serves; GitHub has no part in that).
func (r *role) metricsServer() *http.Server {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{r}, r.metrics.upstreams, r.metrics.refreshes, r.metrics.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(r.server.Metrics()...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 20 * time.Second}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := r.state()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": true, "repositories": s.repos, "failing": s.failing, "offered": s.offered, "skipped": s.skipped, "oldestSeconds": int(s.oldest.Seconds())})
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
}
