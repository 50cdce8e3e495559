package github

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/source"
)

var repo = simplestreams.Repo{Owner: "org", Name: "repo"}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newSource(t *testing.T, o Options) *Source {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A redirect leads only to known hosts, only by https where GitHub is asked by https, and never takes the token along.
func TestRedirects(t *testing.T) {
	secret := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") }))
	defer secret.Close()
	target := ""
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/loop" {
			http.Redirect(w, r, "/loop", http.StatusFound)
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	}))
	defer api.Close()
	s := newSource(t, Options{Base: api.URL, Token: "t"})
	for _, target = range []string{secret.URL, "file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", "http://localhost:1/", "gopher://x/", api.URL + "/loop", "//evil.example/", "http://user:pw@" + api.Listener.Addr().String() + "/"} {
		body, _, err := s.Open(testContext(t), repo, source.Asset{ID: "1", Name: "x", URL: api.URL + "/org/repo/releases/download/v1/x"}, 0)
		if err == nil || !errors.Is(err, simplestreams.ErrUpstream) {
			t.Errorf("%s: %v, %v", target, body, err)
		}
	}
	for _, u := range []string{"https://evil.example/x", "http://127.0.0.1:1/x", "javascript:alert(1)", ""} {
		if got := s.Public(testContext(t), repo, source.Asset{URL: u}); got != "" {
			t.Errorf("a client would be sent to %s", got)
		}
	}
}

// GitHub's usual hosts may not lead into private networks, whatever their names resolve to.
func TestPrivateAddresses(t *testing.T) {
	base, _ := url.Parse(DefaultBase)
	h := newHosts(base, []string{"10.1.2.3:8080"})
	tr := h.transport(nil, time.Second)
	defer tr.CloseIdleConnections()
	for _, a := range []string{"127.0.0.1:443", "[::1]:443", "10.0.0.1:443", "169.254.169.254:80", "192.168.1.1:443", "[fd00::1]:443", "[fe80::1]:443", "[::ffff:127.0.0.1]:443", "100.64.0.1:443", "0.0.0.0:443"} {
		c, err := tr.DialContext(testContext(t), "tcp", a)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "no public address") {
			t.Errorf("%s: %v", a, err)
		}
	}
	for a, want := range map[string]bool{"140.82.121.4": true, "2606:50c0:8000::154": true, "172.16.0.1": false, "64:ff9b::a00:1": false, "224.0.0.1": false, "255.255.255.255": false} {
		if public(netip.MustParseAddr(a)) != want {
			t.Errorf("%s is public: %t", a, !want)
		}
	}
	for u, want := range map[string]bool{"https://github.com/o/r": true, "https://objects.githubusercontent.com/x?sig=1": true, "https://release-assets.githubusercontent.com/": true,
		"http://github.com/": false, "https://githubusercontent.com.evil.example/": false, "https://evilgithubusercontent.com/": false, "https://github.com:8443/": false,
		"https://a.githubusercontent.com:22/": false, "https://10.1.2.3:8080/": true, "https://10.1.2.3/": false, "https://a@github.com/": false} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.check(parsed); (err == nil) != want {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// The token goes to the API and nowhere else, and opens what is private.
func TestToken(t *testing.T) {
	d := githubtest.New()
	defer d.Close()
	d.Private("org/repo", "ghp_x")
	d.Publish("org/repo", githubtest.Release{Tag: "a/v1.0.0", Assets: []*githubtest.File{githubtest.Bytes("x", []byte("hidden"))}})
	without := newSource(t, Options{Base: d.API.URL, DownloadHosts: []string{d.FilesHost()}})
	if _, err := without.List(testContext(t), repo, nil); !errors.Is(err, simplestreams.ErrNotFound) {
		t.Errorf("without a token: %v", err)
	}
	s := newSource(t, Options{Base: d.API.URL, Token: "ghp_x", DownloadHosts: []string{d.FilesHost()}})
	l, err := s.List(testContext(t), repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := l.Releases[0].Assets[0]
	for from, want := range []string{"hidden", "idden"} {
		body, size, err := s.Open(testContext(t), repo, a, int64(from))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(body)
		if string(b) != want || size != 6 || err != nil {
			t.Errorf("%q of %d, %v", b, size, err)
		}
		body.Close()
	}
	if n := d.Counts(); n[githubtest.Download] != 1 || n[githubtest.Asset] != 2 {
		t.Errorf("it tries the public way once: %v", n)
	}
	if s.Public(testContext(t), repo, a) != "" {
		t.Error("a client would be sent where it may not read")
	}
}

func TestPages(t *testing.T) {
	d := githubtest.New()
	defer d.Close()
	for range 3 {
		for k := range 250 {
			d.Publish("org/repo", githubtest.Release{Tag: "a/v1." + string(rune('a'+k%26)) + strings.Repeat("x", k/26)})
		}
	}
	s := newSource(t, Options{Base: d.API.URL, FullEvery: time.Hour})
	l, err := s.List(testContext(t), repo, nil)
	if err != nil || len(l.Releases) != 250 || len(l.Tags) != 3 || l.Counts[2] != 50 {
		t.Fatalf("%v, %d releases", err, len(l.Releases))
	}
	again, err := s.List(testContext(t), repo, l)
	if err != nil || len(again.Releases) != 250 || d.Count(githubtest.List) != 4 {
		t.Errorf("%v, %d requests", err, d.Count(githubtest.List))
	}
	again.Full = time.Now().Add(-2 * time.Hour) // time to look behind the first page
	if again, err = s.List(testContext(t), repo, again); err != nil || len(again.Releases) != 250 || d.Count(githubtest.List) != 7 || d.Count("unchanged") != 4 {
		t.Errorf("%v, %v", err, d.Counts())
	}
	d.Publish("org/repo", githubtest.Release{Tag: "new/v1.0.0"})
	if again, err = s.List(testContext(t), repo, again); err != nil || len(again.Releases) != 251 || again.Releases[0].Tag != "new/v1.0.0" {
		t.Errorf("%v, %d releases", err, len(again.Releases))
	}
	few := newSource(t, Options{Base: d.API.URL, MaxReleases: 100})
	if l, err := few.List(testContext(t), repo, nil); err != nil || len(l.Releases) != 100 || !l.Cut {
		t.Errorf("%v, %d releases", err, len(l.Releases))
	}
}

func TestLimits(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	answer := func(status int, body string, header ...string) *http.Response {
		h := http.Header{}
		for k := 0; k < len(header); k += 2 {
			h.Set(header[k], header[k+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
	}
	for _, x := range []struct {
		resp    *http.Response
		wait    time.Duration
		limited bool
	}{
		{answer(403, "", "Retry-After", "30"), 30 * time.Second, true},
		{answer(403, "", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1700000600"), 10 * time.Minute, true},
		{answer(403, "", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "9900000000"), time.Hour, true},
		{answer(403, "", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1600000000"), time.Second, true},
		{answer(403, `{"message":"You have exceeded a secondary rate limit"}`), time.Minute, true},
		{answer(429, ""), time.Minute, true},
		{answer(403, `{"message":"Must have admin rights"}`, "X-RateLimit-Remaining", "55"), 0, false},
		{answer(404, "rate limit"), 0, false},
	} {
		if wait, limited := limitedBy(x.resp, now); wait != x.wait || limited != x.limited {
			t.Errorf("%v: %v, %t", x.resp.Header, wait, limited)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, base := range []string{"ftp://x", "api.github.com", "https://", "https://u:p@x", "https://x?y", "::"} {
		if _, err := New(Options{Base: base}); err == nil {
			t.Errorf("%q is a base", base)
		}
	}
	if _, err := New(Options{Token: "a\nb"}); err == nil || strings.Contains(err.Error(), "a\n") {
		t.Errorf("a token with a line break: %v", err)
	}
}
