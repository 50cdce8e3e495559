package node

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lanyard-project/lanyard/control/node/config"
)

func TestCertificatesOfLXD(t *testing.T) {
	n, _, _ := fakeNode(t)
	c := n.config
	if _, err := Connect(c); err != nil {
		t.Error("LXD need not be there:", err)
	}
	name := filepath.Join(t.TempDir(), "c.pem")
	c.LXD.Address, c.LXD.ServerCert, c.LXD.ClientCert, c.LXD.ClientKey = "https://192.0.2.9:8443", name, name, name
	var e *config.Error
	if _, err := Connect(c); !errors.As(err, &e) || e.Next == "" {
		t.Error(err)
	}
	if err := os.WriteFile(name, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(c); err != nil {
		t.Error(err)
	}
}

func TestOwnAddresses(t *testing.T) {
	n, _, _ := fakeNode(t)
	own, err := ownAddresses(n.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"127.0.0.1", "192.0.2.1"} {
		if !slices.Contains(own, netip.MustParseAddr(want)) {
			t.Errorf("%s is not in %v", want, own)
		}
	}
	if slices.ContainsFunc(own, n.config.LAN.Prefix.Contains) || !slices.IsSortedFunc(own, netip.Addr.Compare) {
		t.Errorf("%v", own)
	}
}
