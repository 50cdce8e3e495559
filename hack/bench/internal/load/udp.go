package load

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// window is how many datagrams are sent before they are received. Socket buffers hold them all: nothing is lost.
const window = 64

// UDP opens a UDP socket.
type UDP struct {
	Name   string         `json:"name"`
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"` // invalid: from anybody
	Pid    int            `json:"pid"`    // in whose namespace; 0: the cell's own
}

func (s *Set) udpOpen(a UDP) (None, error) {
	fd, err := socket(a.Pid, unix.SOCK_DGRAM)
	if err != nil {
		return None{}, err
	}
	err = errors.Join(limits(fd), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20), unix.Bind(fd, sockaddr(a.Local)))
	if err == nil && a.Remote.IsValid() {
		err = unix.Connect(fd, sockaddr(a.Remote))
	}
	if err != nil {
		return None{}, errors.Join(fmt.Errorf("UDP %s to %s: %w", a.Local, a.Remote, err), unix.Close(fd))
	}
	s.put(a.Name, fd)
	return None{}, nil
}

// udpMeet sends one datagram and connects the other end to where it came from, as the server's side of a connected
// socket: the kernel then need not look for a route for each datagram.
func (s *Set) udpMeet(a Work) (Peer, error) {
	client, server, err := s.ends(a)
	if err != nil {
		return Peer{}, err
	}
	if _, err := rawSend(client, []byte{0}); err != nil {
		return Peer{}, err
	}
	_, from, err := unix.Recvfrom(server, []byte{0}, 0)
	if err != nil {
		return Peer{}, fmt.Errorf("the first datagram did not arrive: %w", err)
	}
	in, ok := from.(*unix.SockaddrInet4)
	if !ok {
		return Peer{}, fmt.Errorf("peer is %T, not IPv4", from)
	}
	return Peer{Addr: netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))}, unix.Connect(server, from)
}

// mmsg is one entry of sendmmsg and recvmmsg.
type mmsg struct {
	hdr unix.Msghdr
	len uint32
	_   uint32
}

type batch struct {
	msgs []mmsg
	iovs []unix.Iovec
	data []byte
}

func newBatch(n, size int) *batch {
	b := &batch{msgs: make([]mmsg, n), iovs: make([]unix.Iovec, n), data: make([]byte, n*size)}
	for i := range n {
		b.iovs[i] = unix.Iovec{Base: &b.data[i*size], Len: uint64(size)}
		b.msgs[i].hdr.Iov, b.msgs[i].hdr.Iovlen = &b.iovs[i], 1
	}
	return b
}

func (b *batch) do(trap uintptr, fd, n int) error {
	for at := 0; at < n; {
		k, err := raw(trap, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[at])), uintptr(n-at), 0)
		if err != nil {
			return err
		}
		at += k
	}
	runtime.KeepAlive(b)
	return nil
}

// udp sends N datagrams from one end and receives them at the other, a window at a time.
func (s *Set) udp(a Work) (Done, error) {
	from, to, err := s.ends(a)
	if err != nil {
		return Done{}, err
	}
	out, in := newBatch(window, a.Size), newBatch(window, a.Size)
	start := time.Now()
	for sent := 0; sent < a.N; {
		n := min(window, a.N-sent)
		if err := out.do(unix.SYS_SENDMMSG, from, n); err != nil {
			return Done{}, err
		}
		if err := in.do(unix.SYS_RECVMMSG, to, n); err != nil {
			return Done{}, fmt.Errorf("datagrams %d to %d of %d: %w", sent, sent+n, a.N, err)
		}
		sent += n
	}
	return Done{Wall: time.Since(start)}, nil
}
