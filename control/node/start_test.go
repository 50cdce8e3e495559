package node

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/node/config"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err == nil {
		t.Error("nobody listens, and no error")
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	_ = l.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error("without a manager:", err)
	}
}

func TestCertificatesOfLXD(t *testing.T) {
	n, _, _ := fakeNode(t)
	c := n.config
	if _, err := connect(c); err != nil {
		t.Error("LXD need not be there:", err)
	}
	name := filepath.Join(t.TempDir(), "c.pem")
	c.LXD.Address, c.LXD.ServerCert, c.LXD.ClientCert, c.LXD.ClientKey = "https://192.0.2.9:8443", name, name, name
	var e *config.Error
	if _, err := connect(c); !errors.As(err, &e) || e.Next == "" {
		t.Error(err)
	}
	if err := os.WriteFile(name, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(c); err != nil {
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

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	for _, format := range []string{"text", "json"} {
		log, err := logger(config.Log{Level: "warn", Format: format}, &out)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hidden")
		log.With(slog.String("part", "x")).Warn("shown")
	}
	if bytes.Contains(out.Bytes(), []byte("hidden")) || bytes.Count(out.Bytes(), []byte("shown")) != 2 {
		t.Error(out.String())
	}
	if _, err := logger(config.Log{Level: "loud"}, &out); err == nil {
		t.Error("a level that does not exist")
	}
}
