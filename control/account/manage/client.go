package manage

import (
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
	"syscall"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

var _ Manager = (*Client)(nil)

// ErrNoDaemon means that no daemon serves the socket.
var ErrNoDaemon = errors.New("no daemon serves accounts here")

// Client manages the accounts of a running daemon.
type Client struct {
	socket string
	http   http.Client
}

// NewClient makes a client of the socket at this path. Its calls fail with ErrNoDaemon if nobody listens.
func NewClient(socket string) *Client {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	return &Client{socket: socket, http: http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close gives idle connections back.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Add adds an account.
func (c *Client) Add(ctx context.Context, n New) (out Account, err error) {
	return out, c.call(ctx, http.MethodPost, pathAccounts, n, &out)
}

// Set changes an account.
func (c *Client) Set(ctx context.Context, name string, change Change) (out Account, err error) {
	return out, c.call(ctx, http.MethodPatch, pathAccounts+"/"+url.PathEscape(name), change, &out)
}

// Remove removes an account.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, pathAccounts+"/"+url.PathEscape(name), nil, &struct{}{})
}

// List gives all accounts.
func (c *Client) List(ctx context.Context) (out []Account, err error) {
	return out, c.call(ctx, http.MethodGet, pathAccounts, nil, &out)
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	fail := func(cause, next string, kind, err error) error {
		return &account.Error{What: "cannot ask lanyardd for accounts", Cause: cause, Next: next, Kind: kind, Err: err}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return fail(err.Error(), "report this", account.ErrInvalid, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lanyardd"+path, bytes.NewReader(b))
	if err != nil {
		return fail(err.Error(), "report this", account.ErrInvalid, err)
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return fail("nobody listens at "+c.socket, "systemctl start lanyardd", ErrNoDaemon, err)
	case errors.Is(err, fs.ErrPermission):
		return fail(c.socket+" is for root only", "sudo lanyardd account ...", account.ErrUnavailable, err)
	case err != nil:
		return fail(err.Error(), "systemctl status lanyardd", account.ErrUnavailable, err)
	}
	defer resp.Body.Close()
	answer := json.NewDecoder(io.LimitReader(resp.Body, 256<<20))
	if resp.StatusCode == http.StatusOK {
		if err := answer.Decode(into); err != nil {
			return fail("its answer cannot be read", "compare the versions of lanyardd", account.ErrUnavailable, err)
		}
		return nil
	}
	var p problem
	if err := answer.Decode(&p); err != nil || p.Title == "" {
		return fail(fmt.Sprintf("it answers with status %d", resp.StatusCode), "compare the versions of lanyardd", account.ErrUnavailable, err)
	}
	e := &account.Error{What: p.Title, Cause: p.Detail, Next: p.Next, Kind: account.ErrUnavailable}
	for _, known := range codes {
		if known.code == p.Code {
			e.Kind = known.kind
		}
	}
	return e
}
