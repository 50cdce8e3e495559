package lxdtest

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/lanyard-project/lanyard/control/agent"
)

// newNetns is a network namespace of its own; the calling thread is not in it.
func newNetns(t *testing.T) (netns.NsHandle, *netlink.Handle) {
	t.Helper()
	made := make(chan error, 1)
	var ns netns.NsHandle
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		var err error
		ns, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatalf("make a network namespace (is this root?): %v", err)
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(); _ = ns.Close() })
	return ns, h
}

func TestLinks(t *testing.T) {
	ns, h := newNetns(t)
	links := agent.NewLinksIn(ns)
	ctx, cancel := context.WithCancel(t.Context())
	hints := links.Watch(ctx)
	await := func(what string) {
		t.Helper()
		select {
		case <-hints:
		case <-time.After(60 * time.Second):
			t.Fatalf("no hint for %s", what)
		}
	}
	quiet := func() {
		for {
			select {
			case <-hints:
			case <-time.After(100 * time.Millisecond):
				return
			}
		}
	}
	await("the beginning")
	quiet()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth7"}, PeerName: "inside"}
	if err := h.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	await("a new link")
	all, err := links.List()
	if err != nil || all["veth7"].Kind != "veth" || all["veth7"].Index == 0 || all["lo"].Index != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	quiet()
	for _, name := range []string{"veth7", "inside"} { // carrier
		l, err := h.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		await(name + " up")
	}
	quiet()
	if err := h.LinkDel(veth); err != nil {
		t.Fatal(err)
	}
	await("a link's end")
	// More than any buffer holds: hints may be lost, the last word may not.
	pair := func(name string) *netlink.Veth {
		return &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	}
	for n := range 150 {
		if err := h.LinkAdd(pair(fmt.Sprint("d", n))); err != nil {
			t.Fatal(err)
		}
	}
	await("many links")
	quiet()
	if err := h.LinkAdd(pair("last")); err != nil {
		t.Fatal(err)
	}
	await("one more")
	cancel()
	ended := time.After(60 * time.Second)
	for {
		select {
		case _, ok := <-hints:
			if !ok {
				return
			}
		case <-ended:
			t.Fatal("the watch does not end")
		}
	}
}
