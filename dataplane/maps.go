package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Layout is the number of the layout of the maps: LAYOUT of bpf/types.h.
const Layout = 2

const mapOwners = "owners"

// mapSpecs collects the maps of all objects, with configured sizes. Maps of one name in several objects are one map.
func mapSpecs(specs []*ebpf.CollectionSpec, s Sizes) map[string]*ebpf.MapSpec {
	sizes := map[string]int{
		"endpoints": s.Endpoints, "macs": s.Endpoints,
		"forwards": s.Forwards, "inverses": s.Forwards,
		"flows": 2 * s.Flows, "peers": s.Peers, "tracks": s.Tracks, "frags": s.Frags,
	}
	all := map[string]*ebpf.MapSpec{mapOwners: ownersSpec(), mapBuilds: buildsSpec()}
	for _, spec := range specs {
		for name, m := range spec.Maps {
			if private(name) {
				continue
			}
			if n, ok := sizes[name]; ok {
				m.MaxEntries = uint32(n)
			}
			// One more for this node itself, which nobody configures.
			if name == "endpoints" || name == "macs" {
				m.MaxEntries++
			}
			all[name] = m
			if name == "shares" {
				all[mapOwners].MaxEntries = m.MaxEntries
			}
		}
	}
	return all
}

// private reports whether a map belongs to one loading of a program: its constants, and room to work in.
func private(name string) bool { return strings.HasPrefix(name, ".") || name == "scratch" }

// ownersSpec is a map that no program knows: slot -> the webspace's name. It makes slots survive a restart, and
// the other maps readable for who has only bpftool.
func ownersSpec() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: mapOwners, Type: ebpf.Hash, KeySize: 4, ValueSize: ownerMax + 1, MaxEntries: 1,
		Key: &btf.Int{Name: "unsigned int", Size: 4}, Value: chars(ownerMax + 1),
	}
}

// convert turns one entry of an older layout into one of the next; keep is false when it has no place there any more.
// Values of per-CPU maps are converted for each CPU by itself.
type convert func(key, value []byte) (newKey, newValue []byte, keep bool)

// migrations say how to get from one layout to the next: [n]["flows"] turns an entry of layout n into one of n+1. A map
// without an entry has the same layout in both, and is taken over as it is.
type migrations map[int]map[string]convert

// replacement is a map that takes the place of another whose size or layout does not fit.
type replacement struct {
	name    string
	old     *ebpf.Map
	convert convert
}

// adoption is what became of the maps: those to use, and which of them still stand beside the pinned ones.
type adoption struct {
	maps         map[string]*ebpf.Map
	replacements []replacement
	from         int // the older layout that was found, or 0
}

func (a *adoption) close() {
	for _, m := range a.maps {
		m.Close()
	}
	for _, r := range a.replacements {
		r.old.Close()
	}
}

// adoptMaps opens the pinned maps, and creates those that are missing or do not fit. It pins only what replaces
// nothing; the others are put in place by commit, when the programs for them are loaded.
func adoptMaps(p *pins, specs map[string]*ebpf.MapSpec, mig migrations) (a *adoption, err error) {
	a = &adoption{maps: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	source, err := sourceLayout(p)
	if err != nil {
		return a, err
	}
	a.from = source.layout
	if source == p {
		a.from = 0
	}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if err := a.adopt(p, source, specs[name], mig); err != nil {
			return a, fmt.Errorf("map %s: %w", name, err)
		}
	}
	return a, nil
}

// sourceLayout is where the maps are: in our layout's folder, or in the newest older one's. A newer one belongs to a newer
// lanyardd, whose programs must not be disturbed by an older build.
func sourceLayout(p *pins) (*pins, error) {
	layouts, err := p.layouts()
	if err != nil {
		return nil, fmt.Errorf("list the layouts in %s: %w", p.root, err)
	}
	older := 0
	for _, n := range layouts {
		filled, err := p.at(n).list("maps")
		if err != nil {
			return nil, err
		}
		switch {
		case len(filled) == 0:
		case n > p.layout:
			return nil, fmt.Errorf("%s has maps of layout %d, made by a newer lanyardd; run that one, or remove them with its --teardown", p.root, n)
		case n < p.layout && n > older:
			older = n
		}
	}
	if older == 0 {
		return p, nil
	}
	// Even when ours exists too: then a migration was cut off, and is begun again.
	return p.at(older), nil
}

func (a *adoption) adopt(p, source *pins, spec *ebpf.MapSpec, mig migrations) error {
	name := spec.Name
	old, err := loadMap(source.dir("maps", name))
	if errors.Is(err, errNotPinned) {
		old, err = nil, nil
	}
	if err != nil {
		return err
	}
	var steps []convert
	for n := source.layout; n < p.layout; n++ {
		if f, ok := mig[n][name]; ok {
			steps = append(steps, f)
		}
	}
	switch {
	case old == nil:
	case len(steps) == 0 && spec.Compatible(old) == nil:
		return a.keep(p, source, name, old)
	case len(steps) == 0 && !sameShape(spec, old):
		old.Close()
		return fmt.Errorf("what is pinned has another shape (%v) than layout %d asks for; remove it with lanyardd node --teardown, which interrupts traffic", old, p.layout)
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		if old != nil {
			old.Close()
		}
		return refused(err)
	}
	a.maps[name] = m
	if old == nil {
		return replacePin(m, p.dir("maps", name))
	}
	r := replacement{name: name, old: old, convert: chain(steps)}
	a.replacements = append(a.replacements, r)
	return r.copy(m, false)
}

// keep takes a map over as it is; one of an older layout gets a second name in ours.
func (a *adoption) keep(p, source *pins, name string, m *ebpf.Map) error {
	a.maps[name] = m
	if source.layout == p.layout {
		return nil
	}
	again, err := m.Clone() // a clone has no pin, so that pinning it moves none
	if err != nil {
		return err
	}
	defer again.Close()
	return replacePin(again, p.dir("maps", name))
}

func sameShape(spec *ebpf.MapSpec, m *ebpf.Map) bool {
	return spec.Type == m.Type() && spec.KeySize == m.KeySize() && spec.ValueSize == m.ValueSize() && spec.Flags == m.Flags()
}

func chain(steps []convert) convert {
	return func(k, v []byte) ([]byte, []byte, bool) {
		for _, f := range steps {
			var keep bool
			if k, v, keep = f(k, v); !keep {
				return nil, nil, false
			}
		}
		return k, v, true
	}
}

// commit gives the replacing maps the names of those that they replace. From then on a new daemon would open them.
func (a *adoption) commit(p *pins) error {
	for _, r := range a.replacements {
		m, err := a.maps[r.name].Clone()
		if err != nil {
			return err
		}
		err = replacePin(m, p.dir("maps", r.name))
		m.Close()
		if err != nil {
			return fmt.Errorf("put map %s in place: %w", r.name, err)
		}
	}
	return nil
}

// settle copies once more what programs wrote to the old maps until their links were updated, and lets go of them.
func (a *adoption) settle() error {
	var errs []error
	for _, r := range a.replacements {
		errs = append(errs, r.copy(a.maps[r.name], true))
		r.old.Close()
	}
	a.replacements = nil
	return errors.Join(errs...)
}

// copy moves entries from the old map to a new one. With missing set it adds only those that the new one lacks. What
// does not fit into a smaller map is left behind.
func (r *replacement) copy(to *ebpf.Map, missing bool) error {
	if r.old.Type() == ebpf.RingBuf {
		return nil
	}
	array := r.old.Type() == ebpf.Array || r.old.Type() == ebpf.PerCPUArray
	if array && missing {
		return nil // every entry of an array exists
	}
	flags := ebpf.UpdateAny
	if missing {
		flags = ebpf.UpdateNoExist
	}
	cpus := 1
	perCPU := r.old.Type() == ebpf.PerCPUArray || r.old.Type() == ebpf.PerCPUHash
	if perCPU {
		cpus = ebpf.MustPossibleCPU()
	}
	keys, err := allKeys(r.old)
	if err != nil {
		return fmt.Errorf("read map %s: %w", r.name, err)
	}
	for _, key := range keys {
		values := make([][]byte, cpus)
		if perCPU {
			err = r.old.Lookup(key, values)
		} else {
			values[0], err = r.old.LookupBytes(key)
		}
		if err != nil || values[0] == nil {
			continue // gone meanwhile
		}
		var newKey []byte
		keep := true
		for i := range values {
			if newKey, values[i], keep = r.convert(key, values[i]); !keep {
				break
			}
		}
		if !keep {
			continue
		}
		if perCPU {
			err = to.Update(newKey, values, flags)
		} else {
			err = to.Update(newKey, values[0], flags)
		}
		switch {
		case err == nil, errors.Is(err, ebpf.ErrKeyExist):
		case full(err), array && errors.Is(err, ebpf.ErrKeyNotExist):
			// It does not fit; what is wanted is written by the next Apply.
		default:
			return fmt.Errorf("copy map %s: %w", r.name, err)
		}
	}
	return nil
}

func allKeys(m *ebpf.Map) ([][]byte, error) {
	var keys [][]byte
	key, err := m.NextKeyBytes(nil)
	for ; err == nil && key != nil && len(keys) <= int(m.MaxEntries()); key, err = m.NextKeyBytes(key) {
		keys = append(keys, key)
	}
	return keys, err
}

// removeLayout removes the pins of another layout, once nothing is needed from there.
func removeLayout(p *pins, layout int) error { return os.RemoveAll(p.at(layout).dir()) }
