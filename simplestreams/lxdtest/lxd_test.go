package lxdtest

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/server"
	"github.com/lanyard-project/lanyard/webspace"
	"github.com/lanyard-project/lanyard/webspace/lxdtest"
)

// One lab for all clients: it takes seconds to build.
func TestClients(t *testing.T) {
	l := lxdtest.New(t, 1)
	s := newSite(t, l)
	t.Run("lxd", func(t *testing.T) { withLXD(t, s, l) })
	t.Run("incus", func(t *testing.T) { withIncus(t, s) })
}

// withLXD does what the documentation tells members of staff to do, with the real client.
func withLXD(t *testing.T, s *site, l *lab.Lab) {
	s.t = t
	lxc := func(args ...string) string { t.Helper(); return s.exec(append([]string{"lxc"}, args...)...) }
	old := s.publish("a/v1.9.0")
	url, lib, stop := s.start("pull", server.Options{PullThrough: true})
	lxc("remote", "add", "x", url, "--protocol", "simplestreams")

	listed := images(t, lxc("image", "list", "x:", "--format", "json"))
	if i := listed[old]; len(listed) != 2 || i.Architecture != "x86_64" || i.Type != "container" || !hasAlias(i, "a") || i.Properties["serial"] != "20260203_0001.0009.0000_v1.9.0" || i.Properties["os"] != "testos" {
		t.Fatalf("listed: %+v", listed)
	}
	if info := lxc("image", "info", "x:a"); !strings.Contains(info, old) || !strings.Contains(info, "2028/02/03") {
		t.Errorf("info: %s", info)
	}
	lxc("image", "copy", "--auto-update", "--alias", "a", "x:a", "local:")
	if i := images(t, lxc("image", "list", "--format", "json"))[old]; !i.AutoUpdate || !hasAlias(i, "a") {
		t.Errorf("copied: %+v", i)
	}
	lxc("launch", "x:a", "c1")
	if out := lxc("exec", "c1", "-T", "--", "busybox", "echo", "it lives"); strings.TrimSpace(out) != "it lives" {
		t.Errorf("in the container: %q", out)
	}
	lxc("delete", "--force", "c1")

	t.Run("hundred", func(t *testing.T) {
		before := s.double.Counts()
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 25 {
					if _, err := s.node.LXC(s.ctx, "image", "list", "x:", "--format", "csv"); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		if after := s.double.Counts(); !maps.Equal(before, after) || before[githubtest.List] != 1 || before["storage lxd.amd64.tar.xz"] != 1 || before["storage rootfs.amd64.squashfs"] != 1 {
			t.Errorf("GitHub was asked for %v, before that for %v", after, before)
		}
	})
	t.Run("update", func(t *testing.T) {
		// Both releases are of one day; LXD must take 1.10.0 for the newer one.
		newer := s.publish("a/v1.10.0")
		s.publish("a/v1.10.0-rc.1")
		s.refresh(lib)
		s.exec("sh", "-c", "rm -rf /var/lib/lxd/cache/*") // LXD keeps the index for an hour
		must(t, s.node.StopLXD(s.ctx, false))             // it looks for updates when it starts, and then every six hours
		must(t, s.node.StartLXD(s.ctx))
		until(t, "LXD has updated its copy by itself", func() bool {
			i := images(t, lxc("image", "list", "--format", "json"))[newer]
			return hasAlias(i, "a") && i.AutoUpdate
		})
	})
	t.Run("restart", func(t *testing.T) {
		before := s.double.Counts()
		stop()
		again, _, stop := s.start("pull", server.Options{PullThrough: true})
		defer stop()
		lxc("remote", "add", "y", again, "--protocol", "simplestreams")
		if listed := images(t, lxc("image", "list", "y:", "--format", "json")); len(listed) != 6 {
			t.Errorf("listed: %+v", listed)
		}
		if after := s.double.Counts(); !maps.Equal(before, after) {
			t.Errorf("GitHub was asked for %v, before that for %v", after, before)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		want := s.publish("b/v1.0.0")
		url, _, stop := s.start("redirect", server.Options{})
		defer stop()
		lxc("remote", "add", "z", url, "--protocol", "simplestreams")
		lxc("image", "copy", "--alias", "b", "z:b", "local:")
		if i := images(t, lxc("image", "list", "--format", "json"))[want]; !hasAlias(i, "b") {
			t.Errorf("copied: %+v", i)
		}
	})
	t.Run("unified", func(t *testing.T) {
		b, err := os.ReadFile(filepath.Join(l.Dir, "tiny.tar"))
		must(t, err)
		b = append(b, make([]byte, 512)...) // another file than the lab's own image
		s.double.Publish(repo, githubtest.Release{Tag: "u/v1.0.0", Assets: []*githubtest.File{githubtest.Bytes("image.amd64.tar.gz", b)}})
		url, _, stop := s.start("unified", server.Options{PullThrough: true})
		defer stop()
		want := fmt.Sprintf("%x", sha256.Sum256(b))
		lxc("image", "import", url+"/u", "--alias", "u")
		if i := images(t, lxc("image", "list", "--format", "json"))[want]; !hasAlias(i, "u") {
			t.Errorf("imported: %+v", i)
		}
		lxc("image", "delete", "u")
		lxc("remote", "add", "w", url, "--protocol", "simplestreams")
		lxc("image", "copy", "--alias", "u2", "w:u", "local:")
		if i := images(t, lxc("image", "list", "--format", "json"))[want]; !hasAlias(i, "u2") {
			t.Errorf("copied: %+v", i)
		}
	})
	t.Run("sync", func(t *testing.T) {
		url, lib, stop := s.start("sync", server.Options{PullThrough: true})
		defer stop()
		st := lxdtest.Store(t, s.node, limit)
		first := s.publish("d/v1.0.0")
		copyOf := webspace.ImageCopy{Server: url, Name: "d", Alias: "standard"}
		got, err := st.CopyImage(s.ctx, copyOf, func(string) {})
		if err != nil || got.Fingerprint != first || got.Was != "" {
			t.Fatalf("new: %+v, %v", got, err)
		}
		if got, err = st.CopyImage(s.ctx, copyOf, nil); err != nil || got.Fingerprint != first || got.Was != first {
			t.Errorf("current: %+v, %v", got, err)
		}
		second := s.publish("d/v1.1.0")
		s.refresh(lib)
		s.exec("sh", "-c", "rm -rf /var/lib/lxd/cache/*")
		if got, err = st.CopyImage(s.ctx, copyOf, func(string) {}); err != nil || got.Fingerprint != second || got.Was != first {
			t.Errorf("updated: %+v, %v", got, err)
		}
		if _, err := st.CopyImage(s.ctx, webspace.ImageCopy{Server: url, Name: "d", Alias: lab.Tiny}, nil); err == nil {
			t.Error("it took another image's name")
		}
	})
	t.Run("hostile", func(t *testing.T) { // LXD never sees it
		bad := githubtest.Tar(githubtest.Entry{Header: tar.Header{Name: "metadata.yaml"}, Body: githubtest.YAML("x86_64", made, "")}, githubtest.Entry{Header: tar.Header{Name: "../../../etc/cron.d/x"}, Body: "x"})
		s.double.Publish(repo, githubtest.Release{Tag: "evil/v1.0.0", Assets: githubtest.Split("amd64", bad, s.root)})
		url, _, stop := s.start("hostile", server.Options{PullThrough: true})
		defer stop()
		lxc("remote", "add", "h", url, "--protocol", "simplestreams")
		if _, err := s.node.LXC(s.ctx, "image", "info", "h:evil"); err == nil {
			t.Error("a hostile image is offered")
		}
		lxc("image", "info", "h:a")
	})
}
