package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cors answers what browsers ask before they let a page of another origin in, and true when that was all.
//
// Tokens are sent by the page itself, never by the browser on its own, so that "*" gives no page what its user has not
// given it.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	if allowed := s.origin(origin) || slices.Contains(s.o.Origins, "*"); allowed {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, X-Lanyard-Type, X-Lanyard-Mode, X-Lanyard-Uid, X-Lanyard-Gid")
		if preflight {
			h.Set("Access-Control-Allow-Methods", "HEAD, GET, POST, PUT, PATCH, DELETE")
			if headers := r.Header.Get("Access-Control-Request-Headers"); len(headers) < 1000 {
				h.Set("Access-Control-Allow-Headers", headers)
			}
			h.Set("Access-Control-Max-Age", "600")
		}
	}
	if preflight {
		w.WriteHeader(http.StatusNoContent)
	}
	return preflight
}

// origin says whether one is listed.
func (s *Server) origin(origin string) bool {
	return slices.ContainsFunc(s.o.Origins, func(o string) bool { return strings.EqualFold(strings.TrimRight(o, "/"), origin) })
}

// mayOpen says whether a page may open a websocket. Programs send no origin; pages of this host may, and those that are
// listed: "*" is not enough here.
func (s *Server) mayOpen(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" || s.origin(origin) {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return nil
	}
	return fail(codeOrigin, "", "")
}
