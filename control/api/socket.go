package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

const (
	maxMessage = 1 << 20          // bytes of one message from a client
	maxPending = 1 << 20          // bytes of input that wait for a process that does not read
	firstTime  = 30 * time.Second // until the first message must be here
	lastWrites = 5 * time.Second  // for output at the end of a session
	maxReason  = 123              // bytes of a close reason (RFC 6455, 5.5)
)

// ExecInteractive runs a command over a websocket, in the seed system's protocol.
func (o operations) ExecInteractive(w http.ResponseWriter, r *http.Request, username string) {
	o.session(w, r, username, "exec.interactive", func(ctx context.Context, who account.Identity, c *socket, first []byte) (string, error) {
		var body wire.ExecInteractiveRequest
		if err := strictly(first, &body); err != nil {
			return "", err
		}
		spec, err := specOf(body)
		if err != nil {
			return "", err
		}
		stdout, stderr := io.Writer(c), io.Writer(nil)
		if !spec.Terminal {
			stdout, stderr = tagged{c, 1}, tagged{c, 2}
		}
		control := func(text []byte) (webspace.Control, bool, error) {
			var body wire.ExecInteractiveControl
			if err := strictly(text, &body); err != nil {
				return webspace.Control{}, false, err
			}
			var out webspace.Control
			if body.Resize != nil && size(body.Resize.Width) && size(body.Resize.Height) && spec.Terminal {
				out.Width, out.Height = body.Resize.Width, body.Resize.Height
			}
			if body.Signal != nil && *body.Signal > 0 && *body.Signal < 65 {
				out.Signal = *body.Signal
			}
			return out, body.EOF != nil && *body.EOF && !spec.Terminal, nil
		}
		ctx, controls := c.receive(ctx, control)
		code, err := o.o.Webspaces.Exec(ctx, who.UID, spec, webspace.Streams{Stdin: c.input, Stdout: stdout, Stderr: stderr, Control: controls})
		return strconv.Itoa(code), err
	})
}

// Console attaches to the console over a websocket.
func (o operations) Console(w http.ResponseWriter, r *http.Request, username string) {
	o.session(w, r, username, "console", func(ctx context.Context, who account.Identity, c *socket, first []byte) (string, error) {
		var body wire.ResizeRequest
		if err := strictly(first, &body); err != nil {
			return "", err
		}
		if !size(body.Width) || !size(body.Height) {
			return "", fail(codeInvalid, "", "width and height must be from 0 to 65535")
		}
		ctx, controls := c.receive(ctx, func(text []byte) (webspace.Control, bool, error) {
			var body wire.ResizeRequest
			if err := strictly(text, &body); err != nil {
				return webspace.Control{}, false, err
			}
			if !size(body.Width) || !size(body.Height) || body.Width == 0 || body.Height == 0 {
				return webspace.Control{}, false, nil
			}
			return webspace.Control{Width: body.Width, Height: body.Height}, false, nil
		})
		err := o.o.Webspaces.Console(ctx, who.UID, body.Width, body.Height, webspace.Streams{Stdin: c.input, Stdout: c, Control: controls})
		return "Stream shutting down", err
	})
}

// size of a terminal in one direction. 0 is for one whose size nobody knows, as of programs that run others on a terminal;
// the webspace's has none then either.
func size(n int) bool { return n >= 0 && n <= 65535 }

func specOf(b wire.ExecInteractiveRequest) (webspace.ExecSpec, error) {
	spec := webspace.ExecSpec{Command: b.Command, Terminal: b.Terminal == nil || *b.Terminal}
	bad := func(cause string) (webspace.ExecSpec, error) {
		return webspace.ExecSpec{}, fail(codeInvalid, "", cause)
	}
	if len(b.Command) == 0 || b.Command[0] == "" {
		return bad("it needs a command")
	}
	if b.Width != nil {
		spec.Width = *b.Width
	}
	if b.Height != nil {
		spec.Height = *b.Height
	}
	if spec.Terminal && (!size(spec.Width) || !size(spec.Height)) {
		return bad("the width and height of a terminal must be from 0 to 65535")
	}
	if b.User != nil {
		if *b.User < 0 {
			return bad("user must not be negative")
		}
		spec.User = uint32(*b.User)
	}
	if b.Group != nil {
		if *b.Group < 0 {
			return bad("group must not be negative")
		}
		spec.Group = uint32(*b.Group)
	}
	if b.WorkingDirectory != nil {
		spec.Dir = *b.WorkingDirectory
	}
	texts := append(slices.Clone(b.Command), spec.Dir)
	if b.Environment != nil {
		spec.Environment = *b.Environment
		for name, value := range spec.Environment {
			if name == "" || strings.Contains(name, "=") {
				return bad("the name of a variable must not be empty, or contain =")
			}
			texts = append(texts, name, value)
		}
	}
	if slices.ContainsFunc(texts, func(t string) bool { return strings.ContainsRune(t, 0) }) {
		return bad("no text may contain a zero octet")
	}
	return spec, nil
}

// strictly reads one JSON value without unknown fields.
func strictly(text []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fail(codeBody, "", clean(err.Error()))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(codeBody, "", "there is something behind it")
	}
	return nil
}

// session checks who may open a websocket, opens it, runs a session on it, and closes it with how that ended.
func (o operations) session(w http.ResponseWriter, r *http.Request, username, action string,
	run func(ctx context.Context, who account.Identity, c *socket, first []byte) (reason string, err error)) {
	who, err := o.target(r.Context(), username)
	switch {
	case err != nil:
	case !isWebsocket(r):
		err = fail(codeWebsocket, "", "")
	default:
		err = o.mayOpen(r)
	}
	if err == nil { // after the upgrade no status could say so
		ctx, cancel := context.WithTimeout(r.Context(), o.o.ReadTime)
		_, err = o.o.Webspaces.Get(ctx, who.UID)
		cancel()
	}
	var release func()
	if err == nil {
		var ok bool
		if release, ok = o.limits.stream(callOf(r.Context()).caller.UID); !ok {
			err = &failure{code: codeRate, cause: "too many open sessions", after: 10 * time.Second}
		}
	}
	if err != nil {
		o.problem(w, r, err)
		return
	}
	defer release()
	// The origin is checked above, with the ports and schemes that the library leaves out.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}, InsecureSkipVerify: true})
	if err != nil {
		callOf(r.Context()).code = codeWebsocket.Name
		return // it has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxMessage)
	o.work.Add(1)
	defer o.work.Done()
	// The request's context ends when the connection was taken over; this one ends with the session or the server.
	ctx, cancel, end := o.stream(context.WithoutCancel(r.Context()), username)
	defer end()
	// What a session wrote at its end may still be sent, but not for ever.
	writing, stopWriting := context.WithCancel(context.Background())
	defer stopWriting()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWrites, stopWriting) })()
	c := &socket{conn: conn, stall: o.o.StallTime, input: newInput(maxPending), cancel: cancel, writing: writing}
	// The last to go. Ending its context any earlier would cut the connection before it is closed in order.
	reading, stopReading := context.WithCancel(context.Background())
	c.reading = reading
	defer c.reader.Wait()
	defer cancel()
	defer stopReading()

	wait, stop := context.WithTimeout(ctx, firstTime)
	kind, first, err := conn.Read(wait)
	stop()
	if err != nil {
		return
	}
	reason := ""
	if kind != websocket.MessageText {
		err = fail(codeBody, "", "the first message must be text")
	} else {
		reason, err = run(ctx, who, c, first)
	}
	_ = c.input.Close()
	gone, status := c.gone(), websocket.StatusInternalError
	if cause := lost(ctx); cause != nil {
		err, status = cause, websocket.StatusPolicyViolation
	}
	o.audit(r, action, username, who, []slog.Attr{slog.Bool("client_left", gone)}, err)
	switch {
	case gone: // nobody to tell
	case o.open.Err() != nil:
		_ = conn.Close(websocket.StatusGoingAway, "the API is ending")
	case err != nil:
		f := explain(err)
		callOf(r.Context()).code = f.code.Name
		if f.err != nil && f.code.Status >= 500 {
			o.log.Warn("a session failed", "action", action, "request", callOf(r.Context()).id, "err", f.err)
		}
		_ = conn.Close(status, short(f.message()))
	default:
		_ = conn.Close(websocket.StatusNormalClosure, short(reason))
	}
}

// short cuts a text to what a close frame can carry.
func short(text string) string {
	text = clean(text)
	for len(text) > maxReason {
		runes := []rune(text)
		text = string(runes[:len(runes)-1])
	}
	return text
}
