package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// GetLog gives what the console showed last.
func (o operations) GetLog(w http.ResponseWriter, r *http.Request, username string) {
	ctx, cancel := context.WithTimeout(r.Context(), o.o.ReadTime)
	defer cancel()
	who, err := o.target(ctx, username)
	var text []byte
	if err == nil {
		text, err = o.o.Webspaces.ConsoleLog(ctx, who.UID)
	}
	if err != nil {
		o.problem(w, r, err)
		return
	}
	// It is whatever the webspace wrote: never anything that a browser would run.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text)
}

// ClearLog empties it.
func (o operations) ClearLog(w http.ResponseWriter, r *http.Request, username string) {
	if o.change(w, r, username, change{action: "log.clear", do: func(ctx context.Context, who account.Identity) error {
		return o.o.Webspaces.ClearConsoleLog(ctx, who.UID)
	}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// maxExecOutput of one stream of a command without a websocket, bytes.
const maxExecOutput = 4 << 20

// Exec runs a command line and answers with all that it wrote. The shell is the webspace's own, and it is what the
// member asked for; nothing else of a request ever meets one.
func (o operations) Exec(w http.ResponseWriter, r *http.Request, username string) {
	var body wire.ExecRequest
	if err := decode(w, r, &body); err != nil {
		o.problem(w, r, err)
		return
	}
	if body.Command == "" || strings.ContainsRune(body.Command, 0) {
		o.problem(w, r, fail(codeInvalid, "", "it needs a command"))
		return
	}
	who, err := o.target(r.Context(), username)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	release, ok := o.limits.stream(callOf(r.Context()).caller.UID)
	if !ok {
		o.problem(w, r, &failure{code: codeRate, cause: "too many commands at once", after: answerTime})
		return
	}
	defer release()
	// Unlike a change this ends with its client: nobody is left who could want the output.
	ctx, cancel := context.WithTimeout(r.Context(), o.o.ExecTime)
	defer cancel()
	defer context.AfterFunc(o.open, cancel)()
	var stdout, stderr capture
	code, err := o.o.Webspaces.Exec(ctx, who.UID, webspace.ExecSpec{Command: []string{"sh", "-c", body.Command}},
		webspace.Streams{Stdout: &stdout, Stderr: &stderr})
	if err == nil && (stdout.over || stderr.over) {
		err = fail(codeTooLarge, "", "the command wrote more than 4 MiB; use a websocket")
	}
	o.audit(r, "exec", username, who, []slog.Attr{slog.Int("code", code)}, err)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	reply(w, http.StatusOK, wire.ExecResponse{Stdout: text(stdout.kept), Stderr: text(stderr.kept), ExitCode: code})
}

func text(b []byte) string { return strings.ToValidUTF8(string(b), "\ufffd") }

// capture keeps the first part of what a command writes.
type capture struct {
	kept []byte
	over bool
}

func (c *capture) Write(b []byte) (int, error) {
	n := min(len(b), maxExecOutput-len(c.kept))
	c.kept = append(c.kept, b[:n]...)
	c.over = c.over || n < len(b)
	return len(b), nil
}
