package dataplane

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// Names of the programs, of their pins, and of the links' pins.
const (
	progPort     = "port"
	progUnderlay = "underlay"
	progNode     = "node"
	progParking  = "parking"
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

// loadPrograms gives every program that is needed, bound to the given maps. One that is pinned and the same is kept as it
// is; of the others fresh has the origin, because their links must be updated and their pins replaced.
func loadPrograms(
	p *pins, specs []*ebpf.CollectionSpec, maps map[string]*ebpf.Map, needed func(string) bool,
) (progs programs, fresh map[string]string, err error) {
	progs, fresh = programs{}, map[string]string{}
	defer func() {
		if err != nil {
			progs.close()
		}
	}()
	for _, spec := range specs {
		spec = spec.Copy()
		origin, err := fingerprint(spec, maps)
		if err != nil {
			return progs, nil, err
		}
		for name := range spec.Programs {
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
			if recorded(maps[mapBuilds], name, old) == origin {
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
			fresh[name] = origin
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
