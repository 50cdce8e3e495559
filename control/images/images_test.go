package images_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/admin"
	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/images"
	"github.com/lanyard-project/lanyard/control/images/imagesapi"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
)

const limit = 2 * time.Minute

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// certificate writes a self-signed pair for 127.0.0.1.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	must(t, err)
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600))
	return cert, key
}

// run runs the role until the test ends.
func run(t *testing.T, c config.Images) (at images.Addresses, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan images.Addresses, 1), make(chan error, 1)
	go func() {
		done <- images.Run(ctx, c, "test", slog.New(slog.DiscardHandler), func(a images.Addresses) { ready <- a })
	}()
	select {
	case at = <-ready:
	case err := <-done:
		t.Fatalf("it ended: %v", err)
	case <-time.After(limit):
		t.Fatal("it does not start")
	}
	stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			done <- nil
		case <-time.After(limit):
			t.Error("it does not end")
		}
	}
	t.Cleanup(stop)
	return at, stop
}

// lanyard runs the command line.
func lanyard(t *testing.T, socket string, args ...string) (code int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var o, e bytes.Buffer
	code = admin.Run(ctx, cli.Streams{Out: &o, Err: &e}, "test", append([]string{"images", "--images-socket", socket}, args...))
	return code, o.String(), e.String()
}

func TestRole(t *testing.T) {
	d := githubtest.New()
	defer d.Close()
	made := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)
	meta := githubtest.Metadata("x86_64", made, "")
	d.Publish("org/repo", githubtest.Release{Tag: "a/v1.0.0", Assets: githubtest.Split("amd64", meta, []byte("root"))})
	d.Publish("org/repo", githubtest.Release{Tag: "b/v1.0.0", Assets: githubtest.Split("amd64", meta, nil)[:1]})
	dir := t.TempDir()
	c := config.Default().Images
	c.Address, c.Metrics, c.Socket, c.Cache, c.GitHub = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "s"), filepath.Join(dir, "cache"), d.API.URL
	c.TLS, c.PullThrough, c.Allow = "file", true, []string{"org/*"}
	c.DownloadHosts = []string{d.FilesHost()}
	c.TLSCert, c.TLSKey = certificate(t, dir)
	at, stop := run(t, c)
	public, metrics := "https://"+at.Public.String(), "http://"+at.Metrics.String()

	b, err := os.ReadFile(c.TLSCert)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: limit}
	defer client.CloseIdleConnections()
	get := func(url string) (int, string) {
		t.Helper()
		resp, err := client.Get(url)
		must(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp.StatusCode, string(b)
	}
	if status, body := get(public + "/org/repo/streams/v1/index.json"); status != 200 || !strings.Contains(body, `"a:amd64"`) {
		t.Errorf("%d %s", status, body)
	}
	if code, out, errs := lanyard(t, c.Socket, "list"); code != 0 || !strings.Contains(out, "org/repo") || !strings.Contains(out, "ok") {
		t.Errorf("list: %d %s %s", code, out, errs)
	}
	if code, out, errs := lanyard(t, c.Socket, "list", "org/repo"); code != 0 || !strings.Contains(out, githubtest.Combined(meta, []byte("root"))[:12]) || !strings.Contains(out, "2026-02-03") {
		t.Errorf("list org/repo: %d %s %s", code, out, errs)
	}
	if code, out, errs := lanyard(t, c.Socket, "verify", "org/repo"); code != 3 || !strings.Contains(out, "b/v1.0.0") || !strings.Contains(out, "no root") {
		t.Errorf("verify: %d %s %s", code, out, errs)
	}
	if code, out, errs := lanyard(t, c.Socket, "prefetch", "org/repo", "a"); code != 0 || !strings.Contains(out, "2 files in the cache") {
		t.Errorf("prefetch: %d %s %s", code, out, errs)
	}
	code, out, _ := lanyard(t, c.Socket, "--json", "list", "org/repo")
	var r imagesapi.Repository
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || len(r.Images) != 1 || !r.Images[0].Cached || len(r.Skipped) != 1 {
		t.Errorf("--json: %d %v %s", code, err, out)
	}
	for _, x := range []struct {
		args []string
		code int
		said string
	}{
		{[]string{"list", "other/repo"}, 1, "images.allow"}, {[]string{"list", "nonsense"}, 1, "OWNER/NAME"}, {[]string{"list", "org/nothing"}, 1, "404"},
		{[]string{"prefetch", "org/repo", "nothing"}, 1, "there is no image nothing"}, {[]string{"verify"}, 2, "accepts 1 arg"},
		{[]string{"sync", "http://x/y/z", "a"}, 3, "https"},
	} {
		if code, out, errs := lanyard(t, c.Socket, x.args...); code != x.code || !strings.Contains(errs, x.said) {
			t.Errorf("%v: %d %s %s", x.args, code, out, errs)
		}
	}
	if status, body := get(metrics + "/metrics"); status != 200 || !strings.Contains(body, `lanyard_images_requests_total{code="200",kind="index"} 1`) ||
		!strings.Contains(body, "lanyard_images_cache_files 2") || !strings.Contains(body, "lanyard_images_skipped 1") || !strings.Contains(body, `lanyard_images_upstream_requests_total{code="200",kind="api"}`) {
		t.Errorf("metrics: %d %s", status, body)
	}
	d.Close() // GitHub is gone: health does not depend on it
	for _, u := range []string{metrics + "/healthz", metrics + "/readyz"} {
		if status, _ := get(u); status != 200 {
			t.Errorf("%s: %d", u, status)
		}
	}
	if status, _ := get(public + "/health"); status != http.StatusNoContent {
		t.Errorf("health: %d", status)
	}
	stop()
	if code, _, errs := lanyard(t, c.Socket, "list"); code != 4 || !strings.Contains(errs, "lanyardd") {
		t.Errorf("without a daemon: %d %s", code, errs)
	}
	if info, err := os.Stat(c.Cache); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache: %v %v", info, err)
	}
}

// What cannot work says so at the start, in three parts.
func TestMistakes(t *testing.T) {
	for _, x := range []struct {
		change func(*config.Images)
		said   string
	}{
		{func(c *config.Images) { c.Allow = []string{"a/../b"} }, "images.allow"},
		{func(c *config.Images) { c.TLS = "file" }, "images.tls"},
		{func(c *config.Images) { c.TLS, c.TLSCert, c.TLSKey = "file", "/nonexistent", "/nonexistent" }, "TLS"},
		{func(c *config.Images) { c.TLS = "acme" }, "images.tls"},
		{func(c *config.Images) { c.Metrics = "0.0.0.0:1" }, "images.metrics"},
		{func(c *config.Images) { c.Folder = "/nonexistent" }, "images.folder"},
		{func(c *config.Images) { c.TokenFile = "/nonexistent" }, "token"},
		{func(c *config.Images) { c.GitHub = "ftp://x" }, "images.github"},
		{func(c *config.Images) { c.Cache = "relative" }, "images.cache"},
		{func(c *config.Images) { c.Prefetch = true }, "images.prefetch"},
		{func(c *config.Images) { c.Address = "nonsense" }, "images.address"},
		{func(c *config.Images) { c.Refresh = 0 }, "images.refresh"},
	} {
		dir := t.TempDir()
		c := config.Default().Images
		c.Address, c.Metrics, c.Socket, c.Cache = "127.0.0.1:0", "", filepath.Join(dir, "s"), filepath.Join(dir, "cache")
		x.change(&c)
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		err := images.Run(ctx, c, "test", slog.New(slog.DiscardHandler), func(images.Addresses) { t.Errorf("%s: it started", x.said); cancel() })
		cancel()
		if err == nil || !strings.Contains(err.Error(), x.said) {
			t.Errorf("%v, want %q", err, x.said)
		}
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	b, err := os.ReadFile("../../docs/reference/images.md")
	if err != nil || string(b) != images.Reference() {
		t.Errorf("docs/reference/images.md is not what the code says (%v); next: go generate ./control/images", err)
	}
}
