package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/catalog"
	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/library"
	"github.com/lanyard-project/lanyard/simplestreams/server"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/source/folder"
	"github.com/lanyard-project/lanyard/simplestreams/source/github"
	"github.com/lanyard-project/lanyard/simplestreams/store"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// limit of every wait: tests run on busy machines.
const limit = 10 * time.Minute

var day = time.Date(2021, 11, 30, 12, 0, 0, 0, time.UTC)

// site is a whole server in front of a double of GitHub.
type site struct {
	t      testing.TB
	dir    string
	double *githubtest.Double
	opt    siteOptions
	lib    *library.Library
	http   *httptest.Server
	stop   func()
}

type siteOptions struct {
	server  server.Options
	library library.Options
	github  github.Options
	store   store.Options
	folder  string
	fault   func(kind string, w http.ResponseWriter, r *http.Request) bool
	allow   []string
}

func newSite(t testing.TB, o siteOptions) *site {
	s := &site{t: t, dir: t.TempDir(), double: githubtest.New(), opt: o}
	s.double.Fault = o.fault
	t.Cleanup(s.double.Close)
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start brings it up; after stop it is what a restarted process would be.
func (s *site) start() {
	s.t.Helper()
	o := s.opt
	if o.allow == nil {
		o.allow = []string{"org/*"}
	}
	allow, err := simplestreams.NewAllowList(o.allow)
	must(s.t, err)
	o.github.Base, o.github.Allow = s.double.API.URL, allow
	o.github.DownloadHosts = append(o.github.DownloadHosts, s.double.FilesHost())
	gh, err := github.New(o.github)
	must(s.t, err)
	o.store.Dir = s.dir
	if o.store.Retry == 0 {
		o.store.Retry = time.Millisecond
	}
	st, err := store.Open(o.store)
	must(s.t, err)
	o.library.Store = st
	if o.folder != "" {
		f, err := folder.New(o.folder)
		must(s.t, err)
		s.t.Cleanup(func() { f.Close() })
		o.library.Sources = append(o.library.Sources, f)
	}
	o.library.Sources = append(o.library.Sources, source.Source(gh))
	if o.library.Refresh == 0 {
		o.library.Refresh = time.Hour
	}
	s.lib = library.New(o.library)
	o.server.Library = s.lib
	srv := server.New(o.server)
	s.http = httptest.NewUnstartedServer(srv)
	s.http.Config = srv.HTTP()
	s.http.Start()
	s.stop = func() {
		s.http.CloseClientConnections()
		s.http.Close()
		s.lib.Close()
		must(s.t, st.Close())
		gh.Close()
		s.stop = func() {}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of the body
}

// ask sends a request and follows no redirect.
func (s *site) ask(method, path string, header ...string) answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.http.URL+path, nil)
	must(s.t, err)
	for k := 0; k < len(header); k += 2 {
		req.Header.Set(header[k], header[k+1])
	}
	client := &http.Client{Transport: s.http.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err}
}

func (s *site) get(path string, header ...string) answer {
	s.t.Helper()
	return s.ask(http.MethodGet, path, header...)
}

// images reads images.json of a repository.
func (s *site) images(repo string) stream.Images {
	s.t.Helper()
	a := s.get("/" + repo + "/" + stream.ImagesPath)
	if a.status != http.StatusOK || a.err != nil {
		s.t.Fatalf("images.json of %s: %d %s %v", repo, a.status, a.body, a.err)
	}
	var out stream.Images
	must(s.t, json.Unmarshal(a.body, &out))
	return out
}

func (s *site) refresh(repo string) *catalog.Catalog {
	s.t.Helper()
	r, err := simplestreams.ParseRepo(repo)
	must(s.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	v, err := s.lib.Refresh(ctx, r)
	must(s.t, err)
	return v.Catalog
}

// newest is what clients take for the newest: the greatest serial.
func newest(p stream.Product) string {
	var all []string
	for k := range p.Versions {
		all = append(all, k)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// skipped is why an image is not offered.
func skipped(c *catalog.Catalog, tag string) string {
	for _, s := range c.Skipped {
		if s.Tag == tag {
			return s.Reason
		}
	}
	return ""
}

// until polls.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// image makes a release with one small image, different for each tag.
func image(tag string, legacy bool) githubtest.Release {
	metadata := githubtest.Metadata("x86_64", day, ", serial: '"+tag+"'")
	files := githubtest.Split("amd64", metadata, []byte("root of "+tag))
	if legacy {
		githubtest.Legacy(files)
	}
	return githubtest.Release{Tag: tag, Assets: files}
}
