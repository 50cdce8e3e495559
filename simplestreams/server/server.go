package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/library"
)

// Options of a Server. The zero value of each has a default.
type Options struct {
	Library *library.Library
	// PullThrough: files come through the cache of this server. Else clients are sent to where everybody may fetch them; what
	// nobody else may fetch comes through all the same.
	PullThrough bool
	// VerifyFirst: not even the first byte of a file is sent before all of it is verified. Else a client gets bytes as they
	// come, but the last 64 KiB only of a verified file.
	VerifyFirst bool
	Streams     int           // files that are sent at a time; default 256
	Patience    time.Duration // with a catalogue that is made for the first time; default 2 min
	Slow        time.Duration // a client that takes no byte for so long is let go; default 2 min
	Log         *slog.Logger  // access log, at level info
}

// Server is an http.Handler.
type Server struct {
	o       Options
	streams chan struct{}
	metrics *requestMetrics
}

// New makes a Server.
func New(o Options) *Server {
	o.Streams = cmp.Or(max(o.Streams, 0), 256)
	o.Patience = cmp.Or(max(o.Patience, 0), 2*time.Minute)
	o.Slow = cmp.Or(max(o.Slow, 0), 2*time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o, streams: make(chan struct{}, o.Streams), metrics: newRequestMetrics()}
}

// HTTP is a server around it with limits for what strangers send. Bodies of requests are never read; a ReadTimeout would cut
// long answers off. What strangers do to connections is no news (LXD itself tries http on the port of https first): debug.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := time.Now()
	rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w), slow: s.o.Slow, head: req.Method == http.MethodHead}
	kind := "other"
	defer func() {
		aborted := recover()
		s.metrics.observe(kind, rec, time.Since(began))
		s.access(req, rec, kind, time.Since(began), aborted != nil)
		if aborted != nil {
			panic(aborted)
		}
	}()
	rec.Header().Set("X-Content-Type-Options", "nosniff")
	where, err := parsePath(req.URL)
	if err == nil {
		kind = where.kind
		if kind == kindHealth {
			rec.WriteHeader(http.StatusNoContent)
			return
		}
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			rec.Header().Set("Allow", "GET, HEAD")
			writeProblem(rec, http.StatusMethodNotAllowed, &simplestreams.Problem{What: "this is read only", Cause: "the method is neither GET nor HEAD"})
			return
		}
		err = s.serve(rec, req, where)
	}
	if err != nil {
		if rec.status != 0 { // the answer has begun: only breaking it off tells the client
			panic(http.ErrAbortHandler)
		}
		fail(rec, err)
	}
}

func (s *Server) serve(w *recorder, req *http.Request, where place) error {
	ctx, cancel := context.WithTimeout(req.Context(), s.o.Patience)
	view, err := s.o.Library.Get(ctx, where.repo)
	cancel()
	if err != nil {
		return err
	}
	switch where.kind {
	case kindIndex:
		return s.document(w, req, view, view.Index)
	case kindImages:
		return s.document(w, req, view, view.Images)
	case kindDirect:
		return s.direct(w, req, where, view)
	}
	image, file := view.Catalog.Find(where.rest)
	if file == nil {
		return &simplestreams.Problem{What: "there is no such file", Cause: "the release is gone, or older than those that are offered", Next: "read streams/v1/images.json again", Kind: simplestreams.ErrNotFound}
	}
	return s.file(w, req, where.repo, image, file)
}

// fail answers with an error.
func fail(w *recorder, err error) {
	var p *simplestreams.Problem
	if !errors.As(err, &p) {
		p = &simplestreams.Problem{What: "the server has failed", Cause: err.Error()}
	}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, simplestreams.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, simplestreams.ErrForbidden):
		status = http.StatusForbidden
	case errors.Is(err, simplestreams.ErrInvalid):
		status = http.StatusNotFound // what cannot be named is not there
	case errors.Is(err, simplestreams.ErrLimited):
		status = http.StatusTooManyRequests
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(err, simplestreams.ErrUpstream):
		status = http.StatusGatewayTimeout
	case errors.Is(err, simplestreams.ErrUpstream), errors.Is(err, simplestreams.ErrCorrupt):
		status = http.StatusBadGateway
	case errors.Is(err, simplestreams.ErrBusy):
		status = http.StatusServiceUnavailable
	}
	writeProblem(w, status, p)
}
