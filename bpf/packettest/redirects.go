package packettest

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// How a program asked for a redirect.
type How uint32

const (
	ToNone     How = iota
	ToDevice       // bpf_redirect: out of a device
	ToIngress      // bpf_redirect with BPF_F_INGRESS: into a device
	ToPeer         // bpf_redirect_peer: into the other end of a veth, in its namespace
	ToNeighbor     // bpf_redirect_neigh: out of a device, the kernel fills in the MACs
)

func (h How) String() string {
	return [...]string{"nowhere", "out of", "into", "through the pair of", "by the neighbour table out of"}[h]
}

// Redirect is where a program sent a frame.
type Redirect struct {
	How     How
	Ifindex int
}

func (r Redirect) String() string { return fmt.Sprintf("%v ifindex %d", r.How, r.Ifindex) }

// recorder knows the last redirect that any program asked for. BPF_PROG_TEST_RUN tells only the verdict; so the
// programs under test are loaded with every call of a redirect helper turned into a jump behind the end of its function,
// where the arguments are noted, the helper is called, and a jump leads back. Nothing else in them moves, and they need no
// more stack.
type recorder struct{ notes *ebpf.Map }

// One note: which helper, its ifindex (32 bit each), its flags (64).
const noteSize = 16

// flagsOf is the register that holds the helper's flags.
var flagsOf = map[asm.BuiltinFunc]asm.Register{
	asm.FnRedirect:      asm.R2,
	asm.FnRedirectPeer:  asm.R2,
	asm.FnRedirectNeigh: asm.R4,
}

func newRecorder() (*recorder, error) {
	notes, err := ebpf.NewMap(&ebpf.MapSpec{Name: "redirects", Type: ebpf.Array, KeySize: 4, ValueSize: noteSize, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("map of redirects: %w: this needs CAP_BPF; run the tests as root", err)
	}
	return &recorder{notes}, nil
}

// Instrument changes the programs of spec before they are loaded.
func (r *recorder) Instrument(spec *ebpf.CollectionSpec) {
	for _, p := range spec.Programs {
		var out, behind asm.Instructions
		for i, ins := range p.Instructions {
			if btf.FuncMetadata(&ins) != nil { // a function begins: the one before has ended
				out = append(out, behind...)
				behind = nil
			}
			helper := asm.BuiltinFunc(ins.Constant)
			flags, ok := flagsOf[helper]
			if ins.IsBuiltinCall() && ok {
				there, back := fmt.Sprintf("note_%d", i), fmt.Sprintf("noted_%d", i)
				behind = append(behind, r.note(there, back, helper, flags)...)
				jump := asm.Ja.Label(there)
				jump.Metadata = ins.Metadata
				ins = jump.WithReference(there)
				p.Instructions[i+1] = p.Instructions[i+1].WithSymbol(back)
			}
			out = append(out, ins)
		}
		p.Instructions = append(out, behind...)
	}
}

// note clobbers only R0, which the helper is about to set.
func (r *recorder) note(there, back string, helper asm.BuiltinFunc, flags asm.Register) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R0, r.notes.FD(), 0).WithSymbol(there),
		asm.StoreImm(asm.R0, 0, int64(helper), asm.Word),
		asm.StoreMem(asm.R0, 4, asm.R1, asm.Word),
		asm.StoreMem(asm.R0, 8, flags, asm.DWord),
		helper.Call(),
		asm.Ja.Label(back),
	}
}

// Take gives the last redirect since the last Take.
func (r *recorder) Take() (Redirect, error) {
	var note struct {
		Helper, Ifindex uint32
		Flags           uint64
	}
	if err := r.notes.Lookup(uint32(0), &note); err != nil {
		return Redirect{}, err
	}
	if err := r.notes.Put(uint32(0), make([]byte, noteSize)); err != nil {
		return Redirect{}, err
	}
	to := Redirect{Ifindex: int(note.Ifindex)}
	switch asm.BuiltinFunc(note.Helper) {
	case asm.FnRedirect:
		to.How = ToDevice
		if note.Flags&unix.BPF_F_INGRESS != 0 {
			to.How = ToIngress
		}
	case asm.FnRedirectPeer:
		to.How = ToPeer
	case asm.FnRedirectNeigh:
		to.How = ToNeighbor
	}
	return to, nil
}

func (r *recorder) Close() error { return r.notes.Close() }
