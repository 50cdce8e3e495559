package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/term"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

const (
	maxFrame   = 4 << 20  // bytes of one message from the server
	inputChunk = 32 << 10 // bytes of one message to it
	writeTime  = 15 * time.Minute
	pingEvery  = 30 * time.Second // keeps what is between from forgetting the connection, and notices that it is gone
	pingTime   = 90 * time.Second
)

// session is a websocket with a process or the console at its other end.
type session struct {
	conn *websocket.Conn
	ctx  context.Context // ends with the session
	end  context.CancelCauseFunc

	mu sync.Mutex // of writes that must stay in order
}

// open dials path below {username}, and sends the first message. The session ends with done, and not with cancel of ctx: an
// interrupt is the process's, not ours.
func (a *app) open(ctx context.Context, path string, first any) (*session, error) {
	c, err := a.connection()
	if err != nil {
		return nil, err
	}
	if c.Token == "" {
		return nil, notLoggedIn("there is no token")
	}
	at := strings.Replace(c.Server, "http", "ws", 1) + "/webspace/" + url.PathEscape(a.target()) + "/" + path
	dial, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(dial, at, &websocket.DialOptions{HTTPClient: c.http,
		HTTPHeader: http.Header{"Authorization": {"Bearer " + c.Token}, "User-Agent": {"lanyard/" + a.version}}})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols && resp.Body != nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
			if refused := failure(resp, body); refused != nil {
				return nil, atSession(refused)
			}
		}
		return nil, atSession(unreachable(err))
	}
	conn.SetReadLimit(maxFrame)
	s := &session{conn: conn}
	s.ctx, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := s.text(first); err != nil {
		s.done()
		return nil, atSession(unreachable(err))
	}
	go s.ping() // ends with the session
	return s, nil
}

// atSession gives an error the code of a session that failed, so that it is not taken for the command's own.
func atSession(err error) error {
	if e, ok := errors.AsType[*cli.Error](err); ok {
		e.Exit = cli.ExitSession
	}
	return err
}

// done ends the session at once.
func (s *session) done() {
	s.end(nil)
	_ = s.conn.CloseNow()
}

// leave says goodbye first; receive hears it.
func (s *session) leave() {
	_ = s.conn.Close(websocket.StatusNormalClosure, "")
	s.end(nil)
}

func (s *session) text(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.write(websocket.MessageText, b)
}

func (s *session) write(kind websocket.MessageType, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, writeTime)
	defer cancel()
	return s.conn.Write(ctx, kind, b)
}

func (s *session) ping() {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		ctx, cancel := context.WithTimeout(s.ctx, pingTime)
		err := s.conn.Ping(ctx)
		cancel()
		if err != nil && s.ctx.Err() == nil {
			s.end(errors.New("the server does not answer any more"))
			_ = s.conn.CloseNow()
			return
		}
	}
}

// receive gives each binary message to output until the session ends, and the reason that the server gave.
func (s *session) receive(output func([]byte) error) (reason string, err error) {
	for {
		kind, b, err := s.conn.Read(s.ctx)
		if err != nil {
			var closed websocket.CloseError
			cause := context.Cause(s.ctx)
			switch {
			case errors.As(err, &closed) && closed.Code == websocket.StatusNormalClosure:
				return closed.Reason, nil
			case errors.As(err, &closed):
				return "", &cli.Error{Code: "session", What: "the session failed", Cause: closed.Reason, Next: "lanyard ws status", Exit: cli.ExitSession}
			case cause != nil && !errors.Is(cause, context.Canceled):
				return "", &cli.Error{Code: "session", What: "the session broke off", Cause: cause.Error(), Next: "try again; what ran in it has ended", Exit: cli.ExitSession, Err: err}
			}
			return "", &cli.Error{Code: "session", What: "the session broke off", Cause: innermost(err), Next: "try again; what ran in it has ended", Exit: cli.ExitSession, Err: err}
		}
		if kind != websocket.MessageBinary {
			continue
		}
		if err := output(b); err != nil { // such as a closed pipe: `lanyard ws exec ... | head`
			return "", &cli.Error{Code: "output", What: "cannot write the output", Cause: err.Error(), Next: "the command was ended", Exit: cli.ExitSession, Err: err}
		}
	}
}

func innermost(err error) string {
	text := err.Error()
	for e := err; e != nil; e = errors.Unwrap(e) {
		text = e.Error()
	}
	return text
}

// exitCode reads the code that the server closes a command's session with.
func exitCode(reason string) error {
	code, err := strconv.Atoi(reason)
	if err != nil {
		return &cli.Error{Code: "session", What: "the command's exit code is not known", Cause: fmt.Sprintf("the server said %q", reason), Next: "lanyard ws status", Exit: cli.ExitSession}
	}
	if code == 0 {
		return nil
	}
	return cli.Exit(code & 0xff)
}

// raw puts the terminal into raw mode; restore may be called more than once.
func (a *app) raw() (restore func(), err error) {
	fd := int(a.streams.In.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, &cli.Error{Code: "terminal", What: "cannot use the terminal", Cause: err.Error(), Next: "give input as a file or pipe", Exit: cli.ExitSession, Err: err}
	}
	return sync.OnceFunc(func() { _ = term.Restore(fd, before) }), nil
}

// size is the terminal's, or what a terminal used to have.
func (a *app) size() (width, height int) {
	for _, f := range []any{a.streams.In, a.streams.Out} {
		if file, ok := f.(interface{ Fd() uintptr }); ok {
			if w, h, err := term.GetSize(int(file.Fd())); err == nil && w > 0 && h > 0 {
				return w, h
			}
		}
	}
	return 80, 24
}

// resize tells the session of each new size until it ends; w and h are what it was told at its beginning. The size is looked
// at after each registration and signal, so that a change at any time is seen.
func (a *app) resize(s *session, w, h int, tell func(width, height int) any) {
	changed, stop := resized()
	defer stop()
	for {
		if nw, nh := a.size(); nw != w || nh != h {
			w, h = nw, nh
			if s.text(tell(w, h)) != nil {
				return
			}
		}
		select {
		case <-s.ctx.Done():
			return
		case <-changed:
		}
	}
}

func resizeControl(w, h int) any {
	return wire.ExecInteractiveControl{Resize: &wire.ResizeRequest{Width: w, Height: h}}
}
