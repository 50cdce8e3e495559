package packettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Verdict of a program, the same words for tcx and XDP.
type Verdict uint8

const (
	Pass     Verdict = iota // to whatever comes next: the kernel's slow path
	Drop                    // gone
	Sent                    // redirected, or turned round
	Nonsense                // a return code that no program should give
)

func (v Verdict) String() string {
	return [...]string{"pass", "drop", "sent", "a nonsensical return code"}[v]
}

// Result is what became of a frame.
type Result struct {
	Verdict Verdict
	Code    int32 // as the program returned it
	Out     []byte
	To      Redirect
}

// World is a node in a namespace of its own: devices, programs, filled maps.
type World struct {
	Net
	Ifindex map[string]int // of the devices, by name
	Tables  map[string]Table
	reasons map[uint64]string // enum drop_reason
	types   *btf.Spec
	filled  bool
	ns      *Namespace
	outside *Namespace     // where the other ends of the devices are
	farEnds map[string]int // their indices, by the name of the near end
	rec     *recorder
	colls   []*ebpf.Collection
	links   []link.Link
	progs   map[string]*ebpf.Program
}

// Open makes a world from the objects, the first of which owns the maps that the others share. sizes overrides
// the number of entries of maps.
func Open(n Net, sizes map[string]uint32, specs ...*ebpf.CollectionSpec) (_ *World, err error) {
	w := &World{Net: n, Tables: map[string]Table{}, progs: map[string]*ebpf.Program{}}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.ns, err = NewNamespace(); err != nil {
		return nil, err
	}
	if w.outside, err = NewNamespace(); err != nil {
		return nil, err
	}
	if err := w.connect(); err != nil {
		return nil, err
	}
	if w.rec, err = newRecorder(); err != nil {
		return nil, err
	}
	shared := map[string]*ebpf.Map{}
	for _, spec := range specs {
		if err := w.load(spec.Copy(), sizes, shared); err != nil {
			return nil, err
		}
	}
	return w, w.Reset()
}

func (w *World) load(spec *ebpf.CollectionSpec, sizes map[string]uint32, shared map[string]*ebpf.Map) error {
	for name, v := range w.constants() {
		c := spec.Variables[name]
		if c == nil {
			continue // not every object uses every constant; Unset tells what nobody set
		}
		b, err := constant(c, v)
		if err != nil {
			return fmt.Errorf("constant %s: %w", name, err)
		}
		if err := c.Set(b); err != nil {
			return fmt.Errorf("constant %s: %w", name, err)
		}
	}
	w.rec.Instrument(spec)
	opts := ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{}}
	for name, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
		if n, ok := sizes[name]; ok {
			m.MaxEntries = n
		}
		if old, ok := shared[name]; ok {
			opts.MapReplacements[name] = old
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, opts)
	if err != nil {
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			return fmt.Errorf("%w\n%s", err, strings.Join(v.Log[max(0, len(v.Log)-40):], "\n"))
		}
		return fmt.Errorf("loading the programs: %w: this needs CAP_BPF and CAP_NET_ADMIN; run the tests as root", err)
	}
	w.colls = append(w.colls, coll)
	for name, p := range coll.Programs {
		w.progs[name] = p
	}
	for name, m := range coll.Maps {
		if s := spec.Maps[name]; !strings.HasPrefix(name, ".") && w.Tables[name].Map == nil {
			w.Tables[name] = Table{m, s.Key, s.Value, new(bool)}
			shared[name] = m
		}
	}
	return w.readReasons(spec)
}

func (w *World) readReasons(spec *ebpf.CollectionSpec) error {
	if w.reasons != nil {
		return nil
	}
	var e *btf.Enum
	if err := spec.Types.TypeByName("drop_reason", &e); err != nil {
		return fmt.Errorf("enum drop_reason: %w", err)
	}
	w.reasons, w.types = map[uint64]string{}, spec.Types
	for _, v := range e.Values {
		w.reasons[v.Value] = strings.ToLower(strings.TrimPrefix(v.Name, "REASON_"))
	}
	return nil
}

// HasReason says whether the programs know a drop reason of that name.
func (w *World) HasReason(name string) bool {
	for _, r := range w.reasons {
		if r == name {
			return true
		}
	}
	return false
}

// Has says whether there is a program of that name.
func (w *World) Has(program string) bool { return w.progs[program] != nil }

// Program gives a loaded program (with recorded redirects).
func (w *World) Program(name string) *ebpf.Program { return w.progs[name] }

// Close ends the world.
func (w *World) Close() {
	for _, l := range w.links {
		_ = l.Close() // its namespace goes away next
	}
	for _, c := range w.colls {
		c.Close()
	}
	if w.rec != nil {
		_ = w.rec.Close() // a descriptor of a test; nothing to be done about it
	}
	for _, ns := range []*Namespace{w.ns, w.outside} {
		if ns != nil {
			ns.Close()
		}
	}
}

// connect makes the devices.
func (w *World) connect() error {
	var fd int
	err := w.outside.Do(func() (err error) {
		if err := quiet(); err != nil {
			return err
		}
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := w.ns.Do(func() (err error) { w.Ifindex, err = w.devices(fd); return err }); err != nil {
		return err
	}
	return w.outside.Do(func() (err error) { w.farEnds, err = farEnds(w.Ifindex); return err })
}

// Runnable says whether the kernel takes a frame for a test run: an Ethernet header, the whole fixed header of IPv4 or IPv6
// (kernel 6.17 on), and less than a page with the room around it. Shorter ones are for the wire.
func Runnable(frame []byte) bool {
	least := 14
	if len(frame) >= least {
		switch binary.BigEndian.Uint16(frame[12:]) {
		case 0x0800:
			least += 20
		case 0x86dd:
			least += 40
		}
	}
	return len(frame) >= least && len(frame) <= 3400
}

// Run gives a frame to a program as if it had come in by (or, for the node program, went out of) a device.
// gsoSize > 0 makes it a superframe.
func (w *World) Run(program, device string, frame []byte, gsoSize uint32) (Result, error) {
	return w.run(program, device, frame, gsoSize, 1)
}

// Repeat is Run many times, as fast as the kernel can, for programs that leave the frame as it is. The result is that of the last.
func (w *World) Repeat(program, device string, frame []byte, times uint32) (Result, error) {
	return w.run(program, device, frame, 0, times)
}

func (w *World) run(program, device string, frame []byte, gsoSize, times uint32) (Result, error) {
	p := w.progs[program]
	if p == nil {
		return Result{}, fmt.Errorf("there is no program %q", program)
	}
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+512), Repeat: times}
	if p.Type() == ebpf.SchedCLS {
		skb := SKB{Ifindex: uint32(w.Ifindex[device]), IngressIfindex: uint32(w.Ifindex[device])}
		if gsoSize > 0 {
			skb.GSOSize, skb.GSOSegs = gsoSize, (uint32(len(frame))+gsoSize-1)/gsoSize
		}
		opts.Context = skb
	}
	var code uint32
	var to Redirect
	err := w.ns.Do(func() (err error) {
		if code, err = p.Run(&opts); err != nil {
			return err
		}
		to, err = w.rec.Take()
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("%s on %s with %d bytes: %w", program, device, len(frame), err)
	}
	return Result{verdict(p.Type(), int32(code)), int32(code), opts.DataOut, to}, nil
}

func verdict(t ebpf.ProgramType, code int32) Verdict {
	if t == ebpf.XDP {
		switch code {
		case 1:
			return Drop
		case 2:
			return Pass
		case 3, 4: // XDP_TX, XDP_REDIRECT
			return Sent
		}
		return Nonsense
	}
	switch code {
	case -1, 0: // TCX_NEXT, TCX_PASS
		return Pass
	case 2:
		return Drop
	case 7:
		return Sent
	}
	return Nonsense
}
