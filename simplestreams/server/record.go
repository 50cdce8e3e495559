package server

import (
	"log/slog"
	"net/http"
	"time"
)

// recorder notes what was answered, and lets go of a client that takes nothing.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	slow    time.Duration
	status  int
	bytes   int64
	head    bool
	extend  time.Time // the deadline is moved on after
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.deadline()
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.deadline()
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

func (r *recorder) deadline() {
	if now := time.Now(); now.After(r.extend) {
		_ = r.control.SetWriteDeadline(now.Add(r.slow))
		r.extend = now.Add(r.slow / 4)
	}
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// access writes a line of the access log. What a client sent is quoted by the log's handler.
func (s *Server) access(req *http.Request, r *recorder, kind string, took time.Duration, aborted bool) {
	level := slog.LevelInfo
	if kind == kindHealth {
		level = slog.LevelDebug
	}
	s.o.Log.Log(req.Context(), level, "request", "client", req.RemoteAddr, "method", short(req.Method), "path", short(req.URL.EscapedPath()), "kind", kind,
		"status", r.status, "bytes", r.bytes, "took", took, "agent", short(req.UserAgent()), "aborted", aborted)
}

func short(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
