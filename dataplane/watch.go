package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// news is what the kernel said about its tables: a reason to look again, except for neighbours, whose messages say it all.
type news struct {
	neighbours []neighNews
	routes     bool // routes or addresses
	links      map[int]linkNews
	lost       bool // messages were lost: look at everything
}

type neighNews struct {
	netlink.Neigh
	gone bool
}

type linkNews struct {
	name   string
	master int
	gone   bool
}

func (n *news) merge(m news) {
	n.routes = n.routes || m.routes
	n.lost = n.lost || m.lost
	for i, l := range m.links {
		n.link(i, l)
	}
}

func (n *news) link(index int, l linkNews) {
	if n.links == nil {
		n.links = map[int]linkNews{}
	}
	n.links[index] = l
}

func (n *news) empty() bool {
	return len(n.neighbours) == 0 && len(n.links) == 0 && !n.routes && !n.lost
}

// receiveBuffer holds the news of some thousand containers that start at once.
const receiveBuffer = 4 << 20

// watch hears rtnetlink until ctx ends. A socket that fails is opened again, and everything looked at.
func watch(ctx context.Context, log *slog.Logger, out chan<- news) error {
	for ctx.Err() == nil {
		if err := listen(ctx, out); err != nil && ctx.Err() == nil {
			log.Error("rtnetlink: listening again", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

func tell(ctx context.Context, out chan<- news, n news) {
	select {
	case out <- n:
	case <-ctx.Done():
	}
}

func listen(ctx context.Context, out chan<- news) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_NEIGH, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_IFADDR)
	if err != nil {
		return fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	stop := context.AfterFunc(ctx, s.Close) // wakes Receive
	defer func() {
		if stop() {
			s.Close()
		}
	}()
	// Without CAP_NET_ADMIN the limit of the system holds; lost messages are noticed all the same.
	_ = s.SetReceiveBufferSize(receiveBuffer, true)
	tell(ctx, out, news{lost: true}) // what happened before anybody listened
	for {
		msgs, from, err := s.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			tell(ctx, out, news{lost: true})
			continue
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, os.ErrClosed), ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("receive from rtnetlink: %w", err)
		case from.Pid != nl.PidKernel:
			continue
		}
		var n news
		for i := range msgs {
			n.take(msgs[i].Header.Type, msgs[i].Data)
		}
		if !n.empty() {
			tell(ctx, out, n)
		}
	}
}

func (n *news) take(kind uint16, data []byte) {
	switch kind {
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		// Bridge entries come in the same group; they are of no interest.
		if len(data) < unix.SizeofNdMsg || data[0] != unix.AF_INET {
			return
		}
		e, err := netlink.NeighDeserialize(data)
		if err != nil || e == nil {
			return
		}
		n.neighbours = append(n.neighbours, neighNews{*e, kind == unix.RTM_DELNEIGH})
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE, unix.RTM_NEWADDR, unix.RTM_DELADDR:
		n.routes = true
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(data) < unix.SizeofIfInfomsg || data[0] == unix.AF_BRIDGE {
			return
		}
		l, err := netlink.LinkDeserialize(nil, data)
		if err != nil {
			n.lost = true
			return
		}
		a := l.Attrs()
		n.link(a.Index, linkNews{name: a.Name, master: a.MasterIndex, gone: kind == unix.RTM_DELLINK})
	}
}
