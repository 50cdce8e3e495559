package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

// read answers with what get finds out about a member's webspace.
func (s *Server) read(w http.ResponseWriter, r *http.Request, username string, get func(ctx context.Context, who account.Identity) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), s.o.ReadTime)
	defer cancel()
	who, err := s.target(ctx, username)
	var body any
	if err == nil {
		body, err = get(ctx, who)
	}
	if err != nil {
		s.problem(w, r, err)
		return
	}
	reply(w, http.StatusOK, body)
}

// change is one that a member asks for.
type change struct {
	action string // for the audit log, e.g. "port.add"
	about  []slog.Attr
	limit  time.Duration // 0: WriteTime
	do     func(ctx context.Context, who account.Identity) error
}

// change makes one, writes it to the audit log, and answers when it failed. Once begun it is finished, whatever becomes
// of the client, and is ended only by its limit or with the server.
func (s *Server) change(w http.ResponseWriter, r *http.Request, username string, c change) (ok bool) {
	who, err := s.target(r.Context(), username)
	if err != nil {
		s.audit(r, c.action, username, account.Identity{UID: -1}, c.about, err)
		s.problem(w, r, err)
		return false
	}
	if c.limit == 0 {
		c.limit = s.o.WriteTime
	}
	ctx, done := s.begun(r.Context(), c.limit)
	defer done()
	err = c.do(ctx, who)
	s.audit(r, c.action, username, who, c.about, err)
	if err != nil {
		s.problem(w, r, err)
		return false
	}
	return true
}

// begun is the context of a change: the request's values, but not its end.
func (s *Server) begun(of context.Context, limit time.Duration) (ctx context.Context, done func()) {
	s.work.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(of), limit)
	stop := context.AfterFunc(s.background, cancel)
	return ctx, func() { stop(); cancel(); s.work.Done() }
}

// audit writes who changed what, when (the line's own time), and from where. Nothing secret is ever among about.
func (s *Server) audit(r *http.Request, action, username string, who account.Identity, about []slog.Attr, err error) {
	c := callOf(r.Context())
	attrs := []slog.Attr{slog.String("action", action), slog.Int("by_uid", c.caller.UID), slog.String("by", c.caller.Username),
		slog.Bool("by_admin", c.caller.Admin), slog.String("from", c.from()), slog.String("asked_for", clip(username, 100)), slog.String("request", c.id)}
	if who.UID >= 0 {
		attrs = append(attrs, slog.Int("uid", who.UID))
	}
	attrs = append(attrs, about...)
	outcome := "done"
	if err != nil {
		outcome = explain(err).code.Name
	}
	attrs = append(attrs, slog.String("outcome", outcome))
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "audit", attrs...)
}

// decode reads a JSON body strictly: one value, and no field that does not exist.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	bad := func(cause string, err error) error { return &failure{code: codeBody, cause: cause, err: err} }
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	text, err := io.ReadAll(r.Body)
	// Cleared again: net/http goes on reading, to notice a client that goes away.
	_ = control.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case err != nil:
		return bad("it did not arrive", err)
	case len(bytes.TrimSpace(text)) == 0:
		return bad("it is empty", nil)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return bad(clean(err.Error()), nil)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return bad("there is something behind it", nil)
	}
	return nil
}

// badParameter is what the generated code finds wrong with a path or a query.
func badParameter(r *http.Request, err error) error {
	if route := callOf(r.Context()).route; isPortRoute(route) {
		return fail(codeBadPort, "", "")
	}
	return fail(codeInvalid, "", clean(err.Error()))
}
