package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

// call is what is known about a request on its way.
type call struct {
	id     string
	peer   netip.Addr // of the client; the zero address on the unix socket
	route  string     // the pattern that matched, e.g. "GET /v1/webspace/{username}"
	caller account.Identity
	token  string // verified, for Logout only
	local  bool   // came through the unix socket
	code   string // of the failure that was answered
}

type callKey struct{}
type localKey struct{}

// callOf a request; never nil.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// public routes need no token. A test compares them, and the admins' ones, with the document.
var (
	public = map[string]bool{"GET /v1/images": true, "POST /v1/users/{username}/login": true,
		"/health": true, "GET /swagger/": true, "GET /swagger": true, "GET /static/api.yaml": true}
	adminsOnly = map[string]bool{"GET /v1/webspaces": true, "POST /v1/internal/{username}/ensure-started": true}
	// streaming routes have a body or an answer whose time cannot be bounded as a whole.
	streaming = map[string]bool{"GET /v1/webspace/{username}/exec": true, "GET /v1/webspace/{username}/console": true,
		"GET /v1/webspace/{username}/events": true, "GET /v1/webspace/{username}/files": true, "PUT /v1/webspace/{username}/files": true}
)

const (
	maxBody     = 64 << 10         // bytes, of JSON
	bodyTime    = 30 * time.Second // until a JSON body must be here
	answerTime  = 60 * time.Second // until an answer must be taken
	maxURL      = 8 << 10          // bytes
	streamChunk = 2 * time.Minute  // until the next piece of a file must have moved
)

// chain is what every request goes through.
func (s *Server) chain() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{id: newID(), peer: s.peer(r), local: r.Context().Value(localKey{}) != nil}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		out := &answer{ResponseWriter: w}
		began := time.Now()
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log.Error("a request made the API panic", "request", c.id, "route", c.route, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if out.status == 0 {
					s.problem(out, r, fail(codeInternal, "", ""))
				}
			}
			s.access(r, c, out, time.Since(began))
		}()
		h := out.Header()
		h.Set("X-Request-Id", c.id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if strings.HasPrefix(r.URL.Path, "/internal/") { // where the seed system has it
			u := *r.URL
			u.Path, u.RawPath = base+u.Path, ""
			r.URL = &u
		}
		if s.cors(out, r) {
			return
		}
		if err := s.admit(out, r, c); err != nil {
			s.problem(out, r, err)
			return
		}
		if !streaming[c.route] {
			r.Body = http.MaxBytesReader(out, r.Body, maxBody)
			// The answer's own limit, whatever it waits for, is its context's.
			out.limit = answerTime
		}
		s.mux.ServeHTTP(out, r)
	})
}

// admit finds the route, and says whether this caller may use it now.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, c *call) error {
	if len(r.URL.RequestURI()) > maxURL {
		return fail(codeInvalid, "", "the address is too long")
	}
	if r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") {
		return fail(codeEndpoint, "", "")
	}
	_, c.route = s.mux.Handler(r)
	if c.route == "" {
		allowed := s.methods(r)
		if len(allowed) == 0 {
			return fail(codeEndpoint, "", "")
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return fail(codeMethod, "", "")
	}
	if c.route == "/health" {
		return nil
	}
	if !c.local {
		if wait := s.limits.address(c.peer); wait > 0 {
			return &failure{code: codeRate, after: wait}
		}
	}
	if public[c.route] {
		return nil
	}
	if err := s.authenticate(r, c); err != nil {
		return err
	}
	if !c.local {
		if wait := s.limits.user(c.caller.UID); wait > 0 {
			return &failure{code: codeRate, after: wait}
		}
	}
	if adminsOnly[c.route] && !c.caller.Admin {
		return fail(codeAdmin, "", "")
	}
	return nil
}

// methods of a path that has none for the request's.
func (s *Server) methods(r *http.Request) []string {
	var found []string
	for _, m := range []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, route := s.mux.Handler(other); route != "" {
			found = append(found, m)
		}
	}
	return found
}

// access writes the access log: what was asked and how it ended, never what was in it.
func (s *Server) access(r *http.Request, c *call, out *answer, took time.Duration) {
	level := slog.LevelInfo
	if c.route == "/health" {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("request", c.id), slog.String("method", clip(r.Method, 16)), slog.String("path", clip(r.URL.Path, 300)),
		slog.Int("status", out.code()), slog.Int64("bytes", out.bytes), slog.Duration("took", took.Round(time.Microsecond)),
		slog.String("from", c.from())}
	if c.caller.Username != "" {
		attrs = append(attrs, slog.Int("uid", c.caller.UID), slog.String("user", c.caller.Username))
	}
	if c.code != "" {
		attrs = append(attrs, slog.String("code", c.code))
	}
	if agent := r.UserAgent(); agent != "" {
		attrs = append(attrs, slog.String("agent", clip(agent, 100)))
	}
	s.log.LogAttrs(r.Context(), level, "access", attrs...)
}

func (c *call) from() string {
	if c.local {
		return "unix socket"
	}
	return c.peer.String()
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func clip(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "?")
}
