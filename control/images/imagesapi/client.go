package imagesapi

import (
	"bufio"
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

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// Timeouts. A repository that is asked for the first time may need its source for minutes.
const (
	CallTimeout   = 30 * time.Second
	SourceTimeout = 30 * time.Minute
	maxAnswer     = 64 << 20
)

// Client talks to the role images. Its errors are nodeapi.Error.
type Client struct {
	socket string
	http   http.Client
}

// New makes a client for a socket; "" is DefaultSocket.
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	dialer := net.Dialer{Timeout: nodeapi.DialTimeout}
	return &Client{socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status of the role.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, CallTimeout, http.MethodGet, PathStatus, &s)
}

// Images of a repository.
func (c *Client) Images(ctx context.Context, repository string) (r Repository, err error) {
	return r, c.call(ctx, SourceTimeout, http.MethodGet, PathImages+"?"+url.Values{"repository": {repository}}.Encode(), &r)
}

// Verify asks the source now.
func (c *Client) Verify(ctx context.Context, repository string) (r Repository, err error) {
	return r, c.call(ctx, SourceTimeout, http.MethodPost, PathVerify+"?"+url.Values{"repository": {repository}}.Encode(), &r)
}

// Prefetch fetches files into the cache: of all the newest images of a repository, or only of those with a name. each is
// called for every step.
func (c *Client) Prefetch(ctx context.Context, repository, image string, each func(Step)) (last Step, err error) {
	body, err := c.open(ctx, http.MethodPost, PathPrefetch+"?"+url.Values{"repository": {repository}, "image": {image}}.Encode())
	if err != nil {
		return last, err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return last, unreadable(err)
		}
		if last.Done {
			return last, nil
		}
		each(last)
		last = Step{}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return last, &nodeapi.Error{Code: nodeapi.CodeUnreachable, What: "the daemon ended in the middle", Cause: err.Error(), Next: "do it again: it goes on where it was", Err: err}
}

func unreadable(err error) error {
	return &nodeapi.Error{Code: nodeapi.CodeInternal, What: "the daemon's answer cannot be read", Cause: err.Error(), Next: "compare the versions: lanyard version, lanyardd version", Err: err}
}

func (c *Client) call(ctx context.Context, timeout time.Duration, method, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := c.open(ctx, method, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(into); err != nil {
		return unreadable(err)
	}
	return nil
}

func (c *Client) open(ctx context.Context, method, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://images"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	e := &nodeapi.Error{}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(e); err != nil || e.What == "" {
		e = &nodeapi.Error{Code: nodeapi.CodeInternal, What: "the daemon refused", Cause: "it answered " + resp.Status, Next: "compare the versions: lanyard version, lanyardd version"}
	}
	e.Status = resp.StatusCode
	return nil, e
}

func (c *Client) unreachable(err error) error {
	e := &nodeapi.Error{Code: nodeapi.CodeUnreachable, What: "cannot ask lanyardd about images", Next: "run it with: lanyardd --role images; or give --images-socket", Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Cause = "there is no socket at " + c.socket + "; no lanyardd with the role images runs here"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Cause = "nobody listens at " + c.socket + "; it has stopped"
	case errors.Is(err, fs.ErrPermission):
		e.Code, e.Cause, e.Next = nodeapi.CodeDenied, c.socket+" is for root only", "run the same command as root"
	default:
		e.Cause = err.Error()
	}
	return e
}
