package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// receiveBuffer is what waits in the kernel, in bytes: a second or more of queries while the daemon is replaced.
const receiveBuffer = 8 << 20

// Names of the sockets that are kept across restarts.
const (
	socketUDP = "dns-udp"
	socketTCP = "dns-tcp"
)

// sockets are what a running server holds.
type sockets struct {
	udp       *udpSocket
	tcp       *net.TCPListener
	index     int // of the interface that the filter lets in
	drops     uint32
	inherited bool
}

// open takes the sockets that an earlier daemon left, or makes new ones.
func (s *Server) open() (*sockets, error) {
	socks := &sockets{index: -1}
	if err := s.inherit(socks); err != nil {
		s.log.Warn("dns: sockets that were kept are of no use; opening new ones", "err", err)
	}
	var err error
	if socks.udp == nil {
		if socks.udp, err = openUDP(s.config.Listen); err != nil {
			return nil, errors.Join(fmt.Errorf("open UDP %v (is another DNS server running?): %w", s.config.Listen, err), socks.close())
		}
		if err := s.keep(socketUDP, socks.udp); err != nil {
			s.log.Warn("dns: the socket will not survive a restart", "err", err)
		}
	}
	if socks.tcp == nil {
		var l net.Listener
		at := s.config.Listen
		if at.Port() == 0 {
			at = socks.udp.addr()
		}
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return control(c, prepare) }}
		config.SetMultipathTCP(false) // Go's default since 1.24, and such a socket takes no filter (see guard)
		if l, err = config.Listen(context.Background(), "tcp4", at.String()); err != nil {
			return nil, errors.Join(fmt.Errorf("open TCP %v (is another DNS server running?): %w", at, err), socks.close())
		}
		socks.tcp = l.(*net.TCPListener)
		if err := s.keep(socketTCP, socks.tcp); err != nil {
			s.log.Warn("dns: the socket will not survive a restart", "err", err)
		}
	}
	if err := socks.guard(s.config.Interface); err != nil {
		return nil, errors.Join(err, socks.close())
	}
	return socks, nil
}

// prepare sets what a socket needs before it is bound. Only FREEBIND must work: the address may come later.
func prepare(fd int) error {
	// More than the system's limit needs CAP_NET_ADMIN, and the default would do.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// inherit takes over what was kept, if it is bound to the same address.
func (s *Server) inherit(socks *sockets) error {
	if s.config.Sockets == nil {
		return nil
	}
	var errs []error
	if f := s.config.Sockets.Take(socketUDP); f != nil {
		u, err := adoptUDP(f, s.config.Listen)
		f.Close()
		if err == nil {
			socks.udp, socks.inherited = u, true
		} else {
			errs = append(errs, fmt.Errorf("%s: %w", socketUDP, err))
		}
	}
	if f := s.config.Sockets.Take(socketTCP); f != nil {
		l, err := net.FileListener(f)
		f.Close()
		if t, ok := l.(*net.TCPListener); ok && t.Addr().String() == s.config.Listen.String() {
			socks.tcp = t
		} else {
			errs = append(errs, s.other(l, socketTCP, err))
		}
	}
	return errors.Join(errs...)
}

// other closes what was kept under a name and is something else than what is wanted.
func (s *Server) other(c interface{ Close() error }, name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.Close()
	return fmt.Errorf("%s is not bound to %v", name, s.config.Listen)
}

func (s *Server) keep(name string, c interface{ File() (*os.File, error) }) error {
	if s.config.Sockets == nil {
		return nil
	}
	f, err := c.File() // a copy: its Fd must not be called, that would make the socket blocking
	if err != nil {
		return err
	}
	defer f.Close()
	return s.config.Sockets.Keep(name, f)
}

// guard lets in only what arrives by the interface, or from the node itself: an address of the LAN is worth nothing on a
// frame from outside. Without the interface only the node gets in.
func (k *sockets) guard(device string) error {
	if device == "" {
		return nil
	}
	index := 0
	if ifi, err := net.InterfaceByName(device); err == nil {
		index = ifi.Index
	}
	if index == k.index {
		return nil
	}
	const loopback = 1 // of every network namespace
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loopback, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 18},
	})
	if err != nil {
		return fmt.Errorf("assemble the filter: %w", err)
	}
	code := make([]unix.SockFilter, len(program))
	for i, n := range program {
		code[i] = unix.SockFilter{Code: n.Op, Jt: n.Jt, Jf: n.Jf, K: n.K}
	}
	attach := func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
	}
	if err = attach(k.udp.fd); err == nil {
		var raw syscall.RawConn
		if raw, err = k.tcp.SyscallConn(); err == nil {
			err = control(raw, attach)
		}
	}
	if err != nil {
		return fmt.Errorf("let in only what arrives by %s: %w", device, err)
	}
	k.index = index
	return nil
}

// lost gives how many queries the kernel dropped since the last call.
func (k *sockets) lost() uint64 {
	now, err := k.udp.drops()
	if err != nil {
		return 0
	}
	n := uint64(now - k.drops)
	k.drops = now
	return n
}

func (k *sockets) close() error {
	if k.udp != nil {
		k.udp.close()
	}
	if k.tcp != nil {
		k.tcp.Close()
	}
	return nil
}
