package admin

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket/layers"
)

// frame is what can be read in the first bytes of a dropped frame.
type frame struct {
	SrcMAC string `json:"src_mac,omitempty"`
	DstMAC string `json:"dst_mac,omitempty"`
	Type   string `json:"type,omitempty"`  // arp, ipv4, ipv6, or the number, e.g. "0x88cc"
	Src    string `json:"src,omitempty"`   // address; of ARP, the sender's
	Dst    string `json:"dst,omitempty"`   // address; of ARP, the target's
	Proto  string `json:"proto,omitempty"` // tcp, udp, icmp, ..., or the number
	Sport  uint16 `json:"sport,omitempty"`
	Dport  uint16 `json:"dport,omitempty"`
	VNI    uint32 `json:"vni,omitempty"`   // of a tunnel frame
	Info   string `json:"info,omitempty"`  // flags, type, operation
	Inner  *frame `json:"inner,omitempty"` // of a tunnel frame
}

// maxNesting bounds tunnels in tunnels. A sample is too short for more than two.
const maxNesting = 2

// decode reads a frame from its Ethernet header, as far as it goes. Data is hostile and usually cut.
func decode(data []byte, tunnelPort uint16) *frame { return decodeNested(data, tunnelPort, 0) }

func decodeNested(data []byte, tunnelPort uint16, depth int) *frame {
	if len(data) < 14 || depth >= maxNesting {
		return nil
	}
	f := &frame{DstMAC: net.HardwareAddr(data[0:6]).String(), SrcMAC: net.HardwareAddr(data[6:12]).String()}
	kind := layers.EthernetType(binary.BigEndian.Uint16(data[12:14]))
	rest := data[14:]
	for kind == layers.EthernetTypeDot1Q || kind == layers.EthernetTypeQinQ {
		if len(rest) < 4 {
			f.Type = "vlan"
			return f
		}
		f.Info = strings.TrimSpace(f.Info + fmt.Sprintf(" VLAN %d", binary.BigEndian.Uint16(rest)&0xfff))
		kind, rest = layers.EthernetType(binary.BigEndian.Uint16(rest[2:4])), rest[4:]
	}
	switch kind {
	case layers.EthernetTypeIPv4:
		f.Type = "ipv4"
		f.ipv4(rest, tunnelPort, depth)
	case layers.EthernetTypeIPv6:
		f.Type = "ipv6"
		f.ipv6(rest, tunnelPort, depth)
	case layers.EthernetTypeARP:
		f.Type = "arp"
		f.arp(rest)
	default:
		f.Type = fmt.Sprintf("%#04x", uint16(kind))
	}
	return f
}

func (f *frame) note(format string, args ...any) {
	f.Info = strings.TrimSpace(f.Info + " " + fmt.Sprintf(format, args...))
}

// arp: RFC 826, for Ethernet and IPv4.
func (f *frame) arp(b []byte) {
	if len(b) < 28 {
		f.note("truncated")
		return
	}
	f.Src, f.Dst = netip.AddrFrom4([4]byte(b[14:18])).String(), netip.AddrFrom4([4]byte(b[24:28])).String()
	sender := net.HardwareAddr(b[8:14]).String()
	switch op := binary.BigEndian.Uint16(b[6:8]); op {
	case 1:
		f.note("who-has %s tell %s (%s)", f.Dst, f.Src, sender)
	case 2:
		f.note("%s is-at %s", f.Src, sender)
	default:
		f.note("operation %d", op)
	}
}

func (f *frame) ipv4(b []byte, tunnelPort uint16, depth int) {
	if len(b) < 20 {
		f.note("truncated")
		return
	}
	f.Src, f.Dst = netip.AddrFrom4([4]byte(b[12:16])).String(), netip.AddrFrom4([4]byte(b[16:20])).String()
	proto := layers.IPProtocol(b[9])
	length := int(b[0]&15) * 4
	fragment := binary.BigEndian.Uint16(b[6:8])
	if offset := int(fragment&0x1fff) * 8; offset > 0 {
		f.Proto = protocol(proto)
		f.note("fragment at %d", offset)
		return
	}
	if fragment&0x2000 != 0 {
		f.note("first fragment")
	}
	if length < 20 || length > len(b) {
		f.Proto = protocol(proto)
		f.note("bad header length %d", length)
		return
	}
	f.transport(proto, b[length:], tunnelPort, depth)
}

// ipv6 does not follow extension headers: their number is shown as the protocol.
func (f *frame) ipv6(b []byte, tunnelPort uint16, depth int) {
	if len(b) < 40 {
		f.note("truncated")
		return
	}
	f.Src, f.Dst = netip.AddrFrom16([16]byte(b[8:24])).String(), netip.AddrFrom16([16]byte(b[24:40])).String()
	f.transport(layers.IPProtocol(b[6]), b[40:], tunnelPort, depth)
}

func (f *frame) transport(proto layers.IPProtocol, b []byte, tunnelPort uint16, depth int) {
	f.Proto = protocol(proto)
	ports := func() bool {
		if len(b) < 4 {
			f.note("truncated")
			return false
		}
		f.Sport, f.Dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		return true
	}
	switch proto {
	case layers.IPProtocolTCP:
		if ports() && len(b) >= 14 {
			f.note("%s", tcpFlags(b[13]))
		}
	case layers.IPProtocolUDP:
		if !ports() {
			return
		}
		if f.Dport == tunnelPort && len(b) >= 16 {
			f.VNI = binary.BigEndian.Uint32(b[12:16]) >> 8 // RFC 7348 section 5
			f.Inner = decodeNested(b[16:], tunnelPort, depth+1)
		} else if f.Dport == 67 || f.Sport == 67 {
			f.dhcp(b[8:min(len(b), 8+300)])
		}
	case layers.IPProtocolICMPv4:
		if len(b) >= 2 {
			f.note("%s", layers.CreateICMPv4TypeCode(b[0], b[1]))
		}
	case layers.IPProtocolICMPv6:
		if len(b) >= 2 {
			f.note("%s", layers.CreateICMPv6TypeCode(b[0], b[1]))
		}
	}
}

// dhcp says only which side speaks: options lie beyond the sample.
func (f *frame) dhcp(b []byte) {
	if len(b) == 0 {
		return
	}
	switch b[0] {
	case 1:
		f.note("DHCP request")
	case 2:
		f.note("DHCP reply")
	}
}

func protocol(p layers.IPProtocol) string {
	switch p {
	case layers.IPProtocolTCP:
		return "tcp"
	case layers.IPProtocolUDP:
		return "udp"
	case layers.IPProtocolICMPv4:
		return "icmp"
	case layers.IPProtocolICMPv6:
		return "icmpv6"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

func tcpFlags(b byte) string {
	var names []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"} {
		if b&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no flags"
	}
	return strings.Join(names, ",")
}

// String is one line: "172.24.1.9:4433 > 192.0.2.7:53 udp".
func (f *frame) String() string {
	if f == nil {
		return "(too short to read)"
	}
	switch {
	case f.Type == "arp" && f.Src != "":
		return "arp " + f.Info
	case f.Src == "":
		return strings.TrimSpace(fmt.Sprintf("%s > %s %s %s", f.SrcMAC, f.DstMAC, f.Type, f.Info))
	}
	src, dst := f.Src, f.Dst
	if f.Sport != 0 || f.Dport != 0 {
		if f.Type == "ipv6" {
			src, dst = "["+src+"]", "["+dst+"]"
		}
		src, dst = fmt.Sprintf("%s:%d", src, f.Sport), fmt.Sprintf("%s:%d", dst, f.Dport)
	}
	line := strings.TrimSpace(fmt.Sprintf("%s > %s %s %s", src, dst, f.Proto, f.Info))
	if f.VNI != 0 || f.Inner != nil {
		line += fmt.Sprintf(" VNI %d", f.VNI)
	}
	if f.Inner != nil {
		line += " [" + f.Inner.String() + "]"
	}
	return line
}
