package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/lanyard-project/lanyard/bpf"
)

// Names of the tracing programs, their pins, and their links' pins. They hang on the kernel, not on an interface.
const (
	progSockets = "socket_state"
	progBinds   = "socket_bind"
)

func tracing(program string) bool { return program == progSockets || program == progBinds }

// tracers are the programs that watch sockets, while they are attached.
type tracers struct {
	links map[string]link.Link
	// progs are those that were loaded once: to load one takes longer than a webspace has for its whole boot to be quick.
	progs map[string]*ebpf.Program
	// unbound says that this kernel refuses progBinds.
	unbound error
}

func (t *tracers) close() {
	t.unlink()
	for _, p := range t.progs {
		p.Close()
	}
	t.progs = nil
}

func (t *tracers) unlink() {
	for _, l := range t.links {
		l.Close()
	}
	t.links = nil
}

// TracesBinds reports whether EventBind comes by itself.
func (d *Dataplane) TracesBinds() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tracers.links[progBinds] != nil
}

// openTracers adopts what an earlier daemon attached: nothing is missed meanwhile. What it left without need is removed.
func (d *Dataplane) openTracers() error {
	watches, err := d.watches()
	if err != nil {
		return err
	}
	if len(watches) == 0 {
		return d.detachTracers()
	}
	return d.attachTracers()
}

// attachTracers makes sure that the programs run. mu is held, or nobody else knows d.
func (d *Dataplane) attachTracers() error {
	if d.tracers.links == nil {
		d.tracers.links = map[string]link.Link{}
	}
	if err := d.attachTracer(progSockets, bpf.LoadSockets); err != nil {
		return fmt.Errorf("watch TCP sockets: %w", err)
	}
	if d.tracers.unbound != nil {
		return nil
	}
	if err := d.attachTracer(progBinds, bpf.LoadBinds); err != nil {
		d.tracers.unbound = err
		d.log.Info("this kernel does not let functions be traced: UDP sockets are looked for instead", "err", err)
	}
	return nil
}

func (d *Dataplane) attachTracer(name string, load func() (*ebpf.CollectionSpec, error)) error {
	if d.tracers.links[name] != nil {
		return nil
	}
	if prog := d.tracers.progs[name]; prog != nil { // its pins went when it was detached
		if err := prog.Unpin(); err != nil { // and else it believes that it has its last name still
			return fmt.Errorf("unpin the program %s: %w", name, err)
		}
		if err := replacePin(prog, d.pins.dir("progs", name)); err != nil {
			return fmt.Errorf("pin the program %s: %w", name, err)
		}
		return d.linkTracer(name, prog, nil)
	}
	spec, err := load()
	if err != nil {
		return err
	}
	for m := range spec.Maps {
		if d.maps[m] == nil && !private(m) {
			return fmt.Errorf("the program %s wants a map %s, which the others do not know", name, m)
		}
	}
	mapSpecs([]*ebpf.CollectionSpec{spec}, d.cfg.Sizes) // sets the sizes that the maps have
	progs, fresh, err := loadPrograms(d.pins, []*ebpf.CollectionSpec{spec}, d.maps, func(string) bool { return true })
	if err != nil {
		return err
	}
	defer progs.close()
	prog, err := progs[name].Clone()
	if err != nil {
		return fmt.Errorf("keep the program %s: %w", name, err)
	}
	if err := d.linkTracer(name, prog, fresh); err != nil {
		prog.Close()
		return err
	}
	if d.tracers.progs == nil {
		d.tracers.progs = map[string]*ebpf.Program{}
	}
	d.tracers.progs[name] = prog
	return nil
}

// linkTracer attaches a program, or adopts the link that an earlier daemon has pinned. fresh: those loaded just now, and from where.
func (d *Dataplane) linkTracer(name string, prog *ebpf.Program, fresh map[string]string) error {
	path := d.pins.dir("links", name)
	old, err := loadLink(path)
	if err != nil && !errors.Is(err, errNotPinned) {
		return fmt.Errorf("open the pinned link of %s: %w", name, err)
	}
	if err == nil {
		if _, id := linked(old); id == programID(prog) {
			d.tracers.links[name] = old
			return nil
		}
		// Such a link cannot be given another program: for a moment both run, and note the same twice.
		defer old.Close()
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		return fmt.Errorf("attach the program %s: %w", name, err)
	}
	if err := replacePin(l, path); err != nil {
		l.Close()
		return fmt.Errorf("pin the link of %s: %w", name, err)
	}
	if origin, ok := fresh[name]; ok {
		if err := d.pinTracer(name, prog, origin); err != nil {
			l.Close()
			return err
		}
	}
	d.tracers.links[name] = l
	return nil
}

func (d *Dataplane) pinTracer(name string, prog *ebpf.Program, origin string) error {
	if err := replacePin(prog, d.pins.dir("progs", name)); err != nil {
		return fmt.Errorf("pin the program %s: %w", name, err)
	}
	return record(d.maps[mapBuilds], name, origin, d.cfg.Version, prog)
}

// detachTracers takes them away.
func (d *Dataplane) detachTracers() error {
	d.tracers.unlink()
	var errs []error
	for _, name := range []string{progSockets, progBinds} {
		for _, path := range []string{d.pins.dir("links", name), d.pins.dir("progs", name)} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove the pin %s: %w", path, err))
			}
		}
	}
	return errors.Join(errs...)
}
