package load

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Storm is N connections, one after the other: connect, one byte there, one byte back, close. The client uses one
// socket and ends each connection by disconnecting it (connect to AF_UNSPEC), which sends a reset: neither side keeps
// a TIME_WAIT, ports never run out, and four system calls a connection are all that the client costs.
type Storm struct {
	Name string         `json:"name"` // of the listener, on the serving side
	Addr netip.AddrPort `json:"addr"` // on the connecting side
	N    int            `json:"n"`
}

func (s *Set) stormServe(a Storm) (Done, error) {
	l, err := s.fd(a.Name)
	if err != nil {
		return Done{}, err
	}
	b := make([]byte, 1)
	start := time.Now()
	for i := range a.N {
		fd, err := raw(unix.SYS_ACCEPT4, uintptr(l), 0, 0, unix.SOCK_CLOEXEC)
		if err != nil {
			return Done{}, fmt.Errorf("accept %d of %d: %w", i, a.N, err)
		}
		if err := full(fd, b); err == nil {
			_, err = rawSend(fd, b)
		}
		if err != nil {
			return Done{}, fmt.Errorf("connection %d of %d: %w", i, a.N, err)
		}
		if _, err := raw(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0); err != nil {
			return Done{}, err
		}
	}
	return Done{Wall: time.Since(start)}, nil
}

func (s *Set) stormRun(a Storm) (Done, error) {
	sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr.Addr().As4()}
	p := (*[2]byte)(unsafe.Pointer(&sa.Port))
	p[0], p[1] = byte(a.Addr.Port()>>8), byte(a.Addr.Port())
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Done{}, err
	}
	defer unix.Close(fd)
	if err := limits(fd); err != nil {
		return Done{}, err
	}
	b := make([]byte, 1)
	start := time.Now()
	for i := range a.N {
		_, err := raw(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa), 0)
		if err == nil {
			_, err = rawSend(fd, b)
		}
		if err == nil {
			err = full(fd, b)
		}
		if err == nil {
			_, err = raw(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none), 0)
		}
		if err != nil {
			return Done{}, fmt.Errorf("connection %d of %d to %s: %w", i, a.N, a.Addr, err)
		}
	}
	runtime.KeepAlive(&sa)
	return Done{Wall: time.Since(start)}, nil
}
