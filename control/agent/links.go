package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netlinkLinks are the links of one network namespace.
type netlinkLinks struct {
	ns *netns.NsHandle // nil: the process's own
}

// NewLinks returns the interfaces of this process's network namespace, by rtnetlink. Listing and watching need no
// privilege.
func NewLinks() Links { return netlinkLinks{} }

// NewLinksIn returns those of another network namespace; ns stays the caller's to close. It needs CAP_SYS_ADMIN.
func NewLinksIn(ns netns.NsHandle) Links { return netlinkLinks{ns: &ns} }

func (n netlinkLinks) List() (map[string]Link, error) {
	h := &netlink.Handle{} // makes a socket for each request, in the calling thread's namespace
	if n.ns != nil {
		var err error
		if h, err = netlink.NewHandleAt(*n.ns, unix.NETLINK_ROUTE); err != nil {
			return nil, fmt.Errorf("list the network interfaces: %w", err)
		}
		defer h.Close()
	}
	all, err := h.LinkList()
	for try := 0; try < 3 && errors.Is(err, netlink.ErrDumpInterrupted); try++ {
		all, err = h.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list the network interfaces: %w", err)
	}
	links := make(map[string]Link, len(all))
	for _, l := range all {
		a := l.Attrs()
		links[a.Name] = Link{Name: a.Name, Index: a.Index, Kind: l.Type()}
	}
	return links, nil
}

// brief is what of a link is worth a hint; statistics and bridge port states are not.
type brief struct {
	name  string
	state netlink.LinkOperState
	mtu   int
}

func (n netlinkLinks) Watch(ctx context.Context) <-chan struct{} {
	hints := make(chan struct{}, 1)
	go func() {
		defer close(hints)
		for ctx.Err() == nil {
			n.watch(ctx, hints)
			hint(hints) // a lost subscription (the kernel's buffer overran) has lost events
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return hints
}

// watch passes on what one subscription brings, until it breaks or ctx ends.
func (n netlinkLinks) watch(ctx context.Context, hints chan<- struct{}) {
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{Namespace: n.ns, ReceiveBufferSize: 1 << 20}); err != nil {
		close(done)
		return
	}
	defer func() { // the library's reader ends by closing updates; it must not block on a full channel before
		close(done)
		for range updates {
		}
	}()
	hint(hints)
	known := make(map[int]brief)
	for {
		select {
		case <-ctx.Done():
			return
		case u, ok := <-updates:
			if !ok {
				return
			}
			a := u.Attrs()
			if u.Header.Type == unix.RTM_DELLINK { // also sent when a port leaves a bridge
				delete(known, a.Index)
				hint(hints)
				continue
			}
			now := brief{a.Name, a.OperState, a.MTU}
			if known[a.Index] != now {
				known[a.Index] = now
				hint(hints)
			}
		}
	}
}

func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}
