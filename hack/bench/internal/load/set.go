// Package load holds the generators that run inside cells. They are written on blocking system calls without Go's
// poller, so that little of the time that is measured is their own; both sides of every comparison bear the same.
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/hack/bench/internal/cell"
	"github.com/lanyard-project/lanyard/hack/live"
)

// patience is how long a generator waits for one packet before it says that the path is broken, seconds.
const patience = 10

// None is an empty argument or result.
type None struct{}

// Set is the state of the generators of one cell: sockets and programs by name.
type Set struct {
	fds    map[string]int
	lives  map[string]*live.Stream
	sinks  map[string]*sink
	sprays map[string]*spray
}

// Ops are the operations of a cell that generates load.
func (s *Set) Ops() map[string]cell.Handler {
	s.fds, s.lives, s.sinks = map[string]int{}, map[string]*live.Stream{}, map[string]*sink{}
	s.sprays = map[string]*spray{}
	return map[string]cell.Handler{
		"sysctl":      cell.Op(Sysctl),
		"nft":         cell.Op(NFT),
		"features":    cell.Op(Features),
		"close":       cell.Op(s.close),
		"tcp.listen":  cell.Op(s.tcpListen),
		"tcp.accept":  cell.Op(s.tcpAccept),
		"tcp.connect": cell.Op(s.tcpConnect),
		"rr.serve":    cell.Op(s.rrServe),
		"rr.run":      cell.Op(s.rrRun),
		"rr":          cell.Op(s.rrBoth),
		"bulk":        cell.Op(s.bulk),
		"udp.open":    cell.Op(s.udpOpen),
		"udp.meet":    cell.Op(s.udpMeet),
		"udp":         cell.Op(s.udp),
		"storm":       cell.Op(s.storm),
		"proxy.start": cell.Op(startProxy),
		"spray.open":  cell.Op(s.sprayOpen),
		"spray.run":   cell.Op(s.sprayRun),
		"live.load":   cell.Op(s.liveLoad),
		"live.run":    cell.Op(s.liveRun),
		"sink.attach": cell.Op(s.sinkAttach),
		"sink.count":  cell.Op(s.sinkCount),
		"sink.detach": cell.Op(s.sinkDetach),
	}
}

// Named names a socket.
type Named struct {
	Name string `json:"name"`
}

// socket makes a socket in the network namespace of another process, or in the cell's own when that is 0. Both ends
// of a path are then served by one thread.
func socket(pid, kind int) (fd int, err error) {
	if pid == 0 {
		return unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	}
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(own)
	other, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(other)
	if err := unix.Setns(other, unix.CLONE_NEWNET); err != nil {
		return 0, fmt.Errorf("enter the namespace of process %d: %w", pid, err)
	}
	defer func() {
		if e := unix.Setns(own, unix.CLONE_NEWNET); e != nil {
			err = errors.Join(err, fmt.Errorf("return to the cell's own namespace: %w", e))
		}
	}()
	return unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
}

func (s *Set) close(a Named) (None, error) {
	fd, ok := s.fds[a.Name]
	if !ok {
		return None{}, nil
	}
	delete(s.fds, a.Name)
	return None{}, unix.Close(fd)
}

func (s *Set) fd(name string) (int, error) {
	fd, ok := s.fds[name]
	if !ok {
		return 0, fmt.Errorf("no socket %q", name)
	}
	return fd, nil
}

func (s *Set) put(name string, fd int) {
	if old, ok := s.fds[name]; ok {
		_ = unix.Close(old)
	}
	s.fds[name] = fd
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// limits makes every blocking call on fd fail instead of hanging.
func limits(fd int) error {
	tv := unix.Timeval{Sec: patience}
	return errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
	)
}

// raw makes a system call without telling Go's scheduler: the thread keeps its processor while it blocks, and nobody
// is woken to take it over. The time limits of limits bound it.
func raw(trap, a, b, c, d uintptr) (int, error) {
	n, ready, err := try(trap, a, b, c, d)
	if err == nil && !ready {
		err = fmt.Errorf("nothing came for %d s", patience)
	}
	return n, err
}

// try is raw for sockets that may not be ready.
func try(trap, a, b, c, d uintptr) (n int, ready bool, err error) {
	for {
		n, _, e := unix.RawSyscall6(trap, a, b, c, d, 0, 0)
		switch e {
		case 0:
			return int(n), true, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, false, nil
		default:
			return 0, false, syscall.Errno(e)
		}
	}
}

func rawRecv(fd int, b []byte, flags int) (int, error) {
	n, err := raw(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags))
	runtime.KeepAlive(b)
	return n, err
}

func rawSend(fd int, b []byte) (int, error) {
	n, err := raw(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL)
	runtime.KeepAlive(b)
	return n, err
}
