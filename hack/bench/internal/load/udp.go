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

// window is how many datagrams are on their way before the receiver gives credit for the next ones. It keeps the
// work fixed: nothing is lost, and the credit costs one packet in 64.
const window = 64

// UDP opens a connected UDP socket.
type UDP struct {
	Name   string         `json:"name"`
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"` // invalid: connect to whoever sends first
}

func (s *Set) udpOpen(a UDP) (None, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
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

// udpRecv takes N datagrams and gives credit after each window.
func (s *Set) udpRecv(a Work) (Done, error) {
	fd, err := s.fd(a.Name)
	if err != nil {
		return Done{}, err
	}
	b := newBatch(window, a.Size)
	// The first datagram says whom to answer (through a forward or NAT its address is not known beforehand).
	if _, err := unix.Getpeername(fd); err != nil {
		_, from, err := unix.Recvfrom(fd, b.data, unix.MSG_PEEK)
		if err != nil {
			return Done{}, fmt.Errorf("first datagram: %w", err)
		}
		if err := unix.Connect(fd, from); err != nil {
			return Done{}, err
		}
	}
	start := time.Now()
	for got := 0; got < a.N; {
		n := min(window, a.N-got)
		if err := b.do(unix.SYS_RECVMMSG, fd, n); err != nil {
			return Done{}, fmt.Errorf("datagram %d of %d: %w", got, a.N, err)
		}
		got += n
		if _, err := rawSend(fd, b.data[:1]); err != nil {
			return Done{}, err
		}
	}
	return Done{Wall: time.Since(start)}, nil
}

// udpSend sends N datagrams, a window at a time.
func (s *Set) udpSend(a Work) (Done, error) {
	fd, err := s.fd(a.Name)
	if err != nil {
		return Done{}, err
	}
	b := newBatch(window, a.Size)
	credit := make([]byte, 1)
	start := time.Now()
	for sent := 0; sent < a.N; {
		n := min(window, a.N-sent)
		if err := b.do(unix.SYS_SENDMMSG, fd, n); err != nil {
			return Done{}, err
		}
		if _, err := rawRecv(fd, credit, 0); err != nil {
			return Done{}, fmt.Errorf("credit after %d of %d: %w", sent+n, a.N, err)
		}
		sent += n
	}
	return Done{Wall: time.Since(start)}, nil
}
