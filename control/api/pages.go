package api

import (
	_ "embed"
	"net/http"

	"github.com/swaggest/swgui/v5emb"
)

// Document is openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte

// pages are what is served beside the operations.
func (s *Server) pages() {
	s.mux.HandleFunc("GET /static/api.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(Document)
	})
	// Whether this process answers, and nothing else: when LXD or the accounts are away, restarting it would not help.
	s.mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s.mux.Handle("GET /swagger", http.RedirectHandler("/swagger/", http.StatusMovedPermanently))
	ui := v5emb.New("Lanyard", "/static/api.yaml", "/swagger/")
	s.mux.HandleFunc("GET /swagger/", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
		ui.ServeHTTP(w, r)
	})
}
