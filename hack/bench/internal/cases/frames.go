package cases

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/lanyard-project/lanyard/hack/bench/internal/load"
	"github.com/lanyard-project/lanyard/hack/bench/internal/world"
)

// Offsets inside an Ethernet frame with IPv4 without options and UDP.
const (
	offIP    = 14
	offSport = offIP + 20
	offDport = offSport + 2
)

// smallest is the length of a minimal Ethernet frame without its checksum, bytes.
const smallest = 60

// udpFrame builds a frame; UDP has no checksum (RFC 768 allows it), so that ports may vary freely.
func udpFrame(to, from net.HardwareAddr, src, dst netip.AddrPort, payload []byte) []byte {
	f := make([]byte, offIP+28, offIP+28+len(payload))
	copy(f, to)
	copy(f[6:], from)
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[offIP:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], load.HeaderSum(ip[:20]))
	binary.BigEndian.PutUint16(ip[20:], src.Port())
	binary.BigEndian.PutUint16(ip[22:], dst.Port())
	binary.BigEndian.PutUint16(ip[24:], uint16(8+len(payload)))
	return append(f, payload...)
}

// small is a UDP frame of minimal length.
func small(to, from net.HardwareAddr, src, dst netip.AddrPort) []byte {
	return udpFrame(to, from, src, dst, make([]byte, smallest-offIP-28))
}

// tunnelled wraps an inner frame (RFC 7348).
func tunnelled(to, from net.HardwareAddr, src, dst netip.Addr, inner []byte) []byte {
	vx := binary.BigEndian.AppendUint32([]byte{0x08, 0, 0, 0}, world.VNI<<8)
	return udpFrame(to, from, netip.AddrPortFrom(src, 50000), netip.AddrPortFrom(dst, world.TunnelPort), append(vx, inner...))
}
