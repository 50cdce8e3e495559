package load

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Live makes frames as a network card does: the kernel's BPF_PROG_RUN in live-frame mode takes pages from a pool and
// redirects them, 64 at a time, into a veth whose other end polls them by NAPI and meets the programs there. Hardly
// any time goes into making them.
type Live struct {
	Name   string `json:"name"`
	Device string `json:"device"` // whose other end receives them
	Frame  []byte `json:"frame"`
	// Vary is the offset of a 16-bit field that takes Low + (random & Mask), a port; 0: every frame is the same.
	Vary int    `json:"vary"`
	Low  uint16 `json:"low"`
	Mask uint16 `json:"mask"`
}

type live struct {
	prog  *ebpf.Program
	frame []byte
}

// liveLoad writes the whole frame anew each time: a page comes back from the pool as the last receiver has left it.
func (s *Set) liveLoad(a Live) (None, error) {
	dev, err := net.InterfaceByName(a.Device)
	if err != nil {
		return None{}, fmt.Errorf("live: %w", err)
	}
	ins := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	if a.Vary != 0 {
		ins = append(ins,
			asm.FnGetPrandomU32.Call(),
			asm.And.Imm(asm.R0, int32(a.Mask)),
			asm.Add.Imm(asm.R0, int32(a.Low)),
			asm.HostTo(asm.BE, asm.R0, asm.Half),
			asm.Mov.Reg(asm.R7, asm.R0),
		)
	}
	ins = append(ins,
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(len(a.Frame))),
		asm.JGT.Reg(asm.R4, asm.R3, "abort"),
	)
	at := 0
	for ; at+8 <= len(a.Frame); at += 8 {
		ins = append(ins,
			asm.LoadImm(asm.R1, int64(binary.LittleEndian.Uint64(a.Frame[at:])), asm.DWord),
			asm.StoreMem(asm.R2, int16(at), asm.R1, asm.DWord))
	}
	for ; at < len(a.Frame); at++ {
		ins = append(ins, asm.StoreImm(asm.R2, int16(at), int64(a.Frame[at]), asm.Byte))
	}
	if a.Vary != 0 {
		ins = append(ins, asm.StoreMem(asm.R2, int16(a.Vary), asm.R7, asm.Half))
	}
	ins = append(ins,
		asm.Mov.Imm(asm.R1, int32(dev.Index)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("abort"),
		asm.Return(),
	)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "live", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "Apache-2.0", Instructions: ins,
	})
	if err != nil {
		return None{}, fmt.Errorf("live: program: %w", err)
	}
	s.lives[a.Name] = &live{prog: prog, frame: a.Frame}
	return None{}, nil
}

func (s *Set) liveRun(a Work) (Done, error) {
	l, ok := s.lives[a.Name]
	if !ok {
		return Done{}, fmt.Errorf("no frames %q", a.Name)
	}
	start := time.Now()
	if _, err := l.prog.Run(&ebpf.RunOptions{Data: l.frame, Repeat: uint32(a.N), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES}); err != nil {
		return Done{}, fmt.Errorf("live: run: %w", err)
	}
	return Done{Wall: time.Since(start)}, nil
}
