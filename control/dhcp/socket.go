package dhcp

import (
	"fmt"
	"net"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// receiveBuffer bounds what waits in the kernel, in bytes: some hundred messages. More are dropped and counted.
const receiveBuffer = 512 << 10

// filter accepts IPv4 UDP to port 67 that is no later fragment and that this node did not send itself (classic BPF,
// on an Ethernet frame). parseFrame checks again: the filter only keeps the socket's queue free of other traffic.
func filter() ([]bpf.RawInstruction, error) {
	const reject = 10
	skip := func(at int) uint8 { return uint8(reject - at - 1) }
	return bpf.Assemble([]bpf.Instruction{
		0:  bpf.LoadExtension{Num: bpf.ExtType},
		1:  bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: skip(1)},
		2:  bpf.LoadAbsolute{Off: 12, Size: 2},
		3:  bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherIPv4, SkipTrue: skip(3)},
		4:  bpf.LoadAbsolute{Off: offsetIP + 9, Size: 1},
		5:  bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: skip(5)},
		6:  bpf.LoadAbsolute{Off: offsetIP + 6, Size: 2},
		7:  bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: skip(7)},
		8:  bpf.LoadMemShift{Off: offsetIP},
		9:  bpf.Jump{Skip: 1},
		10: bpf.RetConstant{Val: 0},
		11: bpf.LoadIndirect{Off: offsetIP + 2, Size: 2},
		12: bpf.JumpIf{Cond: bpf.JumpEqual, Val: portServer, SkipTrue: 1},
		13: bpf.RetConstant{Val: 0},
		14: bpf.RetConstant{Val: 0xffff},
	})
}

// sockets are what a running server holds.
type sockets struct {
	in    *packet.Conn // frames of the bridge
	out   int          // AF_PACKET, sends by any interface, receives nothing
	guard int          // UDP port 67, so that the kernel refuses nobody
	index int          // of the bridge
}

func openSockets(name string) (*sockets, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find the interface %s: %w", name, err)
	}
	program, err := filter()
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	s := &sockets{out: -1, guard: -1, index: ifi.Index}
	if s.in, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, &packet.Config{Filter: program}); err != nil {
		return nil, fmt.Errorf("listen for frames on %s: %w", name, err)
	}
	if raw, err := s.in.SyscallConn(); err == nil {
		// The default would do: a failure here is no reason to fail.
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) })
	}
	if s.out, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		s.close()
		return nil, fmt.Errorf("open a socket to send frames: %w", err)
	}
	if s.guard, err = guardPort(name); err != nil {
		s.close()
		return nil, fmt.Errorf("hold UDP port 67 on %s (is another DHCP server running?): %w", name, err)
	}
	return s, nil
}

// guardPort opens UDP port 67 and accepts nothing: without a socket there the kernel would answer every renewal
// (unicast to the gateway) with "port unreachable" behind our back. It also shows other DHCP servers that the port is
// taken.
func guardPort(device string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err == nil {
		program := make([]unix.SockFilter, len(nothing))
		for i, n := range nothing {
			program[i] = unix.SockFilter{Code: n.Op, Jt: n.Jt, Jf: n.Jf, K: n.K}
		}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	}
	if err == nil {
		err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: portServer})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// send puts a frame out by an interface. It never waits.
func (s *sockets) send(ifindex int, frame []byte) error {
	to := &unix.SockaddrLinklayer{Ifindex: ifindex, Halen: 6}
	copy(to.Addr[:], frame[:6])
	return unix.Sendto(s.out, frame, 0, to)
}

// lost gives how many frames the kernel dropped since the last call.
func (s *sockets) lost() uint64 {
	stats, err := s.in.Stats()
	if err != nil {
		return 0
	}
	return uint64(stats.Drops)
}

func (s *sockets) close() {
	s.in.Close()
	for _, fd := range []int{s.out, s.guard} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
