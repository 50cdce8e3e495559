package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
)

// DefaultBase is GitHub's own API. GitHub Enterprise has https://HOST/api/v3.
const DefaultBase = "https://api.github.com"

// Options of a Source. The zero value of each has a default, but Allow: nothing is served without it.
type Options struct {
	Base  string // of the API; default DefaultBase
	Token string // optional
	// DownloadHosts are further hosts that assets may be fetched from: host, host:port, or *.suffix. They and the API's own
	// host may have private addresses; GitHub's usual ones, which are always allowed, may not.
	DownloadHosts []string
	Allow         *simplestreams.AllowList
	MaxReleases   int           // of one repository; default 10,000, which is also where GitHub's listing ends
	FullEvery     time.Duration // ask for pages behind an unchanged first one at least so often; default 1 h
	Timeout       time.Duration // of one page, and of a download's first byte; default 60 s
	Stall         time.Duration // without a byte, a download is given up; default 60 s
	UserAgent     string        // default lanyard
	Transport     *http.Transport
	Observe       func(kind string, status int) // each request: api or download, and the answer's status (0: none), for metrics
}

// Source is GitHub.
type Source struct {
	o      Options
	base   *url.URL
	hosts  hosts
	client *http.Client
	limit  limit

	mu      sync.Mutex
	private map[simplestreams.Repo]bool // whether its assets need the token; unknown if it is not there
}

// New checks the options.
func New(o Options) (*Source, error) {
	if o.Base == "" {
		o.Base = DefaultBase
	}
	if o.Allow == nil {
		o.Allow, _ = simplestreams.NewAllowList(nil)
	}
	if o.MaxReleases <= 0 {
		o.MaxReleases = 10_000
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&o.FullEvery, time.Hour}, {&o.Timeout, time.Minute}, {&o.Stall, time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if o.UserAgent == "" {
		o.UserAgent = "lanyard"
	}
	if strings.ContainsAny(o.Token, " \r\n\t") {
		return nil, errors.New("the token for GitHub has white space in it")
	}
	base, err := url.Parse(strings.TrimRight(o.Base, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("%q is no URL of GitHub's API, such as %s", o.Base, DefaultBase)
	}
	s := &Source{o: o, base: base, private: map[simplestreams.Repo]bool{}}
	s.hosts = newHosts(base, o.DownloadHosts)
	s.client = &http.Client{Transport: s.hosts.transport(o.Transport, o.Timeout), CheckRedirect: s.redirected}
	return s, nil
}

// Name is "github", with the host if it is not GitHub's own.
func (s *Source) Name() string {
	if s.base.String() == DefaultBase {
		return "github"
	}
	return "github:" + s.base.Host
}

// Has goes by the allow-list.
func (s *Source) Has(r simplestreams.Repo) bool { return s.o.Allow.Allows(r) }

// Local is false.
func (*Source) Local() bool { return false }

// Close gives idle connections back.
func (s *Source) Close() { s.client.CloseIdleConnections() }

// Limit tells what GitHub last said of its rate limit.
func (s *Source) Limit() Limit { return s.limit.get() }

const maxRedirects = 5

// redirected decides on each step of a redirect.
func (s *Source) redirected(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errors.New("it redirects too often")
	}
	if err := s.hosts.check(req.URL); err != nil {
		return err
	}
	if req.URL.Host != s.base.Host || req.URL.Scheme != s.base.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

// do sends a GET. Its errors are Problems; what is the action.
func (s *Source) do(ctx context.Context, what, target string, header http.Header) (*http.Response, error) {
	u, err := url.Parse(target)
	if err == nil {
		err = s.hosts.check(u)
	}
	if err != nil {
		return nil, &simplestreams.Problem{What: what, Cause: err.Error(), Next: "name the host in images.download_hosts if you trust it", Kind: simplestreams.ErrUpstream, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, &simplestreams.Problem{What: what, Kind: simplestreams.ErrUpstream, Err: err}
	}
	req.Header = header
	req.Header.Set("User-Agent", s.o.UserAgent)
	api := u.Host == s.base.Host && u.Scheme == s.base.Scheme && strings.HasPrefix(u.Path, s.base.Path+"/repos/")
	if api {
		if err := s.limit.check(what); err != nil {
			return nil, err
		}
		req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
		if s.o.Token != "" {
			req.Header.Set("Authorization", "Bearer "+s.o.Token)
		}
	}
	resp, err := s.client.Do(req)
	if s.o.Observe != nil {
		kind, status := "download", 0
		if api {
			kind = "api"
		}
		if err == nil {
			status = resp.StatusCode
		}
		s.o.Observe(kind, status)
	}
	if err != nil {
		return nil, failed(what, err)
	}
	if api {
		s.limit.learn(resp)
	}
	return resp, nil
}

// failed makes a Problem of a request that had no answer. The URL in the error may carry a signature: it is left out.
func failed(what string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	p := &simplestreams.Problem{What: what, Cause: err.Error(), Next: "check the way to it", Kind: simplestreams.ErrUpstream, Err: err}
	if errors.Is(err, context.DeadlineExceeded) {
		p.Cause = "it did not answer in time"
	}
	return p
}

// answered makes a Problem of a status that is no success.
func (s *Source) answered(what string, resp *http.Response) error {
	p := &simplestreams.Problem{What: what, Cause: "it answered " + resp.Status, Kind: simplestreams.ErrUpstream}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone, http.StatusUnavailableForLegalReasons:
		p.Kind = simplestreams.ErrNotFound
		p.Next = "check its name; a private repository needs a token that may read it"
	case http.StatusUnauthorized:
		p.Next = "GitHub does not accept the token: write a new one to images.token_file"
	case http.StatusForbidden, http.StatusTooManyRequests:
		if wait, limited := limitedBy(resp, time.Now()); limited {
			p.Kind, p.Retry = simplestreams.ErrLimited, wait
			p.Cause = fmt.Sprintf("GitHub's rate limit is used up for %v", wait.Round(time.Second))
			p.Next = "wait, or give a token in images.token_file"
		} else {
			p.Next = "check what the token may do"
		}
	default:
		p.Next = "it is tried again with the next refresh"
	}
	return p
}
