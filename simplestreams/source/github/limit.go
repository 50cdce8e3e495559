package github

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// Limit is GitHub's rate limit, as its answers tell it.
type Limit struct {
	Known     bool
	Limit     int
	Remaining int
	Reset     time.Time
	Until     time.Time // no request before; zero: none is held back
}

type limit struct {
	mu sync.Mutex
	l  Limit
}

const (
	// Without a header that says how long, GitHub asks to wait for a minute at least.
	defaultWait = time.Minute
	maxWait     = time.Hour // GitHub's window; whatever a clock says, it is asked again then
)

func (l *limit) get() Limit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.l
}

// check refuses while GitHub does not want to be asked.
func (l *limit) check(what string) error {
	if wait := time.Until(l.get().Until); wait > 0 {
		return &simplestreams.Problem{What: what, Cause: fmt.Sprintf("GitHub's rate limit is used up for %v", wait.Round(time.Second)),
			Next: "wait, or give a token in images.token_file", Kind: simplestreams.ErrLimited, Retry: wait}
	}
	return nil
}

// learn reads the headers of an answer.
func (l *limit) learn(resp *http.Response) {
	now := time.Now()
	wait, limited := limitedBy(resp, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, err := strconv.Atoi(resp.Header.Get("X-RateLimit-Remaining")); err == nil {
		l.l.Known, l.l.Remaining = true, n
		l.l.Limit, _ = strconv.Atoi(resp.Header.Get("X-RateLimit-Limit"))
		l.l.Reset = resetOf(resp.Header)
		if n == 0 && !l.l.Reset.IsZero() {
			wait, limited = min(max(l.l.Reset.Sub(now), 0), maxWait), true
		}
	}
	if limited {
		l.l.Until = now.Add(wait)
	}
}

func resetOf(h http.Header) time.Time {
	n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// limitedBy tells a refusal for the rate limit from any other 403, and how long it lasts. It may read the body's beginning.
func limitedBy(resp *http.Response, now time.Time) (time.Duration, bool) {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return 0, false
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n >= 0 {
		return min(time.Duration(n)*time.Second, maxWait), true
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if reset := resetOf(resp.Header); !reset.IsZero() {
			return min(max(reset.Sub(now), time.Second), maxWait), true
		}
		return defaultWait, true
	}
	// A secondary limit may say so in its text only.
	head, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	if resp.StatusCode == http.StatusTooManyRequests || bytes.Contains(bytes.ToLower(head), []byte("rate limit")) {
		return defaultWait, true
	}
	return 0, false
}
