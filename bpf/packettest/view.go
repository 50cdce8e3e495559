package packettest

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// View is a plain reading of a frame for the invariants: only what is surely there is set.
type View struct {
	Dst, Src         net.HardwareAddr
	Type             uint16
	V4               bool // a sound IPv4 header
	From, To         netip.Addr
	Proto            uint8
	Offset           int // of the fragment, bytes
	More             bool
	L4               bool // the transport header's first 8 bytes are there, and this is no later fragment
	SPort, DPort     uint16
	TCPFlags         uint8
	HasFlags         bool
	ICMPType         uint8
	IPHeader, IPSize int
	frame            []byte
}

// Look reads a frame.
func Look(frame []byte) View {
	v := View{frame: frame}
	if len(frame) < 14 {
		return v
	}
	v.Dst, v.Src, v.Type = frame[:6], frame[6:12], binary.BigEndian.Uint16(frame[12:])
	p := frame[14:]
	if v.Type != 0x0800 || len(p) < 20 || p[0]>>4 != 4 {
		return v
	}
	v.IPHeader, v.IPSize = int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if v.IPHeader < 20 || v.IPSize < v.IPHeader || v.IPSize > len(p) {
		return v
	}
	v.V4 = true
	v.From, v.To = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	v.Proto = p[9]
	frag := binary.BigEndian.Uint16(p[6:])
	v.Offset, v.More = int(frag&0x1fff)*8, frag&0x2000 != 0
	l4 := p[v.IPHeader:v.IPSize]
	if v.Offset != 0 || len(l4) < 8 {
		return v
	}
	v.L4 = true
	v.SPort, v.DPort, v.ICMPType = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:]), l4[0]
	if v.Proto == 6 && len(l4) >= 20 {
		v.TCPFlags, v.HasFlags = l4[13], true
	}
	return v
}

// IsAnswer says whether an IPv4 packet can only belong to something that its receiver began: TCP other than an opening
// SYN, an ICMP echo reply, an ICMP error.
func (v View) IsAnswer() bool {
	switch {
	case !v.V4 || !v.L4:
		return false
	case v.Proto == 6:
		const syn, ack = 2, 16
		return v.HasFlags && v.TCPFlags&(syn|ack) != syn
	case v.Proto == 1:
		return v.ICMPType == 0 || v.ICMPType == 3 || v.ICMPType == 11 || v.ICMPType == 12
	}
	return false
}

// Inner gives the frame inside a whole tunnel frame of the world's VNI and port, else nil.
func (n Net) Inner(v View) []byte {
	if !v.V4 || !v.L4 || v.More || v.Proto != 17 || v.DPort != n.Port || v.IPSize < v.IPHeader+16+14 {
		return nil
	}
	vx := v.frame[14+v.IPHeader+8:]
	if vx[0]&8 == 0 || binary.BigEndian.Uint32(vx[4:])>>8 != n.VNI {
		return nil
	}
	return v.frame[14+v.IPHeader+16 : 14+v.IPSize]
}

// denied says what the fixture's prefixes say.
func (n Net) denied(ip netip.Addr) bool {
	best, deny := -1, false
	for _, p := range n.Deny {
		if p.Contains(ip) && p.Bits() > best {
			best, deny = p.Bits(), true
		}
	}
	for _, p := range n.Allow {
		if p.Contains(ip) && p.Bits() > best {
			best, deny = p.Bits(), false
		}
	}
	return deny
}

func (n Net) infra(ip netip.Addr) bool {
	for _, p := range n.InfraPrefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// hosts are all endpoints.
func (n Net) hosts() []Host { return []Host{n.WS1, n.WS2, n.WS3, n.WS4, n.WS5, n.Node, n.Node3, n.Pod} }

func (n Net) byMAC(mac net.HardwareAddr) (Host, bool) {
	for _, h := range n.hosts() {
		if bytes.Equal(h.MAC, mac) {
			return h, true
		}
	}
	return Host{}, false
}

// isExternal says whether (ip, port) is the outside of a forward.
func (n Net) isExternal(ip netip.Addr, port uint16, proto uint8) bool {
	for _, f := range n.Forwards() {
		if f.External == netip.AddrPortFrom(ip, port) && f.Proto == proto {
			return true
		}
	}
	return false
}
