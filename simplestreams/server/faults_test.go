package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/library"
	"github.com/lanyard-project/lanyard/simplestreams/server"
	"github.com/lanyard-project/lanyard/simplestreams/source/github"
	"github.com/lanyard-project/lanyard/simplestreams/store"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

// What is wrong with one image leaves that one out, with a reason, and no other.
func TestOneBadImage(t *testing.T) {
	meta := githubtest.Metadata("x86_64", day, "")
	root := []byte("root")
	bomb := gzipBomb(t)
	traversal := githubtest.Tar(githubtest.Entry{Header: header("metadata.yaml"), Body: githubtest.YAML("x86_64", day, "")}, githubtest.Entry{Header: header("../../etc/passwd"), Body: "root"})
	huge := githubtest.Tar(githubtest.Entry{Header: header("metadata.yaml"), Body: strings.Repeat("#", 2<<20)})
	split := func(m []byte) []*githubtest.File { return githubtest.Legacy(githubtest.Split("amd64", m, root)) }
	with := func(files []*githubtest.File, name, data string) []*githubtest.File {
		for k := range files {
			if files[k].Name == name {
				files[k] = githubtest.Legacy([]*githubtest.File{githubtest.Bytes(name, []byte(data))})[0]
			}
		}
		return files
	}
	without := func(files []*githubtest.File, name string) (out []*githubtest.File) {
		for _, f := range files {
			if f.Name != name {
				out = append(out, f)
			}
		}
		return out
	}
	zeroes := strings.Repeat("0", 64)
	for _, x := range []struct {
		name  string
		files []*githubtest.File
		why   string // "": it is offered
	}{
		{"corrupt", split([]byte("\xfd7zXZ\x00 and nonsense")), "no xz file"},
		{"empty", split(nil), "it is empty"},
		{"truncated", split(meta[:len(meta)/2]), "lxd.amd64.tar.xz"},
		{"bomb", split(bomb), "longer than 64 MiB"},
		{"traversal", split(traversal), "leads outside"},
		{"huge-metadata", split(huge), "longer than"},
		{"other-arch", split(githubtest.Metadata("aarch64", day, "")), "it is for arm64"},
		{"no-checksums", without(without(without(split(meta), "lxd.amd64.tar.xz.sha256"), "rootfs.amd64.squashfs.sha256"), "combined.amd64.sha256"), ""},
		{"no-combined", without(split(meta), "combined.amd64.sha256"), ""},
		{"wrong-metadata-sum", with(split(meta), "lxd.amd64.tar.xz.sha256", zeroes), "should be " + zeroes},
		{"wrong-root-sum", without(with(split(meta), "rootfs.amd64.squashfs.sha256", zeroes), "combined.amd64.sha256"), "should be " + zeroes},
		{"error-page-for-sum", with(split(meta), "combined.amd64.sha256", "<!DOCTYPE html><html><head><title>Unicorn!</title></head><body>We had issues</body></html>"), "does not begin with a SHA-256"},
		{"no-root", without(split(meta), "rootfs.amd64.squashfs"), "no root"},
		{"no-metadata", without(split(meta), "lxd.amd64.tar.xz"), "is missing"},
		{"too-large", append(split(meta)[1:], &githubtest.File{Name: "lxd.amd64.tar.xz", Data: zeroReader{}, Size: 1 << 30, Digest: githubtest.NoDigest}), "metadata has"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, siteOptions{})
			s.double.Publish("org/repo", image("good/v1.0.0", false))
			s.double.Publish("org/repo", githubtest.Release{Tag: "x/v1.0.0", Assets: x.files})
			images := s.images("org/repo")
			if _, ok := images.Products["good:amd64"]; !ok {
				t.Error("its neighbour is gone")
			}
			p, ok := images.Products["x:amd64"]
			why := skipped(s.refresh("org/repo"), "x/v1.0.0")
			if ok != (x.why == "") || !strings.Contains(why, x.why) {
				t.Errorf("offered: %t, because: %q", ok, why)
			}
			if ok {
				if i := p.Versions[newest(p)].Items["lxd.tar.xz"]; i.CombinedSquashFS != githubtest.Combined(meta, root) {
					t.Errorf("computed: %+v", i)
				}
			}
		})
	}
}

type zeroReader struct{}

func (zeroReader) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// What the source answers decides what a client is answered: the first time, and when something is known already.
func TestFailingSource(t *testing.T) {
	for _, x := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		status int
		retry  bool
	}{
		{"404", func(w http.ResponseWriter) { http.Error(w, `{"message":"Not Found"}`, 404) }, 404, false},
		{"500", func(w http.ResponseWriter) { http.Error(w, "oops", 500) }, 502, false},
		{"403", func(w http.ResponseWriter) {
			http.Error(w, `{"message":"Resource not accessible by integration"}`, http.StatusForbidden)
		}, 502, false},
		{"rate limit", func(w http.ResponseWriter) { githubtest.RateLimited(w, time.Now().Add(30*time.Minute)) }, 429, true},
		{"secondary limit", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "77")
			http.Error(w, `{"message":"You have exceeded a secondary rate limit."}`, http.StatusForbidden)
		}, 429, true},
		{"nonsense", func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"message":"this is no list"}`)) }, 502, false},
		{"cut off", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`[{"tag_name":`))
		}, 502, false},
		{"silence", nil, 504, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var broken atomic.Bool
			broken.Store(true)
			silent := make(chan struct{})
			t.Cleanup(func() { close(silent) })
			s := newSite(t, siteOptions{library: library.Options{Retry: time.Hour},
				fault: func(kind string, w http.ResponseWriter, r *http.Request) bool {
					if kind != githubtest.List || !broken.Load() {
						return false
					}
					if x.answer != nil {
						x.answer(w)
						return true
					}
					select {
					case <-silent:
					case <-r.Context().Done():
					}
					return true
				}})
			if x.answer == nil { // no need to wait long for nothing
				s.stop()
				s.opt.github.Timeout = 50 * time.Millisecond
				s.start()
			}
			s.double.Publish("org/repo", image("a/v1.0.0", false))
			path := "/org/repo/" + stream.ImagesPath
			a := s.get(path)
			var p struct {
				Message, Title string
				Status         int
			}
			if err := json.Unmarshal(a.body, &p); err != nil || p.Message == "" || p.Title == "" || p.Status != a.status || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("the problem: %s (%v)", a.body, err)
			}
			if a.status != x.status || (a.header.Get("Retry-After") != "") != x.retry {
				t.Errorf("nothing is known: %d, retry %q: %s", a.status, a.header.Get("Retry-After"), a.body)
			}
			// Nobody is asked again for a while, whatever clients do.
			n := s.double.Count(githubtest.List)
			for range 20 {
				s.get(path)
			}
			if again := s.double.Count(githubtest.List); again != n {
				t.Errorf("asked %d times more", again-n)
			}
			broken.Store(false)
			s.stop()
			s.opt.library.Refresh = time.Millisecond
			s.opt.github.Timeout = 0
			s.start()
			s.images("org/repo")
			broken.Store(true)
			s.stop()
			s.start()
			for range 3 { // now something is known
				if a := s.get(path); a.status != http.StatusOK || a.header.Get("Age") == "" {
					t.Errorf("stale: %d", a.status)
				}
			}
		})
	}
}

// A used-up limit is known from the headers of a good answer too.
func TestLimitFromHeaders(t *testing.T) {
	var limited atomic.Bool
	s := newSite(t, siteOptions{fault: func(kind string, w http.ResponseWriter, _ *http.Request) bool {
		if kind == githubtest.List && limited.Load() {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", "99999999999")
			_, _ = w.Write([]byte("[]"))
			return true
		}
		return false
	}})
	limited.Store(true)
	if a := s.get("/org/empty/" + stream.IndexPath); a.status != http.StatusOK || !strings.Contains(string(a.body), `"products":[]`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.get("/org/other/" + stream.IndexPath); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if n := s.double.Count(githubtest.List); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// pull is a site whose files come through it, with a release that has a big root.
func pull(t *testing.T, o siteOptions, root []byte) (*site, stream.Item) {
	o.server.PullThrough = true
	s := newSite(t, o)
	meta := githubtest.Metadata("x86_64", day, "")
	s.double.Publish("org/repo", githubtest.Release{Tag: "big/v1.0.0", Assets: githubtest.Split("amd64", meta, root)})
	p := s.images("org/repo").Products["big:amd64"]
	return s, p.Versions[newest(p)].Items["rootfs.squashfs"]
}

// The source breaks off in the middle, again and again: the download is resumed where it stopped.
func TestTruncatedSource(t *testing.T) {
	root := []byte(strings.Repeat("0123456789abcdef", 100_000))
	s, item := pull(t, siteOptions{fault: func(kind string, w http.ResponseWriter, r *http.Request) bool {
		if kind != githubtest.Storage || r.URL.RawQuery != "rootfs.amd64.squashfs" {
			return false
		}
		http.ServeContent(&cutter{ResponseWriter: w, left: 600_000}, r, "", time.Time{}, strings.NewReader(string(root)))
		return true
	}}, root)
	if a := s.get("/org/repo/" + item.Path); a.status != http.StatusOK || a.err != nil || sum(a.body) != item.SHA256 {
		t.Errorf("%d %v, %d bytes", a.status, a.err, len(a.body))
	}
	if n := s.double.Count("storage rootfs.amd64.squashfs"); n != 3 {
		t.Errorf("asked %d times for three pieces", n)
	}
}

// cutter breaks a connection off after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// The source gives other bytes, of the same length: no client can complete the file.
func TestWrongBytes(t *testing.T) {
	root := []byte(strings.Repeat("0123456789abcdef", 100_000))
	for _, first := range []bool{false, true} {
		s, item := pull(t, siteOptions{server: server.Options{VerifyFirst: first}, store: store.Options{Forget: time.Hour},
			fault: func(kind string, w http.ResponseWriter, r *http.Request) bool {
				if kind != githubtest.Storage || r.URL.RawQuery != "rootfs.amd64.squashfs" {
					return false
				}
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("0123456789abcdeX", 100_000)))
				return true
			}}, root)
		a := s.get("/org/repo/" + item.Path)
		switch {
		case first && (a.status != http.StatusBadGateway || len(a.body) > 1000):
			t.Errorf("verified first: %d, %d bytes", a.status, len(a.body))
		case !first && (a.err == nil && a.status == http.StatusOK || int64(len(a.body)) >= item.Size):
			t.Errorf("%d %v, %d bytes", a.status, a.err, len(a.body))
		}
		until(t, "the image is offered no more", func() bool { _, ok := s.images("org/repo").Products["big:amd64"]; return !ok })
		if why := skipped(s.refresh("org/repo"), "big/v1.0.0"); !strings.Contains(why, "should be "+item.SHA256) {
			t.Errorf("because: %q", why)
		}
		s.stop()
	}
}

// The bytes are right, but the fingerprint that the release claims is not theirs.
func TestWrongFingerprint(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{PullThrough: true}})
	meta, root := githubtest.Metadata("x86_64", day, ""), []byte("root")
	files := githubtest.Split("amd64", meta, root)
	files[4] = githubtest.Bytes("combined.amd64.sha256", []byte(sum([]byte("another"))))
	s.double.Publish("org/repo", githubtest.Release{Tag: "a/v1.0.0", Assets: files})
	p := s.images("org/repo").Products["a:amd64"]
	if a := s.get("/org/repo/" + p.Versions[newest(p)].Items["rootfs.squashfs"].Path); a.status != http.StatusBadGateway || !strings.Contains(string(a.body), "fingerprint") {
		t.Errorf("%d %s", a.status, a.body)
	}
	until(t, "the image is offered no more", func() bool { _, ok := s.images("org/repo").Products["a:amd64"]; return !ok })
}

// A source that stops sending is given up, and asked anew.
func TestStalledSource(t *testing.T) {
	root := []byte(strings.Repeat("0123456789abcdef", 100_000))
	var asked atomic.Int32
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	s, item := pull(t, siteOptions{github: github.Options{Stall: 300 * time.Millisecond}, fault: func(kind string, w http.ResponseWriter, r *http.Request) bool {
		if kind != githubtest.Storage || r.URL.RawQuery != "rootfs.amd64.squashfs" || asked.Add(1) > 1 {
			return false
		}
		w.Header().Set("Content-Length", "1600000")
		_, _ = w.Write(root[:700_000])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
		return true
	}}, root)
	if a := s.get("/org/repo/" + item.Path); a.status != http.StatusOK || a.err != nil || sum(a.body) != item.SHA256 {
		t.Errorf("%d %v, %d bytes", a.status, a.err, len(a.body))
	}
	if asked.Load() < 2 {
		t.Error("it did not ask again")
	}
}

// The source always fails for a file: the client is told, others are served.
func TestFileNeverComes(t *testing.T) {
	root := []byte(strings.Repeat("r", 1000))
	s, item := pull(t, siteOptions{fault: func(kind string, w http.ResponseWriter, r *http.Request) bool {
		if kind == githubtest.Storage && r.URL.RawQuery == "rootfs.amd64.squashfs" {
			http.Error(w, "oops", http.StatusServiceUnavailable)
			return true
		}
		return false
	}}, root)
	if a := s.get("/org/repo/" + item.Path); a.status != http.StatusBadGateway {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.get("/org/repo/" + strings.Replace(item.Path, "rootfs.squashfs", "lxd.tar.xz", 1)); a.status != http.StatusOK {
		t.Errorf("metadata: %d", a.status)
	}
}
