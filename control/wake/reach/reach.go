// Package reach tells when a container can be reached: its address is up, and it has a route to answer by. The kernel gives
// notice of that in the container's own network namespace. Root, who owns the user namespaces of unprivileged containers, may
// hear it from this one, without entering the other and without a capability.
//
// Containers decide what is in their tables, so that a notice is a hint: one may name the address of another.
package reach

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Notice is a route that has come.
type Notice struct {
	Addr    netip.Addr // an address of the host itself; zero when it is none
	Default bool       // a default route
}

const (
	groupRoutes = 7 // RTNLGRP_IPV4_ROUTE, linux/rtnetlink.h
	buffer      = 1 << 18
	// busyMost bounds the work for namespaces that change their routes all the time. What is not read is lost.
	busyMost  = 256
	busyPause = 50 * time.Millisecond
	// known bounds the namespaces whose address is remembered.
	known = 4096
)

// Open makes a socket that hears of IPv4 routes in this thread's network namespace, and in those that it has a number for (where
// the other ends of its veths are) if all is set.
func Open(all bool) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("hear of routes: %w", err)
	}
	if all {
		err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (groupRoutes - 1)})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("hear of routes: %w", err)
	}
	return fd, nil
}

// Watch calls f with the address of a host whenever something has come that it may have waited for, until ctx ends.
func Watch(ctx context.Context, f func(netip.Addr)) error {
	fd, err := Open(true)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("hear of routes: %w", err)
	}
	s := os.NewFile(uintptr(fd), "rtnetlink")
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	defer s.Close()
	raw, err := s.SyscallConn()
	if err != nil {
		return fmt.Errorf("hear of routes: %w", err)
	}
	w := watcher{f: f, addrs: make(map[int32]netip.Addr)}
	buf, control := make([]byte, 1<<15), make([]byte, unix.CmsgSpace(4))
	began, count := time.Now(), 0
	for {
		var n, c int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, c, _, _, failed = unix.Recvmsg(int(fd), buf, control, 0)
			return failed != unix.EAGAIN
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("hear of routes: %w", err)
		case errors.Is(failed, unix.ENOBUFS), errors.Is(failed, unix.EINTR):
			continue // some were lost: whoever waits tries from time to time as well
		case failed != nil:
			return fmt.Errorf("hear of routes: %w", failed)
		}
		w.hear(nsid(control[:c]), Parse(buf[:n]))
		if count++; count == busyMost {
			if time.Since(began) < busyPause {
				select {
				case <-ctx.Done():
				case <-time.After(busyPause):
				}
			}
			began, count = time.Now(), 0
		}
	}
}

type watcher struct {
	f     func(netip.Addr)
	addrs map[int32]netip.Addr // by the number of their namespace
}

func (w *watcher) hear(ns int32, list []Notice) {
	for _, n := range list {
		if n.Addr.IsValid() {
			if len(w.addrs) >= known {
				clear(w.addrs)
			}
			w.addrs[ns] = n.Addr
		}
		if a, ok := w.addrs[ns]; ok {
			w.f(a)
		}
	}
}

// nsid is the number of the namespace that a message is from; -1: our own.
func nsid(control []byte) int32 {
	list, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return -1
	}
	for _, m := range list {
		if m.Header.Level == unix.SOL_NETLINK && m.Header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(m.Data) >= 4 {
			return int32(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return -1
}

// Parse reads messages of rtnetlink.
func Parse(b []byte) []Notice {
	var out []Notice
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return out
		}
		if binary.NativeEndian.Uint16(b[4:]) == unix.RTM_NEWROUTE && size >= unix.SizeofNlMsghdr+unix.SizeofRtMsg {
			if n := route(b[unix.SizeofNlMsghdr:size]); n != (Notice{}) {
				out = append(out, n)
			}
		}
		b = b[min(len(b), align(size)):]
	}
	return out
}

// route reads a struct rtmsg and its attributes.
func route(m []byte) Notice {
	bits, kind := m[1], m[7]
	if kind == unix.RTN_UNICAST && bits == 0 {
		return Notice{Default: true}
	}
	if kind != unix.RTN_LOCAL || bits != 32 {
		return Notice{}
	}
	for attr := m[unix.SizeofRtMsg:]; len(attr) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(attr))
		if size < unix.SizeofRtAttr || size > len(attr) {
			break
		}
		if binary.NativeEndian.Uint16(attr[2:]) == unix.RTA_DST {
			if a, ok := netip.AddrFromSlice(attr[unix.SizeofRtAttr:size]); ok && !a.IsLoopback() {
				return Notice{Addr: a}
			}
			break
		}
		attr = attr[min(len(attr), align(size)):]
	}
	return Notice{}
}

// align rounds up as netlink does, NLMSG_ALIGN and RTA_ALIGN.
func align(n int) int { return (n + 3) &^ 3 }
