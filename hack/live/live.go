// Package live makes frames as a network card does: the kernel's BPF_PROG_RUN in live-frame mode takes pages from a pool and
// redirects them, 64 at a time, into a veth whose other end polls them by NAPI (GRO must be on there) and meets the programs
// there. Hardly any time goes into making them.
package live

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Vary is a 16-bit word of the frame, in network order, that is Low + (random & Mask) in each.
type Vary struct {
	At   int    `json:"at"` // offset
	Low  uint16 `json:"low"`
	Mask uint16 `json:"mask"`
	// Undo are the offsets of words that take its complement, so that a checksum over both stays what it is in a frame
	// that has zeros in their places.
	Undo []int `json:"undo,omitempty"`
}

// Stream is a frame that can be sent often.
type Stream struct {
	prog  *ebpf.Program
	made  *ebpf.Map
	frame []byte
}

// kept are registers that outlive calls.
var kept = []asm.Register{asm.R7, asm.R8, asm.R9}

// New makes a stream into the veth that has this index in the network namespace of the thread that will call Run. At most
// three words vary. It needs root.
func New(ifindex int, frame []byte, vary ...Vary) (*Stream, error) {
	if len(vary) > len(kept) {
		return nil, fmt.Errorf("live: %d words vary, and only %d can", len(vary), len(kept))
	}
	made, err := ebpf.NewMap(&ebpf.MapSpec{Name: "live", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("live: map: %w", err)
	}
	ins := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMapValue(asm.R1, made.FD(), 0),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
	}
	for i, v := range vary {
		ins = append(ins,
			asm.FnGetPrandomU32.Call(),
			asm.And.Imm(asm.R0, int32(v.Mask)),
			asm.Add.Imm(asm.R0, int32(v.Low)),
			asm.HostTo(asm.BE, asm.R0, asm.Half),
			asm.Mov.Reg(kept[i], asm.R0))
	}
	ins = append(ins,
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(len(frame))),
		asm.JGT.Reg(asm.R4, asm.R3, "abort"))
	// The whole frame anew each time: a page comes back from the pool as the last receiver has left it.
	at := 0
	for ; at+8 <= len(frame); at += 8 {
		ins = append(ins,
			asm.LoadImm(asm.R1, int64(binary.LittleEndian.Uint64(frame[at:])), asm.DWord),
			asm.StoreMem(asm.R2, int16(at), asm.R1, asm.DWord))
	}
	for ; at < len(frame); at++ {
		ins = append(ins, asm.StoreImm(asm.R2, int16(at), int64(frame[at]), asm.Byte))
	}
	for i, v := range vary {
		ins = append(ins, asm.StoreMem(asm.R2, int16(v.At), kept[i], asm.Half), asm.Xor.Imm(kept[i], -1))
		for _, undo := range v.Undo {
			ins = append(ins, asm.StoreMem(asm.R2, int16(undo), kept[i], asm.Half))
		}
	}
	ins = append(ins,
		asm.Mov.Imm(asm.R1, int32(ifindex)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("abort"),
		asm.Return())
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "live", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "Apache-2.0", Instructions: ins,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("live: program: %w", err), made.Close())
	}
	return &Stream{prog: prog, made: made, frame: frame}, nil
}

// Run sends n frames, or more: a signal makes it begin again (see Made). It returns when they have been handed over; what the
// other end has no room for is lost, and counted in the statistics of the veth.
func (s *Stream) Run(n int) error {
	if n <= 0 {
		return nil
	}
	_, err := s.prog.Run(&ebpf.RunOptions{Data: s.frame, Repeat: uint32(n), Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
	if err != nil {
		return fmt.Errorf("live: run: %w", err)
	}
	return nil
}

// Made is how many frames there have been in all runs.
func (s *Stream) Made() (n uint64, err error) {
	err = s.made.Lookup(uint32(0), &n)
	return n, err
}

// Close frees it.
func (s *Stream) Close() error { return errors.Join(s.prog.Close(), s.made.Close()) }
