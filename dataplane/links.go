package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// attach makes sure that a program runs at an interface, and that its link is pinned. An adopted link is updated in
// place, so that no packet passes without a program.
func attach(p *pins, name string, prog *ebpf.Program, ifindex int, mode XDPMode) (changed bool, err error) {
	path := p.dir("links", linkName(name, ifindex))
	l, err := loadLink(path)
	switch {
	case errors.Is(err, errNotPinned):
	case err != nil:
		return false, fmt.Errorf("open the pinned link of %s: %w", name, err)
	default:
		defer l.Close()
		if at, id := linked(l); at == ifindex {
			return id != programID(prog), update(l, prog, id)
		}
		// Its interface is gone, and the number was given to another.
		if err := unlink(path); err != nil {
			return false, err
		}
	}
	if name == progXDP {
		flags := link.XDPDriverMode
		if mode == XDPGeneric {
			flags = link.XDPGenericMode
		}
		l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: ifindex, Flags: flags})
	} else {
		at := ebpf.AttachTCXIngress
		if name == progNode {
			at = ebpf.AttachTCXEgress
		}
		// Before all others: a guard that comes late guards nothing.
		l, err = link.AttachTCX(link.TCXOptions{Program: prog, Interface: ifindex, Attach: at, Anchor: link.Head()})
	}
	if err != nil {
		return false, fmt.Errorf("attach the program %s: %w", name, err)
	}
	defer l.Close()
	if err := l.Pin(path); err != nil {
		return false, fmt.Errorf("pin the link of %s: %w", name, err)
	}
	return true, nil
}

// update puts another program into a link, unless it is the same.
func update(l link.Link, prog *ebpf.Program, now ebpf.ProgramID) error {
	if now == programID(prog) {
		return nil
	}
	if err := l.Update(prog); err != nil {
		return fmt.Errorf("update a link: %w", err)
	}
	return nil
}

// detach removes a link. Its interface may be gone already.
func detach(p *pins, name string, ifindex int) error {
	return unlink(p.dir("links", linkName(name, ifindex)))
}

// unlink detaches explicitly: a link that only loses its last name is detached by the kernel some time later, and until
// then the same program cannot be attached anew.
func unlink(path string) error {
	l, err := loadLink(path)
	if errors.Is(err, errNotPinned) {
		return nil
	}
	if err == nil {
		if err = l.Detach(); errors.Is(err, link.ErrNotSupported) || errors.Is(err, unix.EOPNOTSUPP) {
			err = nil // of a tracing program: it ends with its last name
		}
		l.Close()
	}
	if rm := os.Remove(path); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		return fmt.Errorf("remove the link %s: %w", path, rm)
	}
	if err != nil && !gone(err) && !errors.Is(err, unix.ENOLINK) {
		return fmt.Errorf("detach the link %s: %w", path, err)
	}
	return nil
}

// linked says at which interface a link is (0: its interface is gone) and which program it runs.
func linked(l link.Link) (ifindex int, id ebpf.ProgramID) {
	info, err := l.Info()
	if err != nil {
		return 0, 0
	}
	if t := info.TCX(); t != nil {
		ifindex = int(t.Ifindex)
	} else if x := info.XDP(); x != nil {
		ifindex = int(x.Ifindex)
	}
	return ifindex, info.Program
}

func programID(p *ebpf.Program) ebpf.ProgramID {
	info, err := p.Info()
	if err != nil {
		return 0
	}
	id, _ := info.ID()
	return id
}

// eachLink calls f for every pinned link that is named as ours are.
func (p *pins) eachLink(f func(program string, ifindex int, l link.Link) error) error {
	names, err := p.list("links")
	if err != nil {
		return fmt.Errorf("list the pinned links: %w", err)
	}
	for _, name := range names {
		program, ifindex, ok := parseLinkName(name)
		if !ok {
			continue
		}
		l, err := loadLink(p.dir("links", name))
		if err != nil {
			return fmt.Errorf("open the pinned link %s: %w", name, err)
		}
		err = f(program, ifindex, l)
		l.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// gone reports whether an error says that the interface does not exist (any more).
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
