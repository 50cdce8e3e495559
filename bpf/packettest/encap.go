package packettest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Encapsulated has the far end of a device put an IPv4 and a UDP header (28 bytes, as they are) in front of the packet of each
// frame that it sends, as a tunnel of a webspace's own does: the kernel takes such frames for encapsulated from then on.
func (w *World) Encapsulated(device string, header [28]byte) (undo func() error, err error) {
	const (
		macLayer = 1                  // enum bpf_adj_room_mode
		flags    = 1<<0 | 1<<1 | 1<<4 // FIXED_GSO, ENCAP_L3_IPV4, ENCAP_L4_UDP of BPF_F_ADJ_ROOM_
	)
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R2, int32(len(header))),
		asm.Mov.Imm(asm.R3, macLayer),
		asm.Mov.Imm(asm.R4, flags),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
	}
	for i, b := range header {
		ins = append(ins, asm.StoreImm(asm.RFP, int16(i-len(header)), int64(b), asm.Byte))
	}
	ins = append(ins,
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, 14),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, int32(-len(header))),
		asm.Mov.Imm(asm.R4, int32(len(header))),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R0, 0), // TCX_PASS
		asm.Return(),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("drop"),
		asm.Return())
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "encapsulate", Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXEgress, License: "GPL", Instructions: ins,
	})
	if err != nil {
		return nil, fmt.Errorf("program that encapsulates: %w", err)
	}
	var l link.Link
	err = w.outside.Do(func() (err error) {
		l, err = link.AttachTCX(link.TCXOptions{Interface: w.farEnds[device], Program: prog, Attach: ebpf.AttachTCXEgress})
		return err
	})
	if err != nil {
		return nil, errors.Join(err, prog.Close())
	}
	return func() error { return errors.Join(l.Close(), prog.Close()) }, nil
}

// SendTunnelled sends datagrams as one superframe through a VXLAN device of a webspace's own, at the far end of its device. Outside,
// the packet goes to an address by a gateway, with a TTL.
func (w *World) SendTunnelled(from Host, gateway net.HardwareAddr, to netip.Addr, ttl, datagrams, size int) error {
	return w.outside.Do(func() (err error) {
		far, err := netlink.LinkByIndex(w.farEnds[from.Name])
		if err != nil {
			return err
		}
		own := &netlink.Addr{IPNet: &net.IPNet{IP: from.IP.AsSlice(), Mask: net.CIDRMask(32, 32)}}
		tunnel := &netlink.Vxlan{
			LinkAttrs: netlink.LinkAttrs{Name: "own"}, VxlanId: 1, VtepDevIndex: far.Attrs().Index,
			SrcAddr: from.IP.AsSlice(), Group: to.AsSlice(), TTL: ttl, Port: 4789,
		}
		inside := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 99, 0, 1), Mask: net.CIDRMask(24, 32)}}
		neighbour := func(l netlink.Link, ip net.IP, mac net.HardwareAddr) error {
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: ip, HardwareAddr: mac})
		}
		defer func() { err = errors.Join(err, netlink.AddrDel(far, own)) }() // and its route
		for _, do := range []func() error{
			func() error { return netlink.LinkSetHardwareAddr(far, from.MAC) },
			func() error { return netlink.AddrAdd(far, own) },
			func() error {
				return netlink.RouteAdd(&netlink.Route{LinkIndex: far.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(32, 32)}})
			},
			func() error { return neighbour(far, to.AsSlice(), gateway) },
			func() error { return netlink.LinkAdd(tunnel) },
		} {
			if err := do(); err != nil {
				return err
			}
		}
		defer func() { err = errors.Join(err, netlink.LinkDel(tunnel)) }()
		if err := errors.Join(netlink.AddrAdd(tunnel, inside), netlink.LinkSetUp(tunnel),
			neighbour(tunnel, net.IPv4(10, 99, 0, 2), net.HardwareAddr{2, 0, 0, 0, 0, 2})); err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size); err != nil {
			return err
		}
		return unix.Sendto(fd, make([]byte, datagrams*size), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 99, 0, 2}})
	})
}
