package githubtest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kinds of requests.
const (
	List     = "list"     // a page of releases
	Asset    = "asset"    // of the API, with a token
	Download = "download" // the public URL, which redirects
	Storage  = "storage"  // where that leads
)

// Double is a GitHub.
type Double struct {
	API   *httptest.Server // also has the public URLs, as github.com does
	Files *httptest.Server // another host, as release-assets.githubusercontent.com is

	// Fault may answer in place of the double: it says whether it did. Set it before the first request.
	Fault func(kind string, w http.ResponseWriter, r *http.Request) bool

	mu     sync.Mutex
	repos  map[string]*Repo
	nextID int64
	counts map[string]int // by kind, and by kind and asset
}

// Repo is a repository of a Double.
type Repo struct {
	Private  string // the token that it needs
	releases []*Release
}

// Release of a Repo.
type Release struct {
	Tag               string
	Draft, Prerelease bool
	Published         time.Time
	Assets            []*File
	id                int64
}

// File is an asset.
type File struct {
	Name    string
	Data    io.ReaderAt
	Size    int64
	Digest  string // in the listing; NoDigest leaves null there, "" computes it
	id      int64
	updated time.Time
}

// NoDigest is that of assets from before GitHub computed digests.
const NoDigest = "none"

// New starts a double.
func New() *Double {
	d := &Double{repos: map[string]*Repo{}, counts: map[string]int{}, nextID: 9_000_000}
	d.API = httptest.NewServer(http.HandlerFunc(d.api))
	d.Files = httptest.NewServer(http.HandlerFunc(d.storage))
	return d
}

// Listen is net.Listen, or that of another network namespace.
type Listen func(network, address string) (net.Listener, error)

// ServeAlso serves the same URLs where listen opens them, until the double is closed.
func (d *Double) ServeAlso(listen Listen) error {
	for _, s := range []*httptest.Server{d.API, d.Files} {
		l, err := listen("tcp", s.Listener.Addr().String())
		if err != nil {
			return err
		}
		go func() { _ = s.Config.Serve(l) }() // ends when the double is closed
	}
	return nil
}

// Close ends it.
func (d *Double) Close() {
	for _, s := range []*httptest.Server{d.API, d.Files} {
		s.Close()
		_ = s.Config.Close() // listeners of ServeAlso
	}
}

// FilesHost is host:port of the files.
func (d *Double) FilesHost() string {
	u, _ := url.Parse(d.Files.URL)
	return u.Host
}

// Bytes is a small file.
func Bytes(name string, data []byte) *File {
	return &File{Name: name, Data: strings.NewReader(string(data)), Size: int64(len(data))}
}

// Sum is the file that sha256sum would write of another.
func Sum(name string, data []byte) *File {
	return Bytes(name+".sha256", fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(data), name))
}

// Publish adds a release, or replaces that of its tag.
func (d *Double) Publish(repo string, r Release) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.repos[repo] == nil {
		d.repos[repo] = &Repo{}
	}
	if r.Published.IsZero() {
		r.Published = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	d.nextID++
	r.id = d.nextID
	for _, f := range r.Assets {
		d.nextID++
		f.id, f.updated = d.nextID, r.Published
		if f.Digest == "" {
			h := sha256.New()
			_, _ = io.Copy(h, io.NewSectionReader(f.Data, 0, f.Size))
			f.Digest = fmt.Sprintf("sha256:%x", h.Sum(nil))
		}
	}
	list := d.repos[repo].releases
	for k := range list {
		if list[k].Tag == r.Tag {
			list = append(list[:k], list[k+1:]...)
			break
		}
	}
	d.repos[repo].releases = append([]*Release{&r}, list...) // newest first
}

// Fill makes a repository of n releases without assets, quickly. Others can be published on top of it.
func (d *Double) Fill(repo string, n int, tag func(k int) string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*Release, n)
	for k := range list {
		d.nextID++
		list[k] = &Release{Tag: tag(k), Published: at, id: d.nextID}
	}
	d.repos[repo] = &Repo{releases: list}
}

// Private makes a repository need a token.
func (d *Double) Private(repo, token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.repos[repo] == nil {
		d.repos[repo] = &Repo{}
	}
	d.repos[repo].Private = token
}

// Remove makes a repository unknown.
func (d *Double) Remove(repo string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.repos, repo)
}

// Count is how many requests of a kind there were; or "storage lxd.amd64.tar.xz" of one file.
func (d *Double) Count(what string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[what]
}

// Counts is a copy of all of them.
func (d *Double) Counts() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]int{}
	for k, n := range d.counts {
		out[k] = n
	}
	return out
}

func (d *Double) count(kind, file string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[kind]++
	if file != "" {
		d.counts[kind+" "+file]++
	}
}

func (d *Double) find(repo, token string) (*Repo, []*Release) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.repos[strings.ToLower(repo)]
	if r == nil || r.Private != "" && token != "Bearer "+r.Private {
		return nil, nil
	}
	return r, append([]*Release(nil), r.releases...)
}

// fault says whether the test's own answer was given.
func (d *Double) fault(kind string, w http.ResponseWriter, r *http.Request) bool {
	return d.Fault != nil && d.Fault(kind, w, r)
}

func (d *Double) api(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(parts) == 4 && parts[0] == "repos" && parts[3] == "releases":
		d.count(List, "")
		if !d.fault(List, w, r) {
			d.list(w, r, parts[1]+"/"+parts[2])
		}
	case len(parts) == 6 && parts[0] == "repos" && parts[4] == "assets":
		d.redirect(Asset, w, r, parts[1]+"/"+parts[2], func(_ *Release, f *File) bool { return strconv.FormatInt(f.id, 10) == parts[5] })
	case len(parts) >= 6 && parts[2] == "releases" && parts[3] == "download":
		tag, name := strings.Join(parts[4:len(parts)-1], "/"), parts[len(parts)-1]
		d.redirect(Download, w, r, parts[0]+"/"+parts[1], func(rel *Release, f *File) bool { return rel.Tag == tag && f.Name == name })
	default:
		notFound(w)
	}
}

func notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"message":"Not Found","documentation_url":"https://docs.github.com/rest/releases/releases#list-releases","status":"404"}`)
}

// RateLimited answers as GitHub does when the limit is used up.
func RateLimited(w http.ResponseWriter, reset time.Time) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-RateLimit-Limit", "60")
	h.Set("X-RateLimit-Remaining", "0")
	h.Set("X-RateLimit-Used", "60")
	h.Set("X-RateLimit-Resource", "core")
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `{"message":"API rate limit exceeded for 203.0.113.10. (But here's the good news: Authenticated requests get a higher rate limit. Check out the documentation for more details.)","documentation_url":"https://docs.github.com/rest/overview/resources-in-the-rest-api#rate-limiting"}`)
}

func (d *Double) redirect(kind string, w http.ResponseWriter, r *http.Request, repo string, is func(*Release, *File) bool) {
	found, releases := d.find(repo, r.Header.Get("Authorization"))
	for _, rel := range releases {
		for _, f := range rel.Assets {
			if !is(rel, f) {
				continue
			}
			d.count(kind, f.Name)
			if d.fault(kind, w, r) {
				return
			}
			if found.Private != "" && kind == Download { // a private repository's public URL is for browsers with a session
				notFound(w)
				return
			}
			http.Redirect(w, r, fmt.Sprintf("%s/github-production-release-asset/%d?sp=r&sig=%x", d.Files.URL, f.id, f.id), http.StatusFound)
			return
		}
	}
	d.count(kind, "")
	notFound(w)
}

func (d *Double) storage(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "the token has come to another host", http.StatusTeapot)
		return
	}
	d.mu.Lock()
	var file *File
	for _, repo := range d.repos {
		for _, rel := range repo.releases {
			for _, f := range rel.Assets {
				if strconv.FormatInt(f.id, 10) == id {
					file = f
				}
			}
		}
	}
	d.mu.Unlock()
	if file == nil {
		d.count(Storage, "")
		http.NotFound(w, r)
		return
	}
	d.count(Storage, file.Name)
	r.URL.RawQuery = file.Name // for faults
	if d.fault(Storage, w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment; filename="+file.Name)
	http.ServeContent(w, r, "", file.updated, io.NewSectionReader(file.Data, 0, file.Size))
}

func (d *Double) list(w http.ResponseWriter, r *http.Request, repo string) {
	_, releases := d.find(repo, r.Header.Get("Authorization"))
	if releases == nil {
		notFound(w)
		return
	}
	q := r.URL.Query()
	per, page := min(number(q, "per_page", 30), 100), number(q, "page", 1)
	last := max((len(releases)+per-1)/per, 1)
	first := min((page-1)*per, len(releases))
	out := []json.RawMessage{}
	for _, rel := range releases[first:min(first+per, len(releases))] {
		out = append(out, d.shape(repo, rel))
	}
	body, _ := json.Marshal(out)
	tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(body))
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	h.Set("X-GitHub-Media-Type", "github.v3; format=json")
	h.Set("X-RateLimit-Limit", "5000")
	h.Set("X-RateLimit-Remaining", "4990")
	h.Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
	var links []string
	link := func(n int, rel string) {
		links = append(links, fmt.Sprintf(`<%s/repositories/8514/releases?per_page=%d&page=%d>; rel="%s"`, d.API.URL, per, n, rel))
	}
	if page > 1 {
		link(page-1, "prev")
	}
	if page < last {
		link(page+1, "next")
		link(last, "last")
	}
	if links != nil {
		h.Set("Link", strings.Join(links, ", "))
	}
	if r.Header.Get("If-None-Match") == tag {
		d.count("unchanged", "")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body)
}

func number(q url.Values, key string, or int) int {
	if n, err := strconv.Atoi(q.Get(key)); err == nil && n > 0 {
		return n
	}
	return or
}
