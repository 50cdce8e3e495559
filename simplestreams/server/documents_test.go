package server_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/library"
	"github.com/lanyard-project/lanyard/simplestreams/server"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
)

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func TestDocuments(t *testing.T) {
	s := newSite(t, siteOptions{})
	meta, root := githubtest.Metadata("x86_64", day, ", variant: cloud, version: '3.14'"), []byte("squash")
	arm, rootXZ, disk := githubtest.Metadata("aarch64", day, ", requirements.secureboot: 'false'"), []byte("root.tar.xz"), []byte("qcow2")
	files := githubtest.Split("amd64", meta, root)
	files = append(files, githubtest.Bytes("lxd.arm64.tar.xz", arm), githubtest.Bytes("rootfs.arm64.tar.xz", rootXZ), githubtest.Bytes("disk.arm64.qcow2", disk))
	files = append(files, githubtest.Bytes("lxd.riscv64.tar.xz", meta)) // incomplete
	s.double.Publish("org/repo", githubtest.Release{Tag: "alpine/3.14/v1.2.0-1", Assets: files})

	a := s.get("/org/repo/" + stream.IndexPath)
	want := `{"index":{"images":{"datatype":"image-downloads","path":"streams/v1/images.json","format":"products:1.0","products":["alpine/3.14:amd64","alpine/3.14:arm64"]}},"format":"index:1.0"}`
	if a.status != 200 || string(a.body) != want || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("index: %d %s", a.status, a.body)
	}
	images := s.images("ORG/Repo")
	if images.ContentID != "images" || images.Format != "products:1.0" || images.DataType != "image-downloads" || len(images.Products) != 2 {
		t.Errorf("%+v", images)
	}
	p := images.Products["alpine/3.14:amd64"]
	serial := "20211130_0001.0002.0000-0001+v1.2.0-1"
	v := p.Versions[serial]
	p.Versions = nil
	if got := fmt.Sprintf("%+v", p); got != `{Aliases:alpine/3.14 Arch:amd64 OS:testos Release:r1 ReleaseTitle:r1 Requirements:map[] Supported:false SupportEOL:2023-11-30 Version:3.14 Variant:cloud Versions:map[]}` {
		t.Errorf("product: %s", got)
	}
	dir := "images/alpine/3.14/amd64/v1.2.0-1/"
	combined := githubtest.Combined(meta, root)
	wantItems := map[string]stream.Item{
		"lxd.tar.xz":      {FileType: "lxd.tar.xz", SHA256: sum(meta), Size: int64(len(meta)), Path: dir + "lxd.tar.xz", CombinedSquashFS: combined},
		"incus.tar.xz":    {FileType: "incus.tar.xz", SHA256: sum(meta), Size: int64(len(meta)), Path: dir + "incus.tar.xz", CombinedSquashFS: combined},
		"rootfs.squashfs": {FileType: "squashfs", SHA256: sum(root), Size: int64(len(root)), Path: dir + "rootfs.squashfs"},
	}
	if v.Label != "an image for tests" || !maps.Equal(v.Items, wantItems) {
		t.Errorf("version: %+v", v)
	}
	v = images.Products["alpine/3.14:arm64"].Versions[serial]
	if i := v.Items["lxd.tar.xz"]; i.CombinedRootXZ != githubtest.Combined(arm, rootXZ) || i.Combined != i.CombinedRootXZ || i.CombinedDiskKVM != githubtest.Combined(arm, disk) || i.CombinedSquashFS != "" {
		t.Errorf("several roots: %+v", i)
	}
	if i := v.Items["disk.qcow2"]; i.FileType != "disk-kvm.img" || images.Products["alpine/3.14:arm64"].Requirements["secureboot"] != "false" {
		t.Errorf("a disk: %+v", i)
	}
	c := s.refresh("org/repo")
	if why := skipped(c, "alpine/3.14/v1.2.0-1"); !strings.Contains(why, "no root") {
		t.Errorf("the incomplete one: %q", why)
	}
	for _, item := range v.Items {
		if a := s.get("/org/repo/" + item.Path); sum(a.body) != item.SHA256 && a.status != http.StatusFound {
			t.Errorf("%s: %d, %d bytes", item.Path, a.status, len(a.body))
		}
	}
}

func TestValidators(t *testing.T) {
	s := newSite(t, siteOptions{})
	s.double.Publish("org/repo", image("a/v1.0.0", false))
	path := "/org/repo/" + stream.ImagesPath
	plain := s.get(path, "Accept-Encoding", "identity")
	zipped := s.get(path, "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(bytes.NewReader(zipped.body))
	must(t, err)
	unzipped, err := io.ReadAll(z)
	must(t, err)
	if !bytes.Equal(plain.body, unzipped) || zipped.header.Get("Content-Encoding") != "gzip" || plain.header.Get("ETag") == zipped.header.Get("ETag") {
		t.Errorf("%v %v", plain.header, zipped.header)
	}
	for _, a := range []answer{plain, zipped} {
		encoding := a.header.Get("Content-Encoding")
		if again := s.get(path, "If-None-Match", a.header.Get("ETag"), "Accept-Encoding", encoding+", identity"); again.status != http.StatusNotModified || len(again.body) != 0 {
			t.Errorf("validated: %d", again.status)
		}
		head := s.ask(http.MethodHead, path, "Accept-Encoding", encoding+", identity")
		if head.status != 200 || head.header.Get("Content-Length") != fmt.Sprint(len(a.body)) || len(head.body) != 0 {
			t.Errorf("HEAD: %d %v", head.status, head.header)
		}
	}
	if a := s.ask(http.MethodPost, path); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
		t.Errorf("POST: %d", a.status)
	}
	for _, m := range []string{"GET", "HEAD", "POST"} {
		if a := s.ask(m, "/health"); a.status != http.StatusNoContent {
			t.Errorf("%s /health: %d", m, a.status)
		}
	}
}

// Of several releases of one day clients must take the newest.
func TestSameDay(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, v := range []string{"1.10.0", "1.9.0", "1.10.0-rc.1", "1.2.0"} { // published in this order
		s.double.Publish("org/repo", image("a/v"+v, true))
	}
	for _, v := range []string{"20.10.8-10", "20.10.8-9", "20.10.8-2"} {
		s.double.Publish("org/repo", image("docker/v"+v, false))
	}
	images := s.images("org/repo")
	var serials []string
	for k := range images.Products["a:amd64"].Versions {
		serials = append(serials, k[strings.LastIndex(k, "v"):])
	}
	slices.SortFunc(serials, func(x, y string) int {
		find := func(v string) (serial string) {
			for k := range images.Products["a:amd64"].Versions {
				if strings.HasSuffix(k, v) && k[strings.LastIndex(k, "v"):] == v {
					serial = k
				}
			}
			return serial
		}
		return strings.Compare(find(x), find(y))
	})
	if got := strings.Join(serials, " "); got != "v1.2.0 v1.9.0 v1.10.0-rc.1 v1.10.0" {
		t.Errorf("in the order of clients: %s", got)
	}
	if got := newest(images.Products["docker:amd64"]); !strings.HasSuffix(got, "v20.10.8-10") {
		t.Errorf("newest: %s", got)
	}
}

// A hundred lists cost one listing, and each file is looked at once; a restart costs nothing.
func TestHundredLists(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, tag := range []string{"a/v1.0.0", "a/v1.1.0", "b/v1.0.0"} {
		s.double.Publish("org/repo", image(tag, true))
	}
	list := func() {
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				for range 10 {
					if a := s.get("/org/repo/" + stream.IndexPath); a.status != 200 {
						t.Errorf("index: %d", a.status)
					}
					if a := s.get("/org/repo/" + stream.ImagesPath); a.status != 200 {
						t.Errorf("images: %d", a.status)
					}
				}
			})
		}
		group.Wait()
	}
	list()
	before := s.double.Counts()
	if before[githubtest.List] != 1 || before["storage lxd.amd64.tar.xz"] != 3 || before["storage rootfs.amd64.squashfs"] != 0 || before["storage combined.amd64.sha256"] != 3 {
		t.Errorf("asked for: %v", before)
	}
	s.stop()
	s.start()
	list()
	if after := s.double.Counts(); !maps.Equal(before, after) {
		t.Errorf("after a restart: %v, before: %v", after, before)
	}
}

// A refresh transfers nothing that has not changed.
func TestRefresh(t *testing.T) {
	s := newSite(t, siteOptions{})
	s.double.Publish("org/repo", image("a/v1.0.0", true))
	s.images("org/repo")
	s.refresh("org/repo")
	if n := s.double.Counts(); n["unchanged"] != 1 || n[githubtest.List] != 2 || n["storage lxd.amd64.tar.xz"] != 1 {
		t.Errorf("%v", n)
	}
	s.double.Publish("org/repo", image("a/v1.1.0", true))
	if c := s.refresh("org/repo"); len(c.Images) != 2 || c.Images[0].Version != "1.1.0" {
		t.Errorf("%+v", c)
	}
	if n := s.double.Counts(); n["storage lxd.amd64.tar.xz"] != 2 {
		t.Errorf("%v", n)
	}
}

func TestBackground(t *testing.T) {
	s := newSite(t, siteOptions{library: library.Options{Refresh: 20e6}})
	s.double.Publish("org/repo", image("a/v1.0.0", false))
	s.images("org/repo")
	done := make(chan error, 1)
	ctx, cancel := testContext(t)
	go func() { done <- s.lib.Run(ctx) }()
	s.double.Publish("org/repo", image("a/v1.1.0", false))
	until(t, "the new release is listed without anybody asking", func() bool {
		st := s.lib.Status()
		return len(st) == 1 && len(st[0].View.Catalog.Images) == 2
	})
	cancel()
	must(t, <-done)
}

func TestDirect(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{PullThrough: true}})
	body := githubtest.Tar(githubtest.Entry{Header: header("metadata.yaml"), Body: githubtest.YAML("x86_64", day, "")}, githubtest.Entry{Header: header("rootfs/bin/sh"), Body: "sh"})
	s.double.Publish("org/repo", githubtest.Release{Tag: "u/v1.0.0", Assets: []*githubtest.File{githubtest.Bytes("image.amd64.tar.xz", []byte("old")), githubtest.Bytes("x", nil)}})
	s.double.Publish("org/repo", githubtest.Release{Tag: "u/v1.1.0", Assets: []*githubtest.File{githubtest.Bytes("image.amd64.tar.xz", body)}})
	for _, path := range []string{"/org/repo/u", "/org/repo/u/v1.1.0"} {
		a := s.ask(http.MethodHead, path, "LXD-Server-Architectures", "x86_64, i686")
		url := a.header.Get("LXD-Image-URL")
		if a.status != http.StatusNoContent || a.header.Get("LXD-Image-Hash") != sum(body) || url != s.http.URL+"/org/repo/images/u/amd64/v1.1.0/image.tar.xz" {
			t.Fatalf("%s: %d %v", path, a.status, a.header)
		}
		if got := s.get(strings.TrimPrefix(url, s.http.URL)); sum(got.body) != sum(body) {
			t.Errorf("%s: %d", url, got.status)
		}
	}
	for _, path := range []string{"/org/repo/u/v1.0.0", "/org/repo/nothing", "/org/repo/u/v9.9.9"} { // the old one is no archive
		if a := s.ask(http.MethodHead, path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	images := s.images("org/repo")
	item := images.Products["u:amd64"].Versions["20211130_0001.0001.0000_v1.1.0"].Items["incus_combined.tar.gz"]
	if item.SHA256 != sum(body) || item.FileType != "incus_combined.tar.gz" {
		b, _ := json.Marshal(images)
		t.Errorf("%s", b)
	}
}
