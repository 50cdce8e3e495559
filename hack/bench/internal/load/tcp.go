package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens a listening TCP socket.
type Listen struct {
	Name string         `json:"name"`
	Addr netip.AddrPort `json:"addr"`
	Pid  int            `json:"pid"` // in whose namespace; 0: the cell's own
}

func (s *Set) tcpListen(a Listen) (None, error) {
	fd, err := socket(a.Pid, unix.SOCK_STREAM)
	if err != nil {
		return None{}, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		limits(fd),
		unix.Bind(fd, sockaddr(a.Addr)),
		unix.Listen(fd, 4096),
	)
	if err != nil {
		return None{}, errors.Join(fmt.Errorf("listen on %s: %w", a.Addr, err), unix.Close(fd))
	}
	s.put(a.Name, fd)
	return None{}, nil
}

// Accept takes one connection from the socket Listener and calls it Name.
type Accept struct {
	Name     string `json:"name"`
	Listener string `json:"listener"`
}

// Peer says who connected.
type Peer struct {
	Addr netip.AddrPort `json:"addr"`
}

func (s *Set) tcpAccept(a Accept) (Peer, error) {
	l, err := s.fd(a.Listener)
	if err != nil {
		return Peer{}, err
	}
	fd, from, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		return Peer{}, fmt.Errorf("accept: %w", err)
	}
	if err := errors.Join(limits(fd), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)); err != nil {
		return Peer{}, errors.Join(err, unix.Close(fd))
	}
	s.put(a.Name, fd)
	in, ok := from.(*unix.SockaddrInet4)
	if !ok {
		return Peer{}, fmt.Errorf("peer is %T, not IPv4", from)
	}
	return Peer{Addr: netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))}, nil
}

// Connect opens a TCP connection.
type Connect struct {
	Name string         `json:"name"`
	Addr netip.AddrPort `json:"addr"`
}

func (s *Set) tcpConnect(a Connect) (None, error) {
	deadline := time.Now().Add(patience * time.Second)
	for {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return None{}, err
		}
		err = errors.Join(limits(fd), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.Connect(fd, sockaddr(a.Addr)))
		if err == nil {
			s.put(a.Name, fd)
			return None{}, nil
		}
		err = errors.Join(fmt.Errorf("connect to %s: %w", a.Addr, err), unix.Close(fd))
		if time.Now().After(deadline) {
			return None{}, err
		}
		time.Sleep(50 * time.Millisecond) // devices may still be settling
	}
}

// Work is a number of operations on a socket, or on both ends of a path; Size is bytes of each message.
type Work struct {
	Name string `json:"name"`
	Peer string `json:"peer"` // the socket at the other end, when one thread serves both
	N    int    `json:"n"`
	Size int    `json:"size"`
}

// Done says how long the work took, by the wall clock.
type Done struct {
	Wall time.Duration `json:"wall_ns"`
}

func full(fd int, b []byte) error {
	for got := 0; got < len(b); {
		n, err := rawRecv(fd, b[got:], 0)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		got += n
	}
	return nil
}

func (s *Set) rrServe(a Work) (Done, error) {
	return s.rr(a, func(fd int, b []byte) error {
		if err := full(fd, b); err != nil {
			return err
		}
		_, err := rawSend(fd, b)
		return err
	})
}

func (s *Set) rrRun(a Work) (Done, error) {
	return s.rr(a, func(fd int, b []byte) error {
		if _, err := rawSend(fd, b); err != nil {
			return err
		}
		return full(fd, b)
	})
}

func (s *Set) rr(a Work, one func(int, []byte) error) (Done, error) {
	fd, err := s.fd(a.Name)
	if err != nil {
		return Done{}, err
	}
	b := make([]byte, a.Size)
	start := time.Now()
	for i := range a.N {
		if err := one(fd, b); err != nil {
			return Done{}, fmt.Errorf("exchange %d of %d: %w", i, a.N, err)
		}
	}
	return Done{Wall: time.Since(start)}, nil
}
