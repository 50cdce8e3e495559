package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ARPs is the outcome of some ARP requests (RFC 826).
type ARPs struct {
	Sent    int           `json:"sent"`
	Replies int           `json:"replies"`
	Unicast int           `json:"unicast"` // of the replies: sent to us alone
	MAC     string        `json:"mac"`     // in the last reply
	First   time.Duration `json:"first_ns"`
}

var broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// self is our own side of the wire.
type self struct {
	index int
	mac   net.HardwareAddr
	ip    netip.Addr
}

func whoami() (self, error) {
	link, err := netlink.LinkByName(Interface)
	if err != nil {
		return self{}, err
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil || len(addrs) == 0 {
		return self{}, errors.Join(errors.New("there is no address yet"), err)
	}
	ip, _ := netip.AddrFromSlice(addrs[0].IP.To4())
	return self{link.Attrs().Index, link.Attrs().HardwareAddr, ip}, nil
}

// wire opens a packet socket on our interface; proto is an ethertype, 0 receives nothing.
func (s self) wire(proto uint16) (int, error) {
	be := proto<<8 | proto>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(be))
	if err != nil {
		return 0, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: be, Ifindex: s.index}); err != nil {
		return 0, errors.Join(fmt.Errorf("bind: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func arp(ctx context.Context, who netip.Addr, count int) (ARPs, error) {
	var r ARPs
	me, err := whoami()
	if err != nil {
		return r, err
	}
	fd, err := me.wire(unix.ETH_P_ARP)
	if err != nil {
		return r, err
	}
	defer unix.Close(fd)
	frame := arpFrame(me.mac, broadcastMAC, 1, me.mac, me.ip, nil, who)
	buf := make([]byte, 256)
	for range count {
		if ctx.Err() != nil {
			break
		}
		start := time.Now()
		if _, err := unix.Write(fd, frame); err != nil {
			return r, err
		}
		r.Sent++
		for until := start.Add(pingWait); ; {
			left := unix.NsecToTimeval(max(time.Until(until), time.Millisecond).Nanoseconds())
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &left); err != nil {
				return r, err
			}
			n, err := unix.Read(fd, buf)
			if err != nil || time.Now().After(until) {
				break
			}
			b := buf[:n]
			if n < 42 || binary.BigEndian.Uint16(b[20:]) != 2 || netip.AddrFrom4([4]byte(b[28:32])) != who {
				continue
			}
			r.Replies++
			if string(b[:6]) == string(me.mac) {
				r.Unicast++
			}
			r.MAC = net.HardwareAddr(b[22:28]).String()
			if r.First == 0 {
				r.First = time.Since(start)
			}
			break
		}
	}
	return r, nil
}

// forge sends frames that no webspace may send, each kind with one lie in it. Where the frame is a datagram it carries a
// token, so that the receiver can tell whether one came through.
//
//	mac      a foreign source MAC
//	ip       a foreign source address
//	arp      an ARP reply that claims addr
//	dhcp     a DHCP server's answer
//	vlan     a VLAN tag
func forge(kind string, count int, token string, to netip.Addr, mac string) error {
	if count < 1 || count > 1000 {
		return fmt.Errorf("count %d is out of range", count)
	}
	me, err := whoami()
	if err != nil {
		return err
	}
	dst, err := net.ParseMAC(mac)
	if err != nil || len(dst) != 6 {
		return fmt.Errorf("%q is no MAC", mac)
	}
	payload := []byte(tokenPrefix + token)
	liar := net.HardwareAddr{0x02, 0x4c, 0xff, 0xff, 0xff, 0xfe}
	var frame []byte
	switch kind {
	case "mac":
		frame = udpFrame(liar, dst, me.ip, to, Port, Port, payload)
	case "ip":
		frame = udpFrame(me.mac, dst, neighbourOf(me.ip), to, Port, Port, payload)
	case "arp":
		frame = arpFrame(me.mac, broadcastMAC, 2, me.mac, to, broadcastMAC, to)
	case "dhcp":
		frame = udpFrame(me.mac, broadcastMAC, me.ip, netip.AddrFrom4([4]byte{255, 255, 255, 255}), 67, 68, append([]byte{2, 1, 6, 0}, make([]byte, 236)...))
	case "vlan":
		plain := udpFrame(me.mac, dst, me.ip, to, Port, Port, payload)
		frame = append(append(append([]byte{}, plain[:12]...), 0x81, 0x00, 0x00, 0x64), plain[12:]...)
	default:
		return fmt.Errorf("there is no kind %q", kind)
	}
	fd, err := me.wire(0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for range count {
		if _, err := unix.Write(fd, frame); err != nil {
			return err
		}
	}
	return nil
}

// neighbourOf is another address of the same network.
func neighbourOf(a netip.Addr) netip.Addr {
	b := a.As4()
	b[3] ^= 0x55
	return netip.AddrFrom4(b)
}

func arpFrame(src, dst net.HardwareAddr, op uint16, sha net.HardwareAddr, spa netip.Addr, tha net.HardwareAddr, tpa netip.Addr) []byte {
	b := make([]byte, 60) // the shortest frame that Ethernet has
	copy(b, dst)
	copy(b[6:], src)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_ARP)
	copy(b[14:], []byte{0, 1, 8, 0, 6, 4})
	binary.BigEndian.PutUint16(b[20:], op)
	copy(b[22:], sha)
	copy(b[28:], spa.AsSlice())
	copy(b[32:], tha)
	copy(b[38:], tpa.AsSlice())
	return b
}

// udpFrame leaves the UDP checksum out, which IPv4 allows (RFC 768).
func udpFrame(src, dst net.HardwareAddr, from, to netip.Addr, sport, dport uint16, payload []byte) []byte {
	b := make([]byte, 14+20+8+len(payload))
	copy(b, dst)
	copy(b[6:], src)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip := b[14:34]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(b)-14))
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	udp := b[34:]
	binary.BigEndian.PutUint16(udp, sport)
	binary.BigEndian.PutUint16(udp[2:], dport)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload)))
	copy(udp[8:], payload)
	return b
}

// neighbour looks into the ARP cache.
func neighbour(who netip.Addr) (string, error) {
	link, err := netlink.LinkByName(Interface)
	if err != nil {
		return "", err
	}
	list, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		return "", err
	}
	for _, n := range list {
		if ip, ok := netip.AddrFromSlice(n.IP.To4()); ok && ip == who {
			return n.HardwareAddr.String(), nil
		}
	}
	return "", nil
}
