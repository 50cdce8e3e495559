package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/server"
)

// raw sends a request line as it is, which Go's client would clean.
func (s *site) raw(line string) int {
	s.t.Helper()
	c, err := net.Dial("tcp", s.http.Listener.Addr().String())
	must(s.t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", line)
	must(s.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(s.t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func TestHostileURLs(t *testing.T) {
	o := siteOptions{allow: []string{"org/repo"}}
	s := newSite(t, o)
	s.double.Publish("org/repo", image("a/v1.0.0", false))
	s.images("org/repo")
	before := s.double.Counts()[githubtest.List]
	for _, path := range []string{
		"/", "//", "/org", "/org/repo", "/org/repo/", "/org//streams/v1/index.json", "//org/repo/streams/v1/index.json", "/../repo/streams/v1/index.json",
		"/org/../streams/v1/index.json", "/org/./streams/v1/index.json", "/./repo/streams/v1/index.json", "/org/../../etc/passwd", "/%2e%2e/repo/streams/v1/index.json",
		"/org/%2e%2e/streams/v1/index.json", "/org%2frepo/x/streams/v1/index.json", "/org/repo%2f..%2fother/streams/v1/index.json", "/org/repo%5c..%5cother/streams/v1/index.json",
		"/org/repo%00/streams/v1/index.json", "/org/repo%252f/streams/v1/index.json", "/org/repo/streams/v1/../v1/index.json", "/org/repo/images/a/amd64/v1.0.0/../../x",
		"/org/repo/images/a/amd64/v1.0.0/%2e%2e/lxd.tar.xz", "/-org/repo/streams/v1/index.json", "/o%20rg/repo/streams/v1/index.json", "/org/repo/streams/v1/index.json/",
		"/org/re%0d%0apo/streams/v1/index.json", "/" + strings.Repeat("a", 40) + "/repo/streams/v1/index.json", "/org/" + strings.Repeat("a", 101) + "/streams/v1/index.json",
		"/org/repo/" + strings.Repeat("x/", 1000), "/org/repo/images/a/amd64/v1.0.0/nothing", "/org/repo/images/a/amd64/v1.0.1/lxd.tar.xz", "/org/repo/streams/v2/index.json",
		"/org/repo?x/streams/v1/index.json", "/org/..;/streams/v1/index.json", "/%c0%ae%c0%ae/repo/streams/v1/index.json",
	} {
		if status := s.raw("GET " + path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, line := range []string{"GET http://169.254.169.254/latest/meta-data", "CONNECT example.com:443"} { // it is no proxy
		if status := s.raw(line); status/100 != 4 {
			t.Errorf("%s: %d", line, status)
		}
	}
	for _, path := range []string{"/other/repo/streams/v1/index.json", "/org/other/streams/v1/index.json", "/ORG/other/images/a/amd64/v1.0.0/lxd.tar.xz"} {
		if a := s.get(path); a.status != http.StatusForbidden {
			t.Errorf("not on the list: %s: %d", path, a.status)
		}
	}
	if n := s.double.Counts()[githubtest.List] - before; n != 0 {
		t.Errorf("the source was asked %d times", n)
	}
}

// Tags and names of assets are strangers' too.
func TestHostileNames(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, tag := range []string{"../../etc/v1.0.0", "a//v1.0.0", "/v1.0.0", "a,b/v1.0.0", "a b/v1.0.0", "streams/../v1.0.0", "a/v1.0.0/../../x", "a/v1", "a/vx.y.z", "v1.0.0", "-a/v1.0.0", ".hidden/v1.0.0"} {
		s.double.Publish("org/repo", image(tag, false))
	}
	evil := image("ok/v1.0.0", false)
	evil.Assets = append(evil.Assets, githubtest.Bytes("lxd.../../x.tar.xz", []byte("x")), githubtest.Bytes("rootfs.AMD64.squashfs", []byte("x")))
	s.double.Publish("org/repo", evil)
	if p := s.images("org/repo").Products; len(p) != 1 || p["ok:amd64"].Aliases != "ok" {
		t.Errorf("%+v", p)
	}
}

func TestTenThousandReleases(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{Patience: limit}})
	s.double.Fill("org/many", 9_990, func(k int) string { return fmt.Sprintf("old/v1.%d.0", k) }, day)
	for k := range 20 {
		s.double.Publish("org/many", image(fmt.Sprintf("a/v1.%d.0", k), false))
	}
	p := s.images("org/many").Products["a:amd64"]
	if len(p.Versions) != 10 || !strings.HasSuffix(newest(p), "v1.19.0") {
		t.Errorf("%d versions, the newest is %s", len(p.Versions), newest(p))
	}
	if n := s.double.Counts(); n[githubtest.List] != 100 || n["storage lxd.amd64.tar.xz"] != 10 {
		t.Errorf("%d pages, %d files", n[githubtest.List], n["storage lxd.amd64.tar.xz"])
	}
	c := s.refresh("org/many")
	if n := s.double.Counts()[githubtest.List]; n != 101 || !c.Cut || len(c.Skipped) > 2001 {
		t.Errorf("a refresh asked for %d pages more; cut: %t, %d reasons", n-100, c.Cut, len(c.Skipped))
	}
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"/org/repo/streams/v1/index.json", "/o/r/images/a/b/amd64/v1.0.0/lxd.tar.xz", "/%2e%2e/x/y", "/a/b/c?d", "/health", "*"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		u, err := url.ParseRequestURI(p)
		if err != nil {
			return
		}
		owner, name, rest, err := server.ParsePath(u)
		if err != nil || owner == "" {
			return
		}
		whole := owner + "/" + name + "/" + rest
		if !strings.EqualFold("/"+whole, u.Path) || strings.Contains(whole, "//") || strings.ContainsAny(owner+name, "/\\") {
			t.Fatalf("%q is %q %q %q", p, owner, name, rest)
		}
		for part := range strings.SplitSeq(whole, "/") {
			if part == "." || part == ".." || part == "" {
				t.Fatalf("%q is %q", p, whole)
			}
		}
	})
}
