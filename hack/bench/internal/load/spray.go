package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Spray sends UDP frames of many different flows from one webspace, past its own sockets and route lookups.
type Spray struct {
	Name   string `json:"name"`
	Device string `json:"device"`
	Frame  []byte `json:"frame"` // Ethernet, IPv4 without options, UDP without checksum
	// Ports and Addrs span the flows: source ports from First on, each to Addrs consecutive destination addresses.
	First uint16 `json:"first"`
	Ports int    `json:"ports"`
	Addrs int    `json:"addrs"`
}

type spray struct {
	Spray
	fd   int
	next int // flow that the next frame belongs to
}

func (s *Set) sprayOpen(a Spray) (None, error) {
	dev, err := net.InterfaceByName(a.Device)
	if err != nil {
		return None{}, fmt.Errorf("spray: %w", err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: receives nothing
	if err != nil {
		return None{}, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: dev.Index}),
		limits(fd),
	)
	if err != nil {
		return None{}, errors.Join(err, unix.Close(fd))
	}
	s.put(a.Name, fd)
	s.sprays[a.Name] = &spray{Spray: a, fd: fd}
	return None{}, nil
}

// sprayRun sends N frames, each of the next flow in turn, going on where the last run ended.
func (s *Set) sprayRun(a Work) (Done, error) {
	sp, ok := s.sprays[a.Name]
	if !ok {
		return Done{}, fmt.Errorf("no spray %q", a.Name)
	}
	b := newBatch(window, len(sp.Frame))
	for i := range window {
		copy(b.data[i*len(sp.Frame):], sp.Frame)
	}
	const dst, check, sport = 14 + 16, 14 + 10, 14 + 20
	base := binary.BigEndian.Uint32(sp.Frame[dst:])
	start := time.Now()
	for sent := 0; sent < a.N; {
		n := min(window, a.N-sent)
		for i := range n {
			flow := sp.next
			sp.next = (sp.next + 1) % (sp.Ports * sp.Addrs)
			f := b.data[i*len(sp.Frame) : (i+1)*len(sp.Frame)]
			binary.BigEndian.PutUint32(f[dst:], base+uint32(flow/sp.Ports))
			binary.BigEndian.PutUint16(f[sport:], sp.First+uint16(flow%sp.Ports))
			binary.BigEndian.PutUint16(f[check:], 0)
			binary.BigEndian.PutUint16(f[check:], HeaderSum(f[14:34]))
		}
		if err := b.do(unix.SYS_SENDMMSG, sp.fd, n); err != nil {
			return Done{}, fmt.Errorf("frame %d of %d: %w", sent, a.N, err)
		}
		sent += n
	}
	return Done{Wall: time.Since(start)}, nil
}

// HeaderSum is the checksum of an IPv4 header (RFC 1071).
func HeaderSum(h []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
