package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/library"
)

// document sends a JSON text with its validator.
func (s *Server) document(w *recorder, req *http.Request, v *library.View, d library.Document) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	h.Set("Last-Modified", v.Catalog.Built.Format(http.TimeFormat))
	// Since when this has not been compared with the source. Clients ignore it; people and proxies do not.
	h.Set("Age", strconv.Itoa(int(max(time.Since(v.Catalog.Listed), 0).Seconds())))
	body, tag := d.Plain, d.ETag
	if acceptsGzip(req) && len(d.Zipped) < len(d.Plain) {
		h.Set("Content-Encoding", "gzip")
		body, tag = d.Zipped, strings.TrimSuffix(d.ETag, `"`)+`-gzip"`
	}
	h.Set("ETag", tag)
	if matchesTag(req, tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if req.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(body)
	return err
}

func acceptsGzip(req *http.Request) bool {
	for part := range strings.SplitSeq(req.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(name) == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

func matchesTag(req *http.Request, tag string) bool {
	for part := range strings.SplitSeq(req.Header.Get("If-None-Match"), ",") {
		if part = strings.TrimPrefix(strings.TrimSpace(part), "W/"); part == tag || part == "*" {
			return true
		}
	}
	return false
}

// problem is RFC 9457, with the "message" that the seed's clients read.
type problem struct {
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail,omitempty"`
	Next    string `json:"next,omitempty"`
	Message string `json:"message"`
}

func writeProblem(w *recorder, status int, p *simplestreams.Problem) {
	detail := p.Cause
	if detail == "" && p.Err != nil {
		detail = p.Err.Error()
	}
	body, _ := json.Marshal(problem{Title: p.What, Status: status, Detail: detail, Next: p.Next, Message: p.Error()})
	h := w.Header()
	for _, k := range []string{"ETag", "Content-Length", "Content-Encoding", "Content-Disposition", "Accept-Ranges", "Last-Modified", "Age"} {
		h.Del(k)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if p.Retry > 0 {
		h.Set("Retry-After", fmt.Sprint(int((p.Retry+time.Second-1)/time.Second)))
	}
	w.WriteHeader(status)
	if !w.head {
		_, _ = w.Write(body)
	}
}
