package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/source"
)

// Public is where GitHub gives the asset to anybody, if that is one of the hosts that clients may be sent to. With a token
// the repository may be private: that is tried out, once.
func (s *Source) Public(ctx context.Context, r simplestreams.Repo, a source.Asset) string {
	public := s.public(a)
	if public == "" || s.o.Token == "" {
		return public
	}
	private, known := s.isPrivate(r)
	if !known {
		body, _, err := s.open(ctx, "fetch "+a.Name+" of "+r.String(), public, 0)
		switch {
		case err == nil:
			body.Close()
		case errors.Is(err, simplestreams.ErrNotFound):
			private = true
		default:
			return ""
		}
		s.setPrivate(r, private)
	}
	if private {
		return ""
	}
	return public
}

func (s *Source) public(a source.Asset) string {
	u, err := url.Parse(a.URL)
	if a.URL == "" || err != nil || s.hosts.check(u) != nil {
		return ""
	}
	return u.String()
}

func (s *Source) isPrivate(r simplestreams.Repo) (private, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	private, known = s.private[r]
	return private, known
}

func (s *Source) setPrivate(r simplestreams.Repo, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.private) > 10_000 {
		clear(s.private)
	}
	s.private[r] = private
}

// Open reads an asset: at its public URL, which counts for no limit, or else through the API with the token.
func (s *Source) Open(ctx context.Context, r simplestreams.Repo, a source.Asset, from int64) (io.ReadCloser, int64, error) {
	what := "fetch " + a.Name + " of " + r.String()
	public := s.public(a)
	if private, _ := s.isPrivate(r); public != "" && !private {
		body, size, err := s.open(ctx, what, public, from)
		if err == nil || s.o.Token == "" || !errors.Is(err, simplestreams.ErrNotFound) {
			return body, size, err
		}
	}
	if _, err := strconv.ParseInt(a.ID, 10, 64); err != nil || public == "" && s.o.Token == "" {
		return nil, 0, &simplestreams.Problem{What: what, Cause: fmt.Sprintf("it is at no host that is known: %.100q", a.URL), Next: "name the host in images.download_hosts if you trust it", Kind: simplestreams.ErrUpstream}
	}
	body, size, err := s.open(ctx, what, s.base.String()+"/repos/"+r.Owner+"/"+r.Name+"/releases/assets/"+a.ID, from)
	if err == nil && public != "" {
		s.setPrivate(r, true)
	}
	return body, size, err
}

func (s *Source) open(ctx context.Context, what, target string, from int64) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	header := http.Header{"Accept": {"application/octet-stream"}, "Accept-Encoding": {"identity"}}
	if from > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	stall := &stalled{limit: s.o.Stall, cancel: cancel}
	stall.timer = time.AfterFunc(s.o.Timeout, stall.expire) // until the first byte
	resp, err := s.do(ctx, what, target, header)
	if err != nil {
		stall.stop()
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = failed(what, cause)
		}
		return nil, 0, err
	}
	refuse := func(err error) (io.ReadCloser, int64, error) {
		resp.Body.Close()
		stall.stop()
		return nil, 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		stall.body, stall.what, stall.ctx = resp.Body, what, ctx
		if from > 0 { // no ranges there
			if _, err := io.CopyN(io.Discard, stall, from); err != nil {
				return refuse(failed(what, err))
			}
		}
		return stall, resp.ContentLength, nil
	case http.StatusPartialContent:
		whole, ok := rangeFrom(resp.Header.Get("Content-Range"), from)
		if from == 0 || !ok {
			return refuse(&simplestreams.Problem{What: what, Cause: fmt.Sprintf("it gave another range: %.60q", resp.Header.Get("Content-Range")), Kind: simplestreams.ErrUpstream})
		}
		stall.body, stall.what, stall.ctx = resp.Body, what, ctx
		return stall, whole, nil
	}
	return refuse(s.answered(what, resp))
}

// rangeFrom reads "bytes 5-9/10".
func rangeFrom(h string, from int64) (whole int64, ok bool) {
	span, size, ok := strings.Cut(strings.TrimPrefix(h, "bytes "), "/")
	first, _, ok2 := strings.Cut(span, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if !ok || !ok2 || err != nil || n != from {
		return 0, false
	}
	if whole, err = strconv.ParseInt(size, 10, 64); err != nil {
		whole = -1
	}
	return whole, true
}

var errStalled = errors.New("it sends no more")

// stalled is a body that is given up when nothing comes for a while.
type stalled struct {
	body   io.ReadCloser
	ctx    context.Context
	what   string
	limit  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
	once   sync.Once
}

func (b *stalled) expire() { b.cancel(errStalled) }

func (b *stalled) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.body.Read(p)
	b.timer.Stop() // a reader that is slow itself is no fault of the source
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
		err = failed(b.what, err)
	}
	return n, err
}

func (b *stalled) stop() {
	b.once.Do(func() {
		b.timer.Stop()
		b.cancel(context.Canceled)
	})
}

func (b *stalled) Close() error {
	err := b.body.Close()
	b.stop()
	return err
}
