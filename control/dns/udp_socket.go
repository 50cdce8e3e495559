package dns

import (
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpSocket is a UDP socket that Go's network poller does not know: that would wake a thread of its own for each packet that
// comes and goes. It blocks (files made of it stay unknown to the poller too), so every call says MSG_DONTWAIT.
type udpSocket struct{ fd int }

// openUDP binds a socket that prepare has made ready.
func openUDP(at netip.AddrPort) (*udpSocket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	u := &udpSocket{fd}
	if err := prepare(fd); err != nil {
		u.close()
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().Unmap().As4()}); err != nil {
		u.close()
		return nil, os.NewSyscallError("bind", err)
	}
	return u, nil
}

// adoptUDP takes a copy of a socket that is kept, if it is one that is bound to at.
func adoptUDP(f *os.File, at netip.AddrPort) (*udpSocket, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	u := &udpSocket{-1}
	err = control(raw, func(fd int) (err error) {
		kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		if bound := (&udpSocket{fd}).addr(); kind != unix.SOCK_DGRAM || bound != at {
			return fmt.Errorf("it is not bound to %v", at)
		}
		if u.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		return unix.SetNonblock(u.fd, false)
	})
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

// addr is where it is bound; the zero AddrPort if nowhere in IPv4.
func (u *udpSocket) addr() netip.AddrPort {
	sa, err := unix.Getsockname(u.fd)
	at, ok := sa.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
}

// send sends one datagram, or none: it does not wait.
func (u *udpSocket) send(b []byte, to netip.AddrPort) error {
	return unix.Sendto(u.fd, b, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
}

// File gives a copy, which is the caller's.
func (u *udpSocket) File() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(u.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), socketUDP), nil
}

// drops says how many datagrams the kernel has dropped at the socket (SO_MEMINFO, include/uapi/linux/sock_diag.h).
func (u *udpSocket) drops() (uint32, error) {
	const soMeminfo, drops = 55, 8
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(u.fd), unix.SOL_SOCKET, soMeminfo, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return 0, os.NewSyscallError("getsockopt", e)
	}
	return info[drops], nil
}

// close must come after all who use it: numbers of descriptors are given out again.
func (u *udpSocket) close() {
	if u.fd >= 0 {
		_ = unix.Close(u.fd)
	}
}
