package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/server"
	"github.com/lanyard-project/lanyard/simplestreams/store"
)

var bigRoot = []byte(strings.Repeat("The quick brown fox jumps over the lazy dog.\n", 20_000))

// Without pull-through a client is sent to the source, for now: 302.
func TestElsewhere(t *testing.T) {
	s := newSite(t, siteOptions{})
	s.double.Publish("org/repo", image("a/v1.0.0", false))
	p := s.images("org/repo").Products["a:amd64"]
	items := p.Versions[newest(p)].Items
	for _, method := range []string{"GET", "HEAD"} {
		a := s.ask(method, "/org/repo/"+items["rootfs.squashfs"].Path)
		want := s.double.API.URL + "/org/repo/releases/download/a/v1.0.0/rootfs.amd64.squashfs"
		if a.status != http.StatusFound || a.header.Get("Location") != want || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", method, a.status, a.header)
		}
	}
	// Metadata was read to make the catalogue: it is here.
	if a := s.get("/org/repo/" + items["lxd.tar.xz"].Path); a.status != http.StatusOK || sum(a.body) != items["lxd.tar.xz"].SHA256 {
		t.Errorf("metadata: %d", a.status)
	}
	if s.double.Count("storage rootfs.amd64.squashfs") != 0 {
		t.Error("the root was fetched for nothing")
	}
}

// A private repository's files come through in any case: a client has no token.
func TestPrivate(t *testing.T) {
	o := siteOptions{}
	o.github.Token = "ghp_secret"
	s := newSite(t, o)
	s.double.Private("org/hidden", "ghp_secret")
	s.double.Publish("org/hidden", image("a/v1.0.0", true))
	p := s.images("org/hidden").Products["a:amd64"]
	item := p.Versions[newest(p)].Items["rootfs.squashfs"]
	s.stop()
	s.start() // and does not know that it is private
	if a := s.get("/org/hidden/" + item.Path); a.status != http.StatusOK || sum(a.body) != item.SHA256 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRanges(t *testing.T) {
	s, item := pull(t, siteOptions{}, bigRoot)
	path := "/org/repo/" + item.Path
	head := s.ask(http.MethodHead, path)
	if head.status != 200 || head.header.Get("Content-Length") != fmt.Sprint(len(bigRoot)) || head.header.Get("Accept-Ranges") != "bytes" || head.header.Get("ETag") != `"`+item.SHA256+`"` {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	if n := s.double.Count("storage rootfs.amd64.squashfs"); n != 0 {
		t.Errorf("HEAD fetched it")
	}
	a := s.get(path, "Range", "bytes=100-199") // the first request: all of it is verified before
	if a.status != http.StatusPartialContent || string(a.body) != string(bigRoot[100:200]) {
		t.Errorf("%d %q", a.status, a.body)
	}
	for _, x := range []struct {
		header, value string
		status        int
		body          []byte
	}{
		{"Range", "bytes=899990-", 206, bigRoot[899990:]}, {"Range", "bytes=-10", 206, bigRoot[len(bigRoot)-10:]}, {"Range", "bytes=9999999-", 416, nil},
		{"If-None-Match", `"` + item.SHA256 + `"`, 304, nil}, {"Range", "bytes=9-1", 416, nil},
	} {
		if a := s.get(path, x.header, x.value); a.status != x.status || x.body != nil && string(a.body) != string(x.body) {
			t.Errorf("%s %s: %d, %d bytes", x.header, x.value, a.status, len(a.body))
		}
	}
	if n := s.double.Count("storage rootfs.amd64.squashfs"); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// Many clients, one download; and none at all after a restart.
func TestSingleFlight(t *testing.T) {
	s, item := pull(t, siteOptions{}, bigRoot)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if a := s.get("/org/repo/" + item.Path); a.status != 200 || sum(a.body) != item.SHA256 {
				t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
			}
		})
	}
	group.Wait()
	s.stop()
	s.start()
	if a := s.get("/org/repo/" + item.Path); sum(a.body) != item.SHA256 {
		t.Errorf("after a restart: %d", a.status)
	}
	if n := s.double.Count("storage rootfs.amd64.squashfs"); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// The process ends in the middle of a download: the next one goes on where it was.
func TestResumedByNextProcess(t *testing.T) {
	block := make(chan struct{})
	var asked atomic.Int32
	var from atomic.Value
	s, item := pull(t, siteOptions{fault: func(kind string, w http.ResponseWriter, r *http.Request) bool {
		if kind != githubtest.Storage || r.URL.RawQuery != "rootfs.amd64.squashfs" {
			return false
		}
		if asked.Add(1) > 1 {
			from.Store(r.Header.Get("Range"))
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(bigRoot)))
		_, _ = w.Write(bigRoot[:600_000])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-block:
		case <-r.Context().Done():
		}
		return true
	}}, bigRoot)
	defer close(block)
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", s.http.URL+"/org/repo/"+item.Path, nil)
	must(t, err)
	go func() {
		if resp, err := s.http.Client().Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	partial := filepath.Join(s.dir, "partial", item.SHA256)
	until(t, "half of it is here", func() bool { i, err := os.Stat(partial); return err == nil && i.Size() >= 500_000 })
	cancel() // the client is gone; then the server too
	s.stop()
	s.start()
	if a := s.get("/org/repo/" + item.Path); a.status != 200 || sum(a.body) != item.SHA256 {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
	if got := fmt.Sprint(from.Load()); !strings.HasPrefix(got, "bytes=5") && !strings.HasPrefix(got, "bytes=6") {
		t.Errorf("it went on with %q", got)
	}
}

// The cache is bounded: what does not fit is fetched elsewhere, and old files make room.
func TestBound(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{PullThrough: true}, store: store.Options{MaxBytes: 100_000}})
	var paths []string
	for k := range 4 {
		tag := fmt.Sprintf("a/v1.%d.0", k)
		s.double.Publish("org/repo", githubtest.Release{Tag: tag, Assets: githubtest.Split("amd64", githubtest.Metadata("x86_64", day, ""), []byte(strings.Repeat(fmt.Sprint(k), 40_000)))})
		paths = append(paths, "/org/repo/images/"+strings.Replace(tag, "/", "/amd64/", 1)+"/rootfs.squashfs")
	}
	s.double.Publish("org/repo", githubtest.Release{Tag: "big/v1.0.0", Assets: githubtest.Split("amd64", githubtest.Metadata("x86_64", day, ""), bigRoot)})
	for range 2 {
		for _, p := range paths {
			if a := s.get(p); a.status != 200 || len(a.body) != 40_000 {
				t.Errorf("%s: %d", p, a.status)
			}
		}
	}
	size := int64(0)
	for _, d := range []string{"files", "partial", "new"} {
		_ = filepath.Walk(filepath.Join(s.dir, d), func(_ string, i os.FileInfo, _ error) error {
			if i != nil && i.Mode().IsRegular() {
				size += i.Size()
			}
			return nil
		})
	}
	if size > 100_000 {
		t.Errorf("%d bytes on disk", size)
	}
	if a := s.get("/org/repo/images/big/amd64/v1.0.0/rootfs.squashfs"); a.status != http.StatusFound {
		t.Errorf("too large for the cache: %d", a.status)
	}
}

// Memory stays flat while 2 GiB stream through. Zeroes take no space on disk.
func TestFlatMemory(t *testing.T) {
	const size = 2 << 30
	head := plainTar(t, "metadata.yaml", githubtest.YAML("x86_64", day, ""))
	s := newSite(t, siteOptions{server: server.Options{PullThrough: true}})
	s.double.Publish("org/repo", githubtest.Release{Tag: "big/v1.0.0", Assets: []*githubtest.File{{Name: "image.amd64.tar.xz", Data: padded(head), Size: size, Digest: "sha256:" + paddedSum}}})
	p := s.images("org/repo").Products["big:amd64"]
	item := p.Versions[newest(p)].Items["lxd_combined.tar.gz"]
	if item.Size != size {
		t.Fatalf("%+v", item)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", s.http.URL+"/org/repo/"+item.Path, nil)
	must(t, err)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, err := s.http.Client().Do(req)
	must(t, err)
	defer resp.Body.Close()
	most, got, b := uint64(0), int64(0), make([]byte, 1<<20)
	for next := int64(0); ; {
		n, err := resp.Body.Read(b)
		if got += int64(n); got >= next {
			runtime.ReadMemStats(&now)
			most, next = max(most, now.HeapInuse), next+128<<20
		}
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	if got != size {
		t.Errorf("%d bytes", got)
	}
	if grown := int64(most) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if a := s.get("/org/repo/"+item.Path, "Range", "bytes=0-5"); a.status != 206 || string(a.body) != "metada" {
		t.Errorf("verified and kept: %d %q", a.status, a.body)
	}
}

// padded reads as these bytes, then zeroes.
type padded []byte

func (d padded) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if at < int64(len(d)) {
		copy(p, d[at:])
	}
	return len(p), nil
}

func TestFolder(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "Site", "images", "alpine", "v1.0.0")
	must(t, os.MkdirAll(dir, 0o755))
	meta := githubtest.Metadata("x86_64", day, "")
	write := func(name string, data []byte) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	write("lxd.amd64.tar.xz", meta)
	write("rootfs.amd64.squashfs", bigRoot)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, githubtest.Metadata("aarch64", day, ""), 0o644))
	must(t, os.Symlink(secret, filepath.Join(dir, "lxd.arm64.tar.xz")))
	write("rootfs.arm64.squashfs", bigRoot)
	o := siteOptions{folder: root}
	o.library.Local = time.Millisecond
	s := newSite(t, o)
	images := s.images("site/images")
	p := images.Products["alpine:amd64"]
	item := p.Versions[newest(p)].Items["rootfs.squashfs"]
	if p.Versions[newest(p)].Items["lxd.tar.xz"].CombinedSquashFS != githubtest.Combined(meta, bigRoot) {
		t.Errorf("%+v", images)
	}
	if _, ok := images.Products["alpine:arm64"]; ok {
		t.Error("a link led outside")
	}
	if a := s.get("/site/images/"+item.Path, "Range", "bytes=4-8"); a.status != 206 || string(a.body) != string(bigRoot[4:9]) {
		t.Errorf("%d %q", a.status, a.body)
	}
	if a := s.get("/site/images/" + item.Path); a.status != 200 || sum(a.body) != item.SHA256 {
		t.Errorf("%d", a.status)
	}
	write("rootfs.amd64.squashfs", []byte("a newer root"))
	until(t, "the changed file is listed", func() bool {
		p := s.images("site/images").Products["alpine:amd64"]
		return p.Versions[newest(p)].Items["rootfs.squashfs"].SHA256 == sum([]byte("a newer root"))
	})
	must(t, os.MkdirAll(filepath.Join(root, "site2", "x"), 0o755))
	if a := s.get("/site2/x/streams/v1/images.json"); a.status != 200 {
		t.Errorf("empty: %d", a.status)
	}
	if n := s.double.Count(githubtest.List); n != 0 {
		t.Errorf("GitHub was asked %d times", n)
	}
}
