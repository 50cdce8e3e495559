package reach

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A host behind a veth gets an address and then a default route: both are told, with its address, from another namespace.
func TestAHostComesUp(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test makes network namespaces; next: run it as root")
	}
	runtime.LockOSThread() // the thread ends with the test
	there, err := netns.New()
	must(t, err)
	defer there.Close()
	here, err := netns.New()
	must(t, err)
	defer here.Close()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1", PeerNamespace: netlink.NsFd(there)}))
	v0, err := netlink.LinkByName("v0")
	must(t, err)
	must(t, netlink.LinkSetUp(v0))

	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan netip.Addr, 16), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(here); err != nil {
			ended <- err
			return
		}
		ended <- Watch(ctx, func(a netip.Addr) { told <- a })
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	h, err := netlink.NewHandleAt(there)
	must(t, err)
	defer h.Close()
	v1, err := h.LinkByName("v1")
	must(t, err)
	must(t, h.LinkSetUp(v1))
	hear := func(what string, change func() error) {
		t.Helper()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); { // the watch may begin later than we
			must(t, change())
			select {
			case a := <-told:
				if a != netip.MustParseAddr("172.24.7.9") {
					t.Fatalf("%s: told of %v", what, a)
				}
				return
			case err := <-ended:
				ended <- nil
				t.Fatalf("%s: the watch has ended: %v", what, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
		t.Fatalf("%s: not told", what)
	}
	addr, err := netlink.ParseAddr("172.24.7.9/16")
	must(t, err)
	hear("address", func() error { _ = h.AddrDel(v1, addr); return h.AddrAdd(v1, addr) })
	hear("default route", func() error {
		return h.RouteReplace(&netlink.Route{LinkIndex: v1.Attrs().Index, Gw: net.IPv4(172, 24, 254, 1)})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever comes is read, or left.
func FuzzParse(f *testing.F) {
	f.Add([]byte{28, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{36, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 32, 0, 0, 255, 2, 254, 2, 0, 0, 0, 0, 8, 0, 1, 0, 172, 24, 7, 9})
	f.Fuzz(func(_ *testing.T, b []byte) { Parse(b) })
}
