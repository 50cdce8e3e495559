package peering

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"

	"github.com/lanyard-project/lanyard/control/keypair"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// ErrNone: there is no certificate of a cluster on this machine. LXD is not clustered, or elsewhere.
var ErrNone = errors.New("this machine is in no LXD cluster")

// errStranger ends a handshake.
var errStranger = errors.New("the other side does not show this cluster's certificate")

const (
	dialTimeout = 2 * time.Second
	lookEvery   = 5 * time.Second // for the certificate of a cluster that is yet to be made
	connections = 64              // at once; who has no certificate holds one as long as a handshake may take
	maxAnswer   = 4 << 20         // a page of 500 wakes, and a number for each webspace of a node, are a tenth of it
	maxHeader   = 16 << 10
)

// Identity is what makes this machine a node of its cluster. Safe for concurrent use.
type Identity struct{ files keypair.Files }

// New makes an Identity from LXD's own folder. LXD need not be clustered yet, and may exchange its certificate at any time.
func New(folder string) *Identity {
	return &Identity{keypair.Files{Cert: filepath.Join(folder, "cluster.crt"), Key: filepath.Join(folder, "cluster.key")}}
}

// certificate gives the cluster's. When it is gone, so is the cluster; when it is half replaced, the last one is still good.
func (i *Identity) certificate() (*tls.Certificate, error) {
	pair, err := i.files.Get()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	case pair == nil:
		return nil, err
	}
	return pair, nil
}

// config is for both sides of one connection.
func (i *Identity) config() (*tls.Config, error) {
	pair, err := i.certificate()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil },
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // they would outlive the certificate
		InsecureSkipVerify:     true, // of names, dates and authorities; what is asked for instead is stricter:
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, pair.Leaf.Raw) {
				return errStranger
			}
			return nil
		},
	}, nil
}

// Listen waits until LXD is clustered, and then listens. What it accepts has shown nothing yet: the handshake, which http.Server
// does before it reads a request, fails for whoever is no node. An error: the certificate cannot be read, or the address
// not be had. nil and ctx's error: ctx has ended.
func (i *Identity) Listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	for {
		_, err := i.certificate()
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNone) {
			return nil, fmt.Errorf("read the cluster's certificate: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", at.String())
	if err != nil {
		return nil, fmt.Errorf("listen for other nodes: %w", err)
	}
	return tls.NewListener(netutil.LimitListener(l, connections), &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return i.config() },
	}), nil
}

// Client asks the node at an address. Each question has a connection of its own: they are few, and each meets the certificate as it is then.
func (i *Identity) Client(at netip.AddrPort) *nodeapi.Client {
	return nodeapi.Remote(at.String(), maxAnswer, &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			config, err := i.config()
			if err != nil {
				return nil, err
			}
			d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: config}
			return d.DialContext(ctx, "tcp4", at.String())
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	})
}
