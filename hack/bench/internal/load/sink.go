package load

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// Sink drops every IPv4 frame at a device, and counts it. It stands where the measured path ends; ARP
// passes, so that the stack behind it stays alive.
type Sink struct {
	Name   string `json:"name"`
	Device string `json:"device"`
	// Egress: what the device is given to send, instead of what it receives.
	Egress bool `json:"egress"`
	XDP    bool `json:"xdp"` // at the driver instead of tcx: what XDP redirects are handed to
}

type sink struct {
	counts *ebpf.Map
	prog   *ebpf.Program
	link   link.Link
}

func (s *Set) sinkAttach(a Sink) (None, error) {
	dev, err := net.InterfaceByName(a.Device)
	if err != nil {
		return None{}, fmt.Errorf("sink: %w", err)
	}
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Name: "sink", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return None{}, fmt.Errorf("sink: map: %w", err)
	}
	// Offsets of data and data_end in struct __sk_buff and struct xdp_md, then the verdicts of tcx and XDP.
	kind, attach, data, end := ebpf.SchedCLS, ebpf.AttachTCXIngress, int16(76), int16(80)
	pass, drop := int32(-1), int32(2)
	if a.Egress {
		attach = ebpf.AttachTCXEgress
	}
	if a.XDP {
		kind, attach, data, end = ebpf.XDP, ebpf.AttachXDP, 0, 4
		pass, drop = 2, 1
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "sink", Type: kind, AttachType: attach, License: "Apache-2.0",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R0, pass),
			asm.LoadMem(asm.R2, asm.R1, data, asm.Word),
			asm.LoadMem(asm.R3, asm.R1, end, asm.Word),
			asm.Mov.Reg(asm.R4, asm.R2),
			asm.Add.Imm(asm.R4, 14),
			asm.JGT.Reg(asm.R4, asm.R3, "out"),
			asm.LoadMem(asm.R4, asm.R2, 12, asm.Half),
			asm.JNE.Imm(asm.R4, 0x0008, "out"), // ETH_P_IP, as it lies in memory
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, counts.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "drop"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, drop).WithSymbol("drop"),
			asm.Return().WithSymbol("out"),
		},
	})
	if err != nil {
		return None{}, fmt.Errorf("sink: program: %w", err)
	}
	var l link.Link
	if a.XDP {
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: dev.Index, Flags: link.XDPDriverMode})
	} else {
		l, err = link.AttachTCX(link.TCXOptions{Program: prog, Interface: dev.Index, Attach: attach})
	}
	if err != nil {
		return None{}, fmt.Errorf("sink: attach to %s: %w", a.Device, err)
	}
	s.sinks[a.Name] = &sink{counts: counts, prog: prog, link: l}
	return None{}, nil
}

func (s *Set) sinkDetach(a Named) (None, error) {
	k, ok := s.sinks[a.Name]
	if !ok {
		return None{}, nil
	}
	delete(s.sinks, a.Name)
	return None{}, errors.Join(k.link.Close(), k.prog.Close(), k.counts.Close())
}

// Count is a number of frames.
type Count struct {
	Frames uint64 `json:"frames"`
}

func (s *Set) sinkCount(a Named) (Count, error) {
	k, ok := s.sinks[a.Name]
	if !ok {
		return Count{}, fmt.Errorf("no sink %q", a.Name)
	}
	var per []uint64
	if err := k.counts.Lookup(uint32(0), &per); err != nil {
		return Count{}, err
	}
	var c Count
	for _, n := range per {
		c.Frames += n
	}
	return c, nil
}
