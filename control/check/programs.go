package check

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// trialEntries keeps the trial's maps small: the verifier looks at key and value sizes only.
const trialEntries = 16

// loadPrograms asks the kernel's verifier about the real programs, with small maps and nothing pinned.
func loadPrograms(want Want) error {
	specs := []func() (*ebpf.CollectionSpec, error){bpf.LoadTc}
	if usesXDP(want) {
		specs = append(specs, bpf.LoadXdp)
	}
	for _, load := range specs {
		spec, err := load()
		if err != nil {
			return fmt.Errorf("read the built-in programs: %w", err)
		}
		for _, m := range spec.Maps {
			m.Pinning = ebpf.PinNone
			switch m.Type {
			case ebpf.RingBuf: // a power of two of pages
			case ebpf.Array, ebpf.PerCPUArray:
				if m.Name != ".rodata" && m.Name != ".bss" && m.Name != ".data" {
					m.MaxEntries = min(m.MaxEntries, trialEntries)
				}
			default:
				m.MaxEntries = min(m.MaxEntries, trialEntries)
			}
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			if v, ok := errors.AsType[*ebpf.VerifierError](err); ok {
				return fmt.Errorf("%v", v) // the last lines only: %+v would print the whole log
			}
			return err
		}
		coll.Close()
	}
	return nil
}

func usesXDP(want Want) bool { return want.XDP == "native" || want.XDP == "generic" }
