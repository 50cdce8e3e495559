package check

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TrialTimeout bounds the trial: a kernel without JIT may need seconds to verify the programs.
const TrialTimeout = 60 * time.Second

// Names of the attempts, in the order in which they are made; later ones stand on earlier ones.
const (
	TryNamespace = "network namespace"
	TryVeth      = "veth pair"
	TryBridge    = "bridge"
	TryVXLAN     = "VXLAN device"
	TryTCX       = "tcx program"
	TryPrograms  = "Lanyard's programs"
	TryXDP       = "XDP program"
)

// Trial does what a node does, in a network namespace of its own, and says what worked. Asking the kernel this way is
// truer than comparing versions: distributions backport, and containers forbid.
func Trial(ctx context.Context, want Want) []Attempt {
	ctx, cancel := context.WithTimeout(ctx, TrialTimeout)
	defer cancel()
	done := make(chan []Attempt, 1)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and with it the namespace and all that is in it.
		runtime.LockOSThread()
		done <- attempts(want)
	}()
	select {
	case a := <-done:
		return a
	case <-ctx.Done():
		return []Attempt{{Name: TryNamespace, Error: "the trial did not end: " + ctx.Err().Error()}}
	}
}

func attempts(want Want) []Attempt {
	var out []Attempt
	broken := false
	try := func(name string, needed bool, f func() error) {
		if broken {
			out = append(out, Attempt{Name: name, Skip: true})
			return
		}
		a := Attempt{Name: name}
		if err := f(); err != nil {
			a.Error = err.Error()
			broken = needed
		}
		out = append(out, a)
	}
	var veth *netlink.Veth
	try(TryNamespace, true, func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	try(TryVeth, true, func() error {
		var err error
		veth, err = makeVeth()
		return err
	})
	try(TryBridge, false, func() error { return makeBridge(want, veth) })
	try(TryVXLAN, false, func() error { return makeVXLAN(want) })
	try(TryTCX, false, func() error { return attachTCX(veth.Index) })
	try(TryPrograms, false, func() error { return loadPrograms(want) })
	if usesXDP(want) {
		try(TryXDP, false, func() error { return attachXDP(veth.Index) })
	}
	return out
}

func makeVeth() (*netlink.Veth, error) {
	v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "trial1"}
	v.Name = "trial0"
	if err := netlink.LinkAdd(v); err != nil {
		return nil, err
	}
	l, err := netlink.LinkByName(v.Name)
	if err != nil {
		return nil, err
	}
	v.Index = l.Attrs().Index
	return v, netlink.LinkSetUp(l)
}

func makeBridge(want Want, port netlink.Link) error {
	b := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	b.Name = want.Bridge
	if err := netlink.LinkAdd(b); err != nil {
		return err
	}
	return netlink.LinkSetMaster(port, b)
}

func makeVXLAN(want Want) error {
	vx := &netlink.Vxlan{LinkAttrs: netlink.NewLinkAttrs(), VxlanId: int(want.VNI), Port: int(want.TunnelPort), Learning: true}
	vx.Name = want.VXLAN
	if err := netlink.LinkAdd(vx); err != nil {
		return err
	}
	return netlink.LinkSetUp(vx)
}

// attachTCX attaches a program that calls the newest thing that the dataplane stands on: the hook itself (kernel 6.6)
// and redirection into a peer's namespace.
func attachTCX(ifindex int) (err error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "trial", Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXIngress, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R1, 1),
			asm.Mov.Imm(asm.R2, 0),
			asm.FnRedirectPeer.Call(),
			asm.Return(),
		},
	})
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer func() { err = errors.Join(err, prog.Close()) }()
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: prog, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	return l.Close()
}

func attachXDP(ifindex int) (err error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "trial", Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}, // XDP_PASS
	})
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer func() { err = errors.Join(err, prog.Close()) }()
	l, err := link.AttachXDP(link.XDPOptions{Interface: ifindex, Program: prog, Flags: link.XDPGenericMode})
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	return l.Close()
}
