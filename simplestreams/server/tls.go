package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// TLSOptions say where the certificate comes from.
type TLSOptions struct {
	Mode      string // off, file or acme
	Cert, Key string // file: PEM
	Names     []string
	Email     string
	Directory string // acme: "" is Let's Encrypt
	CA        string // acme: PEM file with a private authority's own certificates
	Storage   string // acme: folder
	Log       *slog.Logger
}

// TLS gives what wraps a listener. With acme the first certificate is asked for in the background, until ctx ends.
func TLS(ctx context.Context, o TLSOptions) (func(net.Listener) net.Listener, error) {
	var c *tls.Config
	switch o.Mode {
	case "", "off":
		return func(l net.Listener) net.Listener { return l }, nil
	case "file":
		pair := &filePair{cert: o.Cert, key: o.Key}
		if _, err := pair.get(nil); err != nil {
			return nil, err
		}
		c = &tls.Config{GetCertificate: pair.get}
	case "acme":
		var err error
		if c, err = acme(ctx, o); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("there is no TLS mode %q", o.Mode)
	}
	c.MinVersion = tls.VersionTLS12
	c.NextProtos = append([]string{"h2", "http/1.1"}, c.NextProtos...)
	return func(l net.Listener) net.Listener { return tls.NewListener(l, c) }, nil
}

const lookEvery = 10 * time.Second

// filePair is a certificate in files, which is read again when they change. While what is there cannot be used, the last one
// that could is.
type filePair struct {
	cert, key string
	mu        sync.Mutex
	looked    time.Time
	stamp     string
	last      *tls.Certificate
}

func (p *filePair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil && time.Since(p.looked) < lookEvery {
		return p.last, nil
	}
	p.looked = time.Now()
	stamp := ""
	for _, name := range []string{p.cert, p.key} {
		if info, err := os.Stat(name); err == nil {
			stamp += fmt.Sprint(info.Size(), info.ModTime().UnixNano(), ";")
		}
	}
	if p.last != nil && stamp == p.stamp {
		return p.last, nil
	}
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	switch {
	case err == nil:
		p.last, p.stamp = &pair, stamp
	case p.last == nil:
		return nil, err
	}
	return p.last, nil
}

// acme keeps a certificate of an authority, by the challenge TLS-ALPN-01 on the same listener.
func acme(ctx context.Context, o TLSOptions) (*tls.Config, error) {
	var roots *x509.CertPool
	if o.CA != "" {
		b, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(b) {
			return nil, errors.New(o.CA + " has no certificate")
		}
	}
	var magic *certmagic.Config
	log := zap.NewNop() // its errors are told by events
	cache := certmagic.NewCache(certmagic.CacheOptions{GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return magic, nil }, Logger: log})
	magic = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: o.Storage}, Logger: log,
		OnEvent: func(_ context.Context, event string, data map[string]any) error {
			if o.Log != nil && (event == "cert_failed" || event == "cert_obtained") {
				o.Log.Info("certificate", "event", event, "name", data["identifier"], "err", data["error"])
			}
			return nil
		}})
	directory := o.Directory
	if directory == "" {
		directory = certmagic.LetsEncryptProductionCA
	}
	magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(magic, certmagic.ACMEIssuer{CA: directory, Email: o.Email, Agreed: true,
		DisableHTTPChallenge: true, TrustedRoots: roots, Logger: log})}
	if err := magic.ManageAsync(ctx, o.Names); err != nil {
		cache.Stop()
		return nil, err
	}
	context.AfterFunc(ctx, cache.Stop)
	return magic.TLSConfig(), nil
}
