package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/bpf"
)

// Open creates the node's devices, maps and programs, or adopts what an earlier daemon left, and holds a lock
// against a second daemon until Close. It must run in the network namespace of the node.
//
// What is adopted keeps forwarding all the while: maps keep their entries, links are given new programs in one step
// each. The State of the earlier daemon stays in force until the first Apply.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Dataplane, error) {
	return open(ctx, cfg, log, Layout, builtin, known())
}

func open(ctx context.Context, cfg Config, log *slog.Logger, layout int, objs objects, mig migrations) (d *Dataplane, err error) {
	cfg = cfg.WithDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	// Kernels since 5.11 count maps against the memory cgroup instead; this is for the ones that someone patched.
	if err := rlimit.RemoveMemlock(); err != nil {
		log.Debug("the limit of locked memory stays", "err", err)
	}
	p, err := openPins(cfg.BPFFS, layout)
	if err != nil {
		return nil, err
	}
	opening := &Dataplane{cfg: cfg, log: log, objs: objs, pins: p, stale: true, kernel: newKernel()}
	opening.closing, opening.endAll = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			opening.Close()
		}
	}()
	d = opening
	if d.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	u, err := findUplinks(d.nl, &d.cfg)
	if err != nil {
		return nil, err
	}
	mtu, err := lanMTU(&d.cfg, u)
	if err != nil {
		return nil, err
	}
	if d.dev, err = openDevices(d.nl, &d.cfg, mtu, &d.tap); err != nil {
		return nil, err
	}
	if err := d.dev.setMTU(mtu); err != nil {
		return nil, err
	}
	d.mtu.Store(int32(mtu))
	env := environ{bridge: d.dev.bridge, vxlan: d.dev.vxlan, parking: d.dev.parking, lanMTU: mtu, uplinkMTU: u.uplink.Attrs().MTU}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := d.openMaps(mig, env); err != nil {
		return nil, err
	}
	if err := d.bind(); err != nil {
		return nil, err
	}
	if err := d.attachNode(u); err != nil {
		return nil, err
	}
	return d, nil
}

// openMaps adopts the maps and puts programs over them. Between the renaming of maps and the update of links lies the
// smallest possible time; what the old programs wrote in it is copied after.
func (d *Dataplane) openMaps(mig migrations, env environ) error {
	specs, err := d.objs()
	if err != nil {
		return err
	}
	a, err := adoptMaps(d.pins, mapSpecs(specs, d.cfg.Sizes), mig)
	if err != nil {
		return fmt.Errorf("open the maps: %w", err)
	}
	d.maps = a.maps
	defer func() {
		for _, r := range a.replacements {
			r.old.Close()
		}
	}()
	if err := setConstants(specs, constants(&d.cfg, env)); err != nil {
		return err
	}
	progs, fresh, err := loadPrograms(d.pins, specs, d.maps, d.needed)
	if err != nil {
		return err
	}
	d.progs = progs
	d.env = env
	if err := a.commit(d.pins); err != nil {
		return err
	}
	if err := d.takeLinks(a.from); err != nil {
		return err
	}
	if err := a.settle(); err != nil {
		return err
	}
	if err := d.pinPrograms(fresh); err != nil {
		return err
	}
	if a.from != 0 {
		d.log.Info("the maps were migrated", "from", a.from, "to", d.pins.layout)
		return d.removeOlder()
	}
	return nil
}

// needed reports whether this node runs a program.
func (d *Dataplane) needed(program string) bool { return program != progXDP || d.cfg.XDP != XDPOff }

// removeOlder removes what older layouts left, once nothing is needed from there.
func (d *Dataplane) removeOlder() error {
	layouts, err := d.pins.layouts()
	if err != nil {
		return err
	}
	for _, n := range layouts {
		if n < d.pins.layout {
			if err := removeLayout(d.pins, n); err != nil {
				return fmt.Errorf("remove layout %d: %w", n, err)
			}
		}
	}
	return nil
}

// installPrograms loads the programs again, with other constants, and puts them in place of those that run.
func (d *Dataplane) installPrograms(env environ) error {
	specs, err := d.objs()
	if err != nil {
		return err
	}
	if err := setConstants(specs, constants(&d.cfg, env)); err != nil {
		return err
	}
	mapSpecs(specs, d.cfg.Sizes) // sets the sizes that the maps have
	progs, fresh, err := loadPrograms(d.pins, specs, d.maps, d.needed)
	if err != nil {
		return err
	}
	old := d.progs
	d.progs, d.env = progs, env
	old.close()
	if err := d.takeLinks(0); err != nil {
		return err
	}
	return d.pinPrograms(fresh)
}

// takeLinks gives every pinned link the program that it should run; those of an older layout move to ours. A link whose
// interface is gone is removed.
func (d *Dataplane) takeLinks(from int) error {
	take := func(program string, ifindex int, l link.Link, path string) error {
		prog, ok := d.progs[program]
		at, now := linked(l)
		if !ok || at != ifindex {
			return unlink(path)
		}
		if err := update(l, prog, now); err != nil {
			return fmt.Errorf("program %s at interface %d: %w", program, ifindex, err)
		}
		if own := d.pins.dir("links", linkName(program, ifindex)); own != path {
			return l.Pin(own) // moves it
		}
		return nil
	}
	for _, p := range []*pins{d.pins.at(from), d.pins} {
		if p.layout == 0 {
			continue
		}
		if err := p.eachLink(func(program string, ifindex int, l link.Link) error {
			return take(program, ifindex, l, p.dir("links", linkName(program, ifindex)))
		}); err != nil {
			return err
		}
	}
	return nil
}

// pinPrograms pins the freshly loaded programs and notes their origin; the links run them already.
func (d *Dataplane) pinPrograms(fresh map[string]string) error {
	names, err := d.pins.list("progs")
	if err != nil {
		return fmt.Errorf("list the pinned programs: %w", err)
	}
	for _, name := range names {
		if _, ok := d.progs[name]; !ok && !tracing(name) {
			// Not needed any more, or of a build that knew others.
			if err := os.Remove(d.pins.dir("progs", name)); err != nil {
				return fmt.Errorf("remove the pinned program %s: %w", name, err)
			}
		}
	}
	for name, origin := range fresh {
		again, err := d.progs[name].Clone()
		if err != nil {
			return err
		}
		err = replacePin(again, d.pins.dir("progs", name))
		again.Close()
		if err != nil {
			return fmt.Errorf("pin the program %s: %w", name, err)
		}
		if err := record(d.maps[mapBuilds], name, origin, d.cfg.Version, d.progs[name]); err != nil {
			return err
		}
		d.log.Info("a program was loaded", "name", name, "fingerprint", origin)
	}
	return nil
}

// bind makes the typed views of the maps.
func (d *Dataplane) bind() error {
	m := d.maps
	bindTables(&d.tables, m)
	d.hops = newHops(d.nl, &d.cfg)
	d.slots = newSlots(m[mapOwners])
	if err := d.slots.read(); err != nil {
		return err
	}
	if err := m["settings"].Lookup(uint32(0), &d.settings); err != nil {
		return fmt.Errorf("read map settings: %w", err)
	}
	if d.settings.NhEpoch == 0 {
		d.settings.NhEpoch = 1
	}
	if d.settings.CookieKey == [2]uint64{} {
		// Written with the first settings. It stays: a challenge must be known again by the next daemon's programs.
		d.settings.CookieKey = [2]uint64{rand.Uint64(), rand.Uint64()}
		if err := m["settings"].Put(uint32(0), d.settings); err != nil {
			return fmt.Errorf("write map settings: %w", err)
		}
	}
	var err error
	if d.shared, err = mapShares(m["shares"]); err != nil {
		return err
	}
	d.deniedChanged = true
	d.drops = hub[Sample]{m: m["drop_samples"], decode: d.decode, lost: func(s *Sample, n uint64) { s.Missed = n }}
	d.events = hub[Event]{m: m["events"], decode: d.decodeEvent}
	if err := d.openTracers(); err != nil {
		return err
	}
	return d.readBack()
}

func bindTables(t *tables, m map[string]*ebpf.Map) {
	t.ports = newTable[uint32, bpf.TcPort]("ports", m["ports"])
	t.endpoints = newTable[bpf.TcAddr, bpf.TcEndpoint]("endpoints", m["endpoints"])
	t.macs = newTable[bpf.TcMacKey, bpf.TcEndpoint]("macs", m["macs"])
	t.peers = newTable[bpf.TcAddr, bpf.TcPeer]("peers", m["peers"])
	t.forwards = newTable[bpf.TcServiceKey, bpf.TcForward]("forwards", m["forwards"])
	t.inverses = newTable[bpf.TcServiceKey, bpf.TcInverse]("inverses", m["inverses"])
	t.prefixes = newTable[bpf.TcPrefixKey, uint32]("prefixes", m["prefixes"])
}

// attachNode puts the programs that belong to the node, not to a port, where they belong, and takes them away from where
// they do not any more.
func (d *Dataplane) attachNode(u uplinks) error {
	type place struct {
		program string
		ifindex int
	}
	want := map[place]bool{{progNode, d.dev.bridge}: true, {progParking, d.dev.parking}: true}
	for _, l := range []netlink.Link{u.underlay, u.uplink} {
		want[place{progUnderlay, l.Attrs().Index}] = true
		if d.cfg.XDP != XDPOff {
			want[place{progXDP, l.Attrs().Index}] = true
		}
	}
	if err := d.pins.eachLink(func(program string, ifindex int, l link.Link) error {
		if program == progPort {
			return nil
		}
		if !want[place{program, ifindex}] || program == progXDP && !d.xdpModeIs(ifindex) {
			return detach(d.pins, program, ifindex)
		}
		return nil
	}); err != nil {
		return err
	}
	for w := range want {
		if _, err := attach(d.pins, w.program, d.progs[w.program], w.ifindex, d.cfg.XDP); err != nil {
			if w.program == progXDP {
				err = fmt.Errorf("%w; the driver may not support it: set xdp to generic or off", err)
			}
			return fmt.Errorf("interface %d: %w", w.ifindex, err)
		}
	}
	return nil
}

// xdpModeIs reports whether XDP runs at an interface in the configured mode.
func (d *Dataplane) xdpModeIs(ifindex int) bool {
	l, err := d.nl.LinkByIndex(ifindex)
	if err != nil || l.Attrs().Xdp == nil {
		return false
	}
	switch l.Attrs().Xdp.AttachMode {
	case nl.XDP_ATTACHED_DRV:
		return d.cfg.XDP == XDPNative
	case nl.XDP_ATTACHED_SKB:
		return d.cfg.XDP == XDPGeneric
	}
	return false
}
