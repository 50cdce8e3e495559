package lxdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/simplestreams"
	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
	"github.com/lanyard-project/lanyard/simplestreams/library"
	"github.com/lanyard-project/lanyard/simplestreams/server"
	"github.com/lanyard-project/lanyard/simplestreams/source"
	"github.com/lanyard-project/lanyard/simplestreams/source/github"
	"github.com/lanyard-project/lanyard/simplestreams/store"
)

// limit of every wait: tests run on busy machines.
const limit = 3 * time.Minute

const repo = "org/repo"

var made = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until polls.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// site is an image server whose clients are in a node of the lab, in front of a double of GitHub.
type site struct {
	t      *testing.T
	ctx    context.Context
	node   *lab.Node
	double *githubtest.Double
	root   []byte // a squashfs that boots
	pair   tls.Certificate
	dir    string
}

func newSite(t *testing.T, l *lab.Lab) *site {
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	t.Cleanup(cancel)
	s := &site{t: t, ctx: ctx, node: l.Node(1), double: githubtest.New(), dir: t.TempDir()}
	t.Cleanup(s.double.Close)
	must(t, s.double.ServeAlso(s.listen))
	s.trust()
	s.root = squashfs(t, l)
	return s
}

// listen opens a listener in the node.
func (s *site) listen(network, address string) (l net.Listener, err error) {
	doErr := s.node.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, doErr
}

// trust makes a certificate for 127.0.0.1 that everything in the node believes, and nothing else.
func (s *site) trust() {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	must(s.t, err)
	s.pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
	file := filepath.Join(s.node.Dir, "ca.pem")
	must(s.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	s.exec("mount", "--bind", file, "/etc/ssl/certs/ca-certificates.crt")
	must(s.t, s.node.StopLXD(s.ctx, false)) // it has read the machine's own
	must(s.t, s.node.StartLXD(s.ctx))
}

// start starts a server over a cache, and gives its URL and how to stop it.
func (s *site) start(cache string, o server.Options) (url string, lib *library.Library, stop func()) {
	allow, err := simplestreams.NewAllowList([]string{"org/*"})
	must(s.t, err)
	gh, err := github.New(github.Options{Base: s.double.API.URL, DownloadHosts: []string{s.double.FilesHost()}, Allow: allow})
	must(s.t, err)
	st, err := store.Open(store.Options{Dir: filepath.Join(s.dir, cache)})
	must(s.t, err)
	lib = library.New(library.Options{Sources: []source.Source{gh}, Store: st, Refresh: time.Hour})
	o.Library = lib
	srv := server.New(o).HTTP()
	l, err := s.listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	url = "https://" + l.Addr().String() + "/" + repo
	done := make(chan struct{})
	go func() {
		_ = srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{s.pair}, NextProtos: []string{"h2", "http/1.1"}}))
		close(done)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = srv.Close()
		<-done
		lib.Close()
		must(s.t, st.Close())
		gh.Close()
	}
	s.t.Cleanup(stop)
	return url, lib, stop
}

// exec runs a program in the node.
func (s *site) exec(args ...string) string {
	s.t.Helper()
	out, err := s.node.Exec(s.ctx, args...)
	must(s.t, err)
	return out
}

// publish makes a release of a bootable image, and gives its fingerprint.
func (s *site) publish(tag string) string {
	metadata := githubtest.Metadata("x86_64", made, ", tag: '"+tag+"'")
	files := githubtest.Split("amd64", metadata, s.root)
	arm := githubtest.Metadata("aarch64", made, ", tag: '"+tag+"'")
	files = append(files, githubtest.Split("arm64", arm, []byte("never booted"))...)
	files = append(files, githubtest.Bytes("lxd.riscv64.tar.xz", metadata)) // incomplete
	s.double.Publish(repo, githubtest.Release{Tag: tag, Assets: files})
	return githubtest.Combined(metadata, s.root)
}

// refresh makes a server look at its source now.
func (s *site) refresh(lib *library.Library) {
	s.t.Helper()
	r, err := simplestreams.ParseRepo(repo)
	must(s.t, err)
	_, err = lib.Refresh(s.ctx, r)
	must(s.t, err)
}

// image is what clients print of one with --format json.
type image struct {
	Fingerprint  string
	Type         string
	Architecture string
	AutoUpdate   bool `json:"auto_update"`
	Aliases      []struct{ Name string }
	Properties   map[string]string
}

// images are what a client lists, by fingerprint.
func images(t *testing.T, out string) map[string]image {
	t.Helper()
	var list []image
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := map[string]image{}
	for _, i := range list {
		all[i.Fingerprint] = i
	}
	return all
}

func hasAlias(i image, name string) bool {
	for _, a := range i.Aliases {
		if a.Name == name {
			return true
		}
	}
	return false
}

// squashfs makes a root out of the lab's tiny image.
func squashfs(t *testing.T, l *lab.Lab) []byte {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"tar", "-xf", filepath.Join(l.Dir, "tiny.tar"), "-C", dir, "rootfs"},
		{"mksquashfs", filepath.Join(dir, "rootfs"), filepath.Join(dir, "root"), "-noappend", "-no-progress", "-quiet", "-comp", "gzip", "-Xcompression-level", "1"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "root"))
	must(t, err)
	return b
}
