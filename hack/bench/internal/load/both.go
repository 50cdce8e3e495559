package load

import (
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ends looks both sockets of a path up.
func (s *Set) ends(a Work) (client, server int, err error) {
	client, err = s.fd(a.Name)
	if err == nil {
		server, err = s.fd(a.Peer)
	}
	return client, server, err
}

// rrBoth exchanges one message each way N times. One thread is both client and server: no context switch hides what
// the path costs.
func (s *Set) rrBoth(a Work) (Done, error) {
	client, server, err := s.ends(a)
	if err != nil {
		return Done{}, err
	}
	b := make([]byte, a.Size)
	start := time.Now()
	for i := range a.N {
		if err := exchange(client, server, b); err != nil {
			return Done{}, fmt.Errorf("exchange %d of %d: %w", i, a.N, err)
		}
	}
	return Done{Wall: time.Since(start)}, nil
}

// bulk moves N messages of Size bytes from client to server: it sends until the socket takes no more, and receives
// until there is nothing left.
func (s *Set) bulk(a Work) (Done, error) {
	client, server, err := s.ends(a)
	if err != nil {
		return Done{}, err
	}
	b := make([]byte, a.Size)
	p, size := uintptr(unsafe.Pointer(&b[0])), uintptr(len(b))
	unsent := a.N * a.Size
	start := time.Now()
	for unread := unsent; unread > 0; {
		moved := 0
		if unsent > 0 {
			n, _, err := try(unix.SYS_SENDTO, uintptr(client), p, min(size, uintptr(unsent)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if err != nil {
				return Done{}, err
			}
			unsent -= n
			moved += n
		}
		for {
			n, ready, err := try(unix.SYS_RECVFROM, uintptr(server), p, size, unix.MSG_DONTWAIT)
			if err != nil {
				return Done{}, err
			}
			if !ready {
				break
			}
			if n == 0 {
				return Done{}, errors.New("the client's end is closed")
			}
			unread -= n
			moved += n
			if n < len(b) {
				break // likely empty now: spares a call
			}
		}
		if moved == 0 && unread > 0 { // everything is on its way: wait for it
			n, err := rawRecv(server, b, 0)
			if err != nil {
				return Done{}, fmt.Errorf("%d bytes before the end: %w", unread, err)
			}
			unread -= n
		}
	}
	runtime.KeepAlive(b)
	return Done{Wall: time.Since(start)}, nil
}
