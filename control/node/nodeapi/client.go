package nodeapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// DialTimeout bounds the wait for a daemon to accept.
	DialTimeout = 3 * time.Second
	// CallTimeout bounds one call that is not a stream.
	CallTimeout = 30 * time.Second
	// KeepAlive is how often a stream shows that it lives; a client that hears nothing for three of them gives up.
	KeepAlive = 10 * time.Second

	maxAnswer = 64 << 20 // 16,384 endpoints and forwards are some megabytes
	maxLine   = 1 << 20
)

// Client talks to one daemon. It is safe for concurrent use.
type Client struct {
	socket string // "": another machine's
	base   string // of URLs
	most   int64  // bytes of an answer
	http   http.Client
}

// New makes a client for the socket at this path; "" is DefaultSocket. It connects with the first call.
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	dialer := net.Dialer{Timeout: DialTimeout}
	return &Client{socket: socket, base: "http://node", most: maxAnswer, http: client(&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxIdleConns:          2,
		IdleConnTimeout:       10 * time.Second,
		ResponseHeaderTimeout: CallTimeout,
	})}
}

// Remote makes a client for the daemon of another node, at host:port behind a transport that does HTTPS; most bounds an
// answer, bytes. See control/node/peering: only Wakes and Awake of one webspace, and Woken, are answered there.
func Remote(at string, most int64, t http.RoundTripper) *Client {
	return &Client{base: "https://" + at, most: most, http: client(t)}
}

// client follows nobody elsewhere.
func client(t http.RoundTripper) http.Client {
	return http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Socket is the path that this client dials; "": it asks another machine.
func (c *Client) Socket() string { return c.socket }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks the node about itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, PathStatus, "status", &s)
	return s, err
}

// Resync makes the node look at LXD again, and waits until that is applied.
func (c *Client) Resync(ctx context.Context) (SyncResult, error) {
	var r SyncResult
	err := c.call(ctx, http.MethodPost, PathResync, "resync", &r)
	return r, err
}

func (c *Client) call(ctx context.Context, method, path, what string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	body, err := c.open(ctx, method, path, what)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, c.most)).Decode(into); err != nil {
		return &Error{Code: CodeInternal, What: "the daemon's " + what + " cannot be read", Cause: err.Error(),
			Next: "compare the versions: lanyard version, lanyardd version", Err: err}
	}
	return nil
}

// Drops calls each for every sampled drop, of one webspace or (webspace "") of all, until ctx ends (nil), the daemon
// goes away (an Error), or each returns an error (that one).
func (c *Client) Drops(ctx context.Context, webspace string, each func(Drop) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	path := PathDrops
	if webspace != "" {
		path += "?" + url.Values{"webspace": {webspace}}.Encode()
	}
	body, err := c.open(ctx, http.MethodGet, path, "drops")
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer body.Close()
	silence := time.AfterFunc(3*KeepAlive, cancel)
	defer silence.Stop()
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		silence.Reset(3 * KeepAlive)
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var d Drop
		if err := json.Unmarshal(line, &d); err != nil {
			return &Error{Code: CodeInternal, What: "a sampled drop cannot be read", Cause: err.Error(),
				Next: "compare the versions: lanyard version, lanyardd version", Err: err}
		}
		if err := each(d); err != nil {
			return err
		}
	}
	if context.Cause(ctx) != nil && silence.Stop() { // ended by the caller, not by silence
		return nil
	}
	err = lines.Err()
	if err == nil {
		err = io.EOF
	}
	return &Error{Code: CodeUnreachable, What: "the stream of drops ended", Cause: "lanyardd stopped or restarted (" + err.Error() + ")",
		Next: "start it again: lanyard trace", Err: err}
}

// open sends a request and gives the body of its good answer, or an Error.
func (c *Client) open(ctx context.Context, method, path, what string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(what, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	e := &Error{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLine)).Decode(e); err != nil || e.What == "" {
		e = &Error{Code: CodeInternal, What: "the daemon refused " + what, Cause: "it answered " + resp.Status,
			Next: "compare the versions: lanyard version, lanyardd version"}
	}
	e.Status = resp.StatusCode
	return nil, e
}

func (c *Client) unreachable(what string, err error) error {
	e := &Error{Code: CodeUnreachable, What: "cannot ask lanyardd for its " + what, Err: err}
	switch {
	case c.socket == "":
		e.What = "cannot ask lanyardd of " + strings.TrimPrefix(c.base, "https://") + " for its " + what
		e.Cause = err.Error()
		e.Next = "see whether it runs there: lanyard status; and whether its port is free: lanyard check"
	case errors.Is(err, fs.ErrNotExist):
		e.Cause = "there is no socket at " + c.socket + "; it is not running, or was configured to listen elsewhere"
		e.Next = "systemctl status lanyardd-node, or give --socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Cause = "nobody listens at " + c.socket + "; it has stopped"
		e.Next = "systemctl status lanyardd-node"
	case errors.Is(err, fs.ErrPermission):
		e.Code = CodeDenied
		e.Cause = c.socket + " is for root only"
		e.Next = "run the same command as root"
	default:
		e.Cause = err.Error()
		e.Next = "journalctl -u lanyardd-node"
	}
	return e
}
