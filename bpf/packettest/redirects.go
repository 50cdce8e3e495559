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
// programs under test are loaded with every call of a redirect helper turned into a call of a function that notes the
// arguments and then calls the helper. Nothing else in them changes: both are one instruction.
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
		notes := map[asm.BuiltinFunc]asm.Instructions{}
		var line fmt.Stringer // every function must have a source line; any will do
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			if ins.Source() != nil {
				line = ins.Source()
			}
			helper := asm.BuiltinFunc(ins.Constant)
			flags, ok := flagsOf[helper]
			if !ins.IsBuiltinCall() || !ok {
				continue
			}
			name := "note_" + helper.String()
			if notes[helper] == nil {
				notes[helper] = r.note(name, helper, flags, line)
			}
			ins.Src, ins.Constant = asm.PseudoCall, -1
			*ins = ins.WithReference(name)
		}
		for _, f := range notes {
			p.Instructions = append(p.Instructions, f...)
		}
	}
}

func (r *recorder) note(name string, helper asm.BuiltinFunc, flags asm.Register, source fmt.Stringer) asm.Instructions {
	word := &btf.Int{Name: "unsigned int", Size: 4}
	long := &btf.Int{Name: "unsigned long long", Size: 8}
	params := []btf.FuncParam{{Name: "ifindex", Type: word}, {Name: "flags", Type: long}}
	if helper == asm.FnRedirectNeigh {
		params = []btf.FuncParam{{Name: "ifindex", Type: word}, {Name: "nh", Type: &btf.Pointer{Target: &btf.Void{}}}, {Name: "len", Type: word}, {Name: "flags", Type: long}}
	}
	f := &btf.Func{Name: name, Linkage: btf.StaticFunc, Type: &btf.FuncProto{Return: long, Params: params}}
	first := asm.LoadMapValue(asm.R0, r.notes.FD(), 0).WithSymbol(name).WithSource(source)
	return asm.Instructions{
		btf.WithFuncMetadata(first, f),
		asm.StoreImm(asm.R0, 0, int64(helper), asm.Word),
		asm.StoreMem(asm.R0, 4, asm.R1, asm.Word),
		asm.StoreMem(asm.R0, 8, flags, asm.DWord),
		helper.Call(),
		asm.Return(),
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
