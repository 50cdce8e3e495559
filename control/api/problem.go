package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// Code is the stable name of a kind of failure. It is the same in the API, in the CLI and on the page about errors.
type Code struct {
	Name   string
	Status int
	Title  string
	Next   string // what the caller can do
}

// The codes. Their statuses are the seed system's where it had the case, so that its clients show the message; its
// faults (500 for a user that does not exist, and the like) are not kept. LXD out of reach is 500 as it was there.
var (
	codeTokenMissing  = Code{"token-missing", 401, "token required for this endpoint", "log in, and send the token: Authorization: Bearer <token>"}
	codeTokenInvalid  = Code{"token-invalid", 401, "the token is not accepted", "log in again"}
	codeTokenExpired  = Code{"token-expired", 403, "your token has expired", "log in again"}
	codeTokenRevoked  = Code{"token-revoked", 403, "your token was revoked", "log in again"}
	codePassword      = Code{"password-wrong", 401, "incorrect password", "check the name and the password"}
	codeAdmin         = Code{"admin-required", 401, "only admin users can make use of this endpoint", "ask an admin"}
	codeForeign       = Code{"not-yours", 403, "only admin users can make use of this endpoint", "use self, or ask an admin"}
	codeOrigin        = Code{"origin-refused", 403, "this page may not open a websocket here", "let the admin add its origin to api.origins"}
	codeNotFound      = Code{"not-found", 404, "not found", "look at what there is"}
	codeUser          = Code{"user-not-found", 404, "user does not exist", "check the name"}
	codeEndpoint      = Code{"endpoint-not-found", 404, "API endpoint not found", "see /swagger"}
	codeMethod        = Code{"method-not-allowed", 405, "method not allowed on API endpoint", "see /swagger"}
	codeNotRunning    = Code{"not-running", 404, "not running", "boot it first"}
	codeExists        = Code{"exists", 409, "already exists", "use it, or delete it first"}
	codeUsed          = Code{"used", 409, "used by a webspace", "choose another"}
	codeRunning       = Code{"running", 409, "already running", "there is nothing to do"}
	codeConflict      = Code{"conflict", 409, "changed by somebody else at the same time", "try again"}
	codeConsole       = Code{"console-busy", 409, "the console is in use", "close the other one first"}
	codeUnverified    = Code{"domain-unverified", 400, "verification failed", "add the TXT record webspace:id:<your uid> to the domain, wait until it is seen, and try again"}
	codeDefaultDomain = Code{"domain-default", 400, "cannot remove the default domain", "remove domains of your own"}
	codeTooManyPorts  = Code{"too-many-ports", 400, "port forward limit reached", "remove a forward that is not needed"}
	codeBadPort       = Code{"bad-port", 400, "invalid port", "use a port from 1 to 65535; an external one in the range that is given out"}
	codeBadValue      = Code{"bad-value", 400, "invalid value for configuration option", "see docs/reference/api.md for what is allowed"}
	codeSSHKey        = Code{"no-ssh-key", 400, "user has no SSH public key", "add one to your account, or leave ssh out"}
	codeInvalid       = Code{"invalid", 400, "invalid request", "see docs/reference/api.md for what is allowed"}
	codeBody          = Code{"body-invalid", 400, "failed to parse request body", "see docs/reference/api.md for what it must be"}
	codeWebsocket     = Code{"websocket-required", 400, "this endpoint supports websocket communication only", "open it with a websocket"}
	codeTooLarge      = Code{"too-large", 413, "the request is too large", "send less at once"}
	codeRate          = Code{"rate-limited", 429, "too many requests", "wait as long as Retry-After says"}
	codeUnsupported   = Code{"unsupported", 501, "this installation does not have that", "ask an admin"}
	codeExhausted     = Code{"exhausted", 500, "nothing is left to give out", "tell an admin"}
	codeTimeout       = Code{"timeout", 500, "it took too long", "look at the state, then try again"}
	codeNode          = Code{"node-unavailable", 503, "the webspace's node cannot say now", "try again in a moment"}
	codeUnavailable   = Code{"unavailable", 500, "the webspaces cannot be reached at the moment", "try again in a moment"}
	codeAccounts      = Code{"accounts-unavailable", 500, "the accounts cannot be reached at the moment", "try again in a moment"}
	codeInternal      = Code{"internal", 500, "something went wrong here", "tell an admin the request's number"}
)

// Codes are all of them, for the reference.
func Codes() []Code {
	return []Code{codeTokenMissing, codeTokenInvalid, codeTokenExpired, codeTokenRevoked, codePassword, codeAdmin, codeForeign, codeOrigin,
		codeNotFound, codeUser, codeEndpoint, codeMethod, codeNotRunning, codeExists, codeUsed, codeRunning, codeConflict, codeConsole,
		codeUnverified, codeDefaultDomain, codeTooManyPorts, codeBadPort, codeBadValue, codeSSHKey, codeInvalid, codeBody, codeWebsocket,
		codeTooLarge, codeRate, codeUnsupported, codeNode, codeExhausted, codeTimeout, codeUnavailable, codeAccounts, codeInternal}
}

// failure is an error whose code is known, and what may be said about it.
type failure struct {
	code  Code
	what  string // what failed
	cause string // the likely cause; "" when the code says it all
	after time.Duration
	err   error // for the log only
}

func (f *failure) Error() string { return f.message() }
func (f *failure) Unwrap() error { return f.err }

// message is one line with the text of the seed system in it.
func (f *failure) message() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{f.what, f.code.Title, f.cause} {
		if p != "" && !strings.Contains(strings.Join(parts, ": "), p) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

func fail(code Code, what, cause string) error { return &failure{code: code, what: what, cause: cause} }

// kinds from the finest to the coarsest: the first that matches decides.
var kinds = []struct {
	kind error
	code Code
}{
	{ErrNode, codeNode}, {webspace.ErrUnverified, codeUnverified}, {webspace.ErrDefaultDomain, codeDefaultDomain}, {webspace.ErrTooManyPorts, codeTooManyPorts},
	{webspace.ErrBadPort, codeBadPort}, {webspace.ErrBadValue, codeBadValue}, {webspace.ErrNoSSHKey, codeSSHKey},
	{webspace.ErrUsed, codeUsed}, {webspace.ErrRunning, codeRunning}, {webspace.ErrNotRunning, codeNotRunning},
	{webspace.ErrNoConsole, codeConsole}, {webspace.ErrNoAddress, codeUnavailable}, {webspace.ErrNotFound, codeNotFound},
	{webspace.ErrExists, codeExists}, {webspace.ErrConflict, codeConflict}, {webspace.ErrExhausted, codeExhausted},
	{webspace.ErrInvalid, codeInvalid}, {webspace.ErrUnavailable, codeUnavailable}, {webspace.ErrRefused, codeInternal},
	{account.ErrExpired, codeTokenExpired}, {account.ErrRevoked, codeTokenRevoked}, {account.ErrToken, codeTokenInvalid},
	{account.ErrPassword, codePassword}, {account.ErrRateLimited, codeRate}, {account.ErrNotFound, codeUser},
	{account.ErrExists, codeExists}, {account.ErrInvalid, codeInvalid}, {account.ErrUnavailable, codeAccounts},
	{ErrCursor, codeInvalid}, {ErrElsewhere, codeUnsupported}, {context.DeadlineExceeded, codeTimeout},
}

// explain finds the code of an error, and what of its text is for the caller. What only admins can use stays out of it.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &failure{code: codeTooLarge, cause: "at most " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes are taken", err: err}
	}
	f = &failure{code: codeInternal, err: err}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			f.code = k.code
			break
		}
	}
	var p *webspace.Problem
	var a *account.Error
	switch {
	case errors.As(err, &a):
		f.after = a.RetryAfter
		if f.code.Status < 500 {
			f.cause = a.Cause
		}
	case errors.As(err, &p):
		f.what = p.What
		if f.code.Status < 500 {
			f.cause = p.Cause
		}
	case errors.Is(err, ErrCursor):
		f.cause = "the cursor is not one that a page gave"
	case errors.Is(err, ErrElsewhere):
		f.cause = "only the node that holds the webspace knows, and it does not run together with this API"
	}
	if f.after == 0 && (f.code == codeUnavailable || f.code == codeAccounts || f.code == codeNode) {
		f.after = 5 * time.Second
	}
	return f
}

// problem answers with an error.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, err error) {
	f := explain(err)
	c := callOf(r.Context())
	level := slog.LevelDebug
	if f.code.Status >= 500 && r.Context().Err() == nil {
		level = slog.LevelWarn
	}
	if f.err != nil {
		s.log.Log(r.Context(), level, "a request failed", "request", c.id, "code", f.code.Name, "method", r.Method, "route", c.route, "err", f.err)
	}
	c.code = f.code.Name
	body := s.describe(c, f)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if f.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.after.Seconds()))))
	}
	if f.code.Status == http.StatusUnauthorized && f.code != codeAdmin {
		w.Header().Set("WWW-Authenticate", `Bearer realm="lanyard"`)
	}
	w.WriteHeader(f.code.Status)
	_ = json.NewEncoder(w).Encode(body)
}

// describe is the body of an answer about a failure.
func (s *Server) describe(c *call, f *failure) wire.Error {
	status := int32(f.code.Status)
	kind := "urn:lanyard:problem:" + f.code.Name
	e := wire.Error{Message: clean(f.message()), Type: &kind, Title: &f.code.Title, Status: &status, Code: &f.code.Name, Next: &f.code.Next}
	what, cause := clean(f.what), clean(f.cause)
	if what != "" {
		e.What = &what
	}
	if cause != "" {
		e.Cause = &cause
	}
	if c.id != "" {
		e.Request = &c.id
	}
	return e
}

// clean bounds a text, and makes it one line of valid UTF-8.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > 1000 {
		text = strings.ToValidUTF8(text[:1000], "") + "…"
	}
	return text
}
