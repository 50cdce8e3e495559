package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Teardown removes all that Open and Apply ever made, of every layout: links, programs and maps, the three devices, and
// the kernel's care for the peers' neighbour entries. It is no error when nothing is there. Traffic ends.
func Teardown(ctx context.Context, cfg Config, log *slog.Logger) error {
	cfg = cfg.WithDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer h.Close()
	p := &pins{root: cfg.BPFFS, layout: Layout}
	if _, err := os.Stat(p.root); err == nil {
		if err := requireBPFFS(p.root); err != nil {
			return err // never remove a folder that is not ours to the letter
		}
		if err := p.acquire(); err != nil {
			return err
		}
		defer p.close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", p.root, err)
	}
	errs := []error{
		releasePeers(p, h, &cfg),
		// The bridge goes before the programs: no port is on the LAN without its guard.
		removeDevice(h, cfg.Bridge, "bridge"),
		removeDevice(h, cfg.VXLAN, "vxlan"),
		removeDevice(h, cfg.TAP, "tuntap"),
		removePins(p),
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tear the dataplane down: %w", err)
	}
	log.Info("the dataplane was removed", "pins", p.root)
	return ctx.Err()
}

// releasePeers finds the peers in the pinned maps, which remember them when no daemon does.
func releasePeers(p *pins, h *netlink.Handle, c *Config) error {
	layouts, err := p.layouts()
	if err != nil {
		return err
	}
	var errs []error
	hops := newHops(h, c)
	for _, n := range layouts {
		keys, err := pinnedKeys(p.at(n).dir("maps", "peers"))
		errs = append(errs, err)
		for _, k := range keys {
			if len(k) != 16 {
				continue // of a layout that keeps them otherwise
			}
			via, _, err := hops.resolve(netip.AddrFrom16([16]byte(k)).Unmap())
			if err != nil {
				continue // no route: the kernel has no entry to let go of
			}
			errs = append(errs, unmanage(h, via))
		}
	}
	return errors.Join(errs...)
}

func pinnedKeys(path string) ([][]byte, error) {
	m, err := loadMap(path)
	if errors.Is(err, errNotPinned) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the map of peers: %w", err)
	}
	defer m.Close()
	keys, err := allKeys(m)
	if err != nil {
		return nil, fmt.Errorf("read the map of peers: %w", err)
	}
	return keys, nil
}

func removeDevice(h *netlink.Handle, name, kind string) error {
	l, err := h.LinkByName(name)
	switch {
	case notFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("look for %s: %w", name, err)
	case l.Type() != kind:
		return nil // somebody else's
	}
	if err := h.LinkDel(l); err != nil && !gone(err) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// removePins removes the layouts' folders, and the root when nothing else is in it.
func removePins(p *pins) error {
	layouts, err := p.layouts()
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range layouts {
		at := p.at(n)
		// Links first: without them no program runs any more.
		names, err := at.list("links")
		errs = append(errs, err)
		for _, name := range names {
			errs = append(errs, unlink(at.dir("links", name)))
		}
		for _, sub := range []string{"links", "progs", "maps"} {
			errs = append(errs, os.RemoveAll(at.dir(sub)))
		}
		errs = append(errs, os.RemoveAll(at.dir()))
	}
	if err := os.Remove(p.root); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
