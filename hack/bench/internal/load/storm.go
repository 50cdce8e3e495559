package load

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Storm is N connections, one after the other: connect, one byte there, one byte back (unless Empty), close. The client uses one
// socket and ends each connection by disconnecting it (connect to AF_UNSPEC), which sends a reset: neither side keeps
// a TIME_WAIT, and ports never run out.
type Storm struct {
	Listener string         `json:"listener"`
	Addr     netip.AddrPort `json:"addr"` // where the client connects to
	N        int            `json:"n"`
	Empty    bool           `json:"empty"`
}

func (s *Set) storm(a Storm) (Done, error) {
	l, err := s.fd(a.Listener)
	if err != nil {
		return Done{}, err
	}
	sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr.Addr().As4()}
	p := (*[2]byte)(unsafe.Pointer(&sa.Port)) // in network byte order
	p[0], p[1] = byte(a.Addr.Port()>>8), byte(a.Addr.Port())
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	client, err := socket(0, unix.SOCK_STREAM)
	if err != nil {
		return Done{}, err
	}
	defer unix.Close(client)
	if err := limits(client); err != nil {
		return Done{}, err
	}
	b := make([]byte, 1)
	start := time.Now()
	for i := range a.N {
		_, err := raw(unix.SYS_CONNECT, uintptr(client), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa), 0)
		server := -1
		if err == nil {
			server, err = raw(unix.SYS_ACCEPT4, uintptr(l), 0, 0, unix.SOCK_CLOEXEC)
		}
		if err == nil && !a.Empty {
			err = exchange(client, server, b)
		}
		if err == nil {
			_, err = raw(unix.SYS_CONNECT, uintptr(client), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none), 0)
		}
		if server >= 0 {
			if _, e := raw(unix.SYS_CLOSE, uintptr(server), 0, 0, 0); err == nil {
				err = e
			}
		}
		if err != nil {
			return Done{}, fmt.Errorf("connection %d of %d to %s: %w", i, a.N, a.Addr, err)
		}
	}
	runtime.KeepAlive(&sa)
	return Done{Wall: time.Since(start)}, nil
}

// exchange sends one message there and back. The server's socket takes no time limit from its listener; what it waits
// for is on its way, and the limit of the whole round bounds it.
func exchange(client, server int, b []byte) error {
	_, err := rawSend(client, b)
	if err == nil {
		err = full(server, b)
	}
	if err == nil {
		_, err = rawSend(server, b)
	}
	if err == nil {
		err = full(client, b)
	}
	return err
}
