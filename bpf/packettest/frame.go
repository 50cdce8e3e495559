package packettest

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Frame is a frame under construction: each method adds the next layer, Bytes ends it. Lengths and checksums are
// computed, unless Raw says otherwise; tests break frames by changing the bytes afterwards (see mutate.go).
type Frame struct {
	stack []gopacket.SerializableLayer
	ip    *layers.IPv4 // innermost, for the pseudo header
	raw   bool
}

// MAC parses; it panics on a typing error in a test.
func MAC(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// IP parses; it panics on a typing error in a test.
func IP(s string) netip.Addr { return netip.MustParseAddr(s) }

// Broadcast is the Ethernet broadcast address.
var Broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Ether begins a frame.
func Ether(src, dst net.HardwareAddr) *Frame {
	f := &Frame{}
	return f.add(&layers.Ethernet{SrcMAC: src, DstMAC: dst})
}

func (f *Frame) add(l gopacket.SerializableLayer) *Frame {
	f.stack = append(f.stack, l)
	return f
}

// follow tells the layer below what comes next.
func (f *Frame) follow(t layers.EthernetType) {
	switch l := f.stack[len(f.stack)-1].(type) {
	case *layers.Ethernet:
		l.EthernetType = t
	case *layers.Dot1Q:
		l.Type = t
	}
}

// VLAN adds an 802.1Q tag.
func (f *Frame) VLAN(id uint16) *Frame {
	f.follow(layers.EthernetTypeDot1Q)
	return f.add(&layers.Dot1Q{VLANIdentifier: id})
}

// Type sets the ethertype of a frame that has no further layer of ours.
func (f *Frame) Type(t uint16) *Frame {
	f.follow(layers.EthernetType(t))
	return f
}

// ARP adds an ARP packet. op is 1 for a request, 2 for a reply.
func (f *Frame) ARP(op uint16, senderMAC net.HardwareAddr, sender netip.Addr, targetMAC net.HardwareAddr, target netip.Addr) *Frame {
	f.follow(layers.EthernetTypeARP)
	return f.add(&layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation:       op,
		SourceHwAddress: senderMAC, SourceProtAddress: sender.AsSlice(),
		DstHwAddress: targetMAC, DstProtAddress: target.AsSlice(),
	})
}

// IPv4Option changes the header that IPv4 makes.
type IPv4Option func(*layers.IPv4)

// TTL sets the time to live; without it, it is 64.
func TTL(n uint8) IPv4Option { return func(l *layers.IPv4) { l.TTL = n } }

// DontFragment sets the flag.
func DontFragment(l *layers.IPv4) { l.Flags |= layers.IPv4DontFragment }

// ID sets the identification.
func ID(n uint16) IPv4Option { return func(l *layers.IPv4) { l.Id = n } }

// TOS sets the type of service.
func TOS(n uint8) IPv4Option { return func(l *layers.IPv4) { l.TOS = n } }

// Fragment makes it a fragment. offset is in bytes, a multiple of eight.
func Fragment(offset int, more bool) IPv4Option {
	return func(l *layers.IPv4) {
		l.FragOffset = uint16(offset / 8)
		if more {
			l.Flags |= layers.IPv4MoreFragments
		}
	}
}

// RecordRoute adds options of n bytes: a record route option, padded.
func RecordRoute(n int) IPv4Option {
	return func(l *layers.IPv4) {
		data := make([]byte, n-3)
		data[0] = 4 // pointer
		l.Options = append(l.Options, layers.IPv4Option{OptionType: 7, OptionLength: uint8(n - 1), OptionData: data},
			layers.IPv4Option{OptionType: 0, OptionLength: 1})
	}
}

// IPv4 adds a header. The protocol is that of the layer which follows.
func (f *Frame) IPv4(src, dst netip.Addr, options ...IPv4Option) *Frame {
	f.follow(layers.EthernetTypeIPv4)
	f.ip = &layers.IPv4{Version: 4, TTL: 64, Id: 0x1234, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	for _, o := range options {
		o(f.ip)
	}
	return f.add(f.ip)
}

// Proto sets the protocol of the IPv4 header when no layer of ours follows.
func (f *Frame) Proto(n uint8) *Frame {
	f.ip.Protocol = layers.IPProtocol(n)
	return f
}

// IPv6 adds a header; next is the protocol that follows.
func (f *Frame) IPv6(src, dst netip.Addr, next uint8) *Frame {
	f.follow(layers.EthernetTypeIPv6)
	return f.add(&layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocol(next), SrcIP: src.AsSlice(), DstIP: dst.AsSlice()})
}

// TCP adds a header. flags is made of the letters S, A, F, R, P, U, E, C. mss > 0 adds the option.
func (f *Frame) TCP(sport, dport uint16, flags string, mss uint16) *Frame {
	l := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: 0x01020304, Window: 0xfaf0}
	for _, c := range flags {
		switch c {
		case 'S':
			l.SYN = true
		case 'A':
			l.ACK, l.Ack = true, 0x0a0b0c0d
		case 'F':
			l.FIN = true
		case 'R':
			l.RST = true
		case 'P':
			l.PSH = true
		case 'U':
			l.URG = true
		case 'E':
			l.ECE = true
		case 'C':
			l.CWR = true
		default:
			panic(fmt.Sprintf("no TCP flag %q", c))
		}
	}
	if mss > 0 {
		l.Options = append(l.Options, layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{byte(mss >> 8), byte(mss)}})
	}
	f.Proto(6)
	_ = l.SetNetworkLayerForChecksum(f.ip)
	return f.add(l)
}

// Numbers sets the sequence and acknowledgement numbers of the TCP header just added, and its window.
func (f *Frame) Numbers(seq, ack uint32, window uint16) *Frame {
	l := f.stack[len(f.stack)-1].(*layers.TCP)
	l.Seq, l.Ack, l.Window = seq, ack, window
	return f
}

// TCPOptions adds a header with these very bytes as options, a multiple of four, sound or not.
func (f *Frame) TCPOptions(sport, dport uint16, flags string, options []byte) *Frame {
	f.TCP(sport, dport, flags, 0)
	l := f.stack[len(f.stack)-1].(*layers.TCP)
	f.stack[len(f.stack)-1] = &rawTCP{l, f.ip, options}
	return f
}

// rawTCP is a header whose options gopacket does not get to see.
type rawTCP struct {
	*layers.TCP
	ip      *layers.IPv4
	options []byte
}

// SerializeTo writes the options, then the header in front of them, then makes the checksum over both.
func (l *rawTCP) SerializeTo(b gopacket.SerializeBuffer, o gopacket.SerializeOptions) error {
	body := append(append([]byte(nil), l.options...), b.Bytes()...)
	if err := b.Clear(); err != nil {
		return err
	}
	space, err := b.AppendBytes(len(body))
	if err != nil {
		return err
	}
	copy(space, body)
	if err := l.TCP.SerializeTo(b, gopacket.SerializeOptions{FixLengths: o.FixLengths}); err != nil {
		return err
	}
	header := b.Bytes()
	header[12] = byte((20+len(l.options))/4) << 4
	header[16], header[17] = 0, 0
	pseudo := append(append([]byte(nil), l.ip.SrcIP...), l.ip.DstIP...)
	check := ^sum(uint32(sum(6+uint32(len(header)), pseudo)), header)
	header[16], header[17] = byte(check>>8), byte(check)
	return nil
}

// UDP adds a header.
func (f *Frame) UDP(sport, dport uint16) *Frame {
	l := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	if f.ip != nil {
		f.Proto(17)
		_ = l.SetNetworkLayerForChecksum(f.ip)
	} else {
		_ = l.SetNetworkLayerForChecksum(f.stack[len(f.stack)-1].(*layers.IPv6))
	}
	return f.add(l)
}

// ICMP adds a header. id and seq are the two halves of its second word, whatever the type makes of them.
func (f *Frame) ICMP(kind, code uint8, id, seq uint16) *Frame {
	f.Proto(1)
	return f.add(&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code), Id: id, Seq: seq})
}

// ICMPv6 adds a header and, as body, what follows the checksum.
func (f *Frame) ICMPv6(kind uint8, body []byte) *Frame {
	l := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	_ = l.SetNetworkLayerForChecksum(f.stack[len(f.stack)-1].(*layers.IPv6))
	f.add(l)
	return f.Data(body)
}

// Data adds bytes.
func (f *Frame) Data(b []byte) *Frame { return f.add(gopacket.Payload(b)) }

// Text adds bytes.
func (f *Frame) Text(s string) *Frame { return f.Data([]byte(s)) }

// Fill adds n bytes that are not all alike, so that a shifted copy shows.
func (f *Frame) Fill(n int) *Frame {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return f.Data(b)
}

// Raw leaves lengths and checksums as they are (zero).
func (f *Frame) Raw() *Frame {
	f.raw = true
	return f
}

// Bytes gives the finished frame. It is not padded to 60 bytes: veths carry short frames.
func (f *Frame) Bytes() []byte {
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: !f.raw, ComputeChecksums: !f.raw}, f.stack[1:]...)
	size := len(buf.Bytes()) + 14
	if err == nil {
		err = f.stack[0].SerializeTo(buf, gopacket.SerializeOptions{})
	}
	if err != nil {
		panic(fmt.Sprintf("a frame that gopacket cannot build: %v", err))
	}
	return append([]byte(nil), buf.Bytes()[:size]...) // gopacket pads
}

// Tunnel wraps a frame in VXLAN (RFC 7348) on the way from one VTEP to another; src and dst are the outer MACs.
func Tunnel(src, dst net.HardwareAddr, from, to netip.Addr, sport, dport uint16, vni uint32, inner []byte) []byte {
	f := Ether(src, dst).IPv4(from, to).UDP(sport, dport)
	f.add(&layers.VXLAN{ValidIDFlag: true, VNI: vni}).Data(inner)
	out := f.Bytes()
	out[14+20+6], out[14+20+7] = 0, 0 // as every implementation sends it: no UDP checksum (RFC 7348 section 5)
	return out
}
