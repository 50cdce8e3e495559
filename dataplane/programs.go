package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// Names of the programs, of their pins, and of the links' pins.
const (
	progPort     = "port"
	progUnderlay = "underlay"
	progNode     = "node"
	progXDP      = "underlay_xdp"
)

// objects reads the two compiled objects. A test puts others in their place.
type objects func() ([]*ebpf.CollectionSpec, error)

func builtin() ([]*ebpf.CollectionSpec, error) {
	tc, err := bpf.LoadTc()
	if err != nil {
		return nil, fmt.Errorf("read the tcx programs: %w", err)
	}
	xdp, err := bpf.LoadXdp()
	if err != nil {
		return nil, fmt.Errorf("read the XDP program: %w", err)
	}
	return []*ebpf.CollectionSpec{tc, xdp}, nil
}

// programs are the loaded ones by name.
type programs map[string]*ebpf.Program

func (p programs) close() {
	for _, prog := range p {
		prog.Close()
	}
}

// loadPrograms gives every program that is needed, bound to the given maps. One that is pinned and the same is kept as it is; the
// names of the others are returned too, because their links must be updated and their pins replaced.
func loadPrograms(p *pins, specs []*ebpf.CollectionSpec, maps map[string]*ebpf.Map, needed func(string) bool) (progs programs, fresh []string, err error) {
	progs = programs{}
	defer func() {
		if err != nil {
			progs.close()
		}
	}()
	ours := map[ebpf.MapID]bool{}
	for name, m := range maps {
		info, err := m.Info()
		if err != nil {
			return progs, nil, fmt.Errorf("ask about map %s: %w", name, err)
		}
		id, _ := info.ID()
		ours[id] = true
	}
	for _, spec := range specs {
		spec = spec.Copy()
		for name, ps := range spec.Programs {
			if !needed(name) {
				delete(spec.Programs, name)
				continue
			}
			old, err := loadProgram(p.dir("progs", name))
			if errors.Is(err, errNotPinned) {
				continue
			}
			if err != nil {
				return progs, nil, fmt.Errorf("open the pinned program %s: %w", name, err)
			}
			if same(old, ps, rodata(spec), ours) {
				progs[name] = old
				delete(spec.Programs, name)
				continue
			}
			old.Close()
		}
		if len(spec.Programs) == 0 {
			continue
		}
		coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: within(spec, maps)})
		if err != nil {
			return progs, nil, refused(err)
		}
		for name := range spec.Programs {
			progs[name] = coll.DetachProgram(name)
			fresh = append(fresh, name)
		}
		coll.Close()
	}
	return progs, fresh, nil
}

// refused makes an error of the kernel's refusal that says what to do. The verifier's log is long: %+v shows all of it.
func refused(err error) error {
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		return fmt.Errorf("the kernel's verifier refused a program: %w; report it with the kernel's version (uname -r) and the whole log", err)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("the kernel refused to load the programs: %w; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (lanyard check)", err)
	}
	return fmt.Errorf("the kernel refused to load the programs: %w; it must be Linux 6.6 or newer (lanyard check)", err)
}

func within(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map) map[string]*ebpf.Map {
	sub := map[string]*ebpf.Map{}
	for name, m := range maps {
		if _, ok := spec.Maps[name]; ok {
			sub[name] = m
		}
	}
	return sub
}

// rodata is what an object's constants will be once loaded.
func rodata(spec *ebpf.CollectionSpec) []byte {
	for name, m := range spec.Maps {
		if strings.HasSuffix(name, ".rodata") && len(m.Contents) == 1 {
			b, _ := m.Contents[0].Value.([]byte)
			return b
		}
	}
	return nil
}

// same reports whether a loaded program is what spec would become: the same instructions (the kernel's tag), the same
// constants, and no map but ours. When in doubt it says no, and the program is loaded anew, which interrupts nothing.
func same(prog *ebpf.Program, spec *ebpf.ProgramSpec, constants []byte, ours map[ebpf.MapID]bool) bool {
	info, err := prog.Info()
	if err != nil || spec.Compatible(info) != nil {
		return false
	}
	ids, ok := info.MapIDs()
	if !ok {
		return false
	}
	for _, id := range ids {
		if ours[id] {
			continue
		}
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return false
		}
		equal := holds(m, constants)
		m.Close()
		if !equal {
			return false
		}
	}
	return true
}

// holds reports whether a map is a frozen one with just these bytes, or one without anything that matters.
func holds(m *ebpf.Map, content []byte) bool {
	info, err := m.Info()
	if err == nil && private(info.Name) && m.Type() == ebpf.PerCPUArray {
		return true // room to work in, nothing that lasts
	}
	if err != nil || !info.Frozen() || m.Type() != ebpf.Array || int(m.ValueSize()) != len(content) {
		return false
	}
	b, err := m.LookupBytes(uint32(0))
	return err == nil && bytes.Equal(b, content)
}
