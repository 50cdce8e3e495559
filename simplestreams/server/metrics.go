package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestMetrics count what was asked and answered.
type requestMetrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newRequestMetrics() *requestMetrics {
	return &requestMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lanyard_images_requests_total", Help: "Requests of clients, by what was asked (index, images, file, direct, health, other) and the status of the answer."}, []string{"kind", "code"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lanyard_images_sent_bytes_total", Help: "Bytes of answers, without headers."}, []string{"kind"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lanyard_images_request_seconds", Help: "How long answers took.",
			Buckets: []float64{.001, .01, .1, 1, 10, 60, 600}}, []string{"kind"}),
	}
}

// Metrics are the collectors of this server.
func (s *Server) Metrics() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.requests, s.metrics.bytes, s.metrics.seconds}
}

func (m *requestMetrics) observe(kind string, r *recorder, took time.Duration) {
	m.requests.WithLabelValues(kind, strconv.Itoa(r.status)).Inc()
	m.bytes.WithLabelValues(kind).Add(float64(r.bytes))
	m.seconds.WithLabelValues(kind).Observe(took.Seconds())
}
