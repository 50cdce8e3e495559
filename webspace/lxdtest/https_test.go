package lxdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// https talks to the first node by its URL, with a client certificate and the server's pinned.
func https(t *testing.T, l *lab.Lab) {
	ctx := t.Context()
	n := l.Node(1)
	cert, key := clientCert(t)
	server, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n.Pid), "root/var/lib/lxd/cluster.crt"))
	if err != nil {
		t.Fatal(err)
	}
	o := webspace.Options{Address: "https://" + tunnel(t, n, n.Addr()+":8443"), ServerCert: string(server), ClientCert: cert, ClientKey: key, Timeout: 10 * time.Second}
	s, err := webspace.Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(ctx); !errors.Is(err, webspace.ErrRefused) {
		t.Errorf("before LXD trusts us: %v", err)
	}
	file := filepath.Join(t.TempDir(), "client.crt")
	if err := os.WriteFile(file, []byte(cert), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := n.LXC(ctx, "config", "trust", "add", file); err != nil {
		t.Fatal(err)
	}
	all, err := s.List(ctx)
	if err != nil || len(all) != 3 {
		t.Errorf("%d webspaces, %v", len(all), err)
	}
	if local, err := s.ListLocal(ctx); err != nil || len(local) != 3 {
		t.Errorf("local: %+v, %v", local, err)
	}
	watch, cancel := context.WithCancel(ctx)
	hints := s.Watch(watch)
	hinted(t, hints, 60*time.Second, "connecting")
	drain(hints)
	if err := s.Update(ctx, "ws-u1", func(r *webspace.Record) error { r.Domains = append(r.Domains, "a.example"); return nil }); err != nil {
		t.Error(err)
	}
	hinted(t, hints, 60*time.Second, "an edit")
	cancel()
	for range hints {
	}
	// Somebody else's certificate: not our LXD.
	o.ServerCert = cert
	if s, err = webspace.Connect(o); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(ctx); err == nil {
		t.Error("a server with another certificate was believed")
	}
}

func clientCert(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lanyard"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder}))
}

// tunnel is an address on the loopback that leads to one inside a node.
func tunnel(t *testing.T, n *lab.Node, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			out, err := l.Accept()
			if err != nil {
				return
			}
			var in net.Conn
			if err := n.Do(func() (err error) { in, err = net.DialTimeout("tcp4", to, 60*time.Second); return err }); err != nil {
				t.Errorf("dial %s in %s: %v", to, n.Name, err)
				_ = out.Close()
				continue
			}
			wg.Go(func() { _, _ = io.Copy(in, out); _ = in.Close(); _ = out.Close() })
			wg.Go(func() { _, _ = io.Copy(out, in); _ = in.Close(); _ = out.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}
