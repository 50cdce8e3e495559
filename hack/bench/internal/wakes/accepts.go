package wakes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/control/wake/reach"
	"github.com/lanyard-project/lanyard/hack/lab"
)

// look is how often it is looked whether a container that is being started has its network namespace already.
const look = 200 * time.Microsecond

// accepts waits until a webspace that is being started could accept a connection from outside, and says since when: its
// address and its default route are up (the kernel's notice of them, in that namespace) and its port listens (a stamp of the
// kernel's). That is what LXD alone needs, seen without a packet that could help or disturb; both LXD's own start and a wake
// are measured by it.
func (w *world) accepts(ctx context.Context, s *lab.Webspace) (at stamp, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err = first(); err == nil {
			at, err = w.watch(ctx, s)
		}
	}()
	<-done
	if err != nil {
		return 0, fmt.Errorf("wait until %s accepts: %w", s.Name, err)
	}
	return at, nil
}

// first puts this thread before all ordinary ones, or else a busy machine would make it see everything late.
func first() error {
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	if err != nil {
		return fmt.Errorf("watch a start in time: %w; likely cause: not root, or a control group without real time; next: run it as root", err)
	}
	return nil
}

func (w *world) watch(ctx context.Context, s *lab.Webspace) (stamp, error) {
	var c wake.Container
	var up stamp
	began := now()
	for up == 0 {
		if err := pause(ctx); err != nil {
			return 0, err
		}
		var err error
		if c, err = w.box.Find(s.Name); err != nil || c.Netns == 0 {
			continue
		}
		up, err = routed(ctx, c, s.IP)
		if errors.Is(err, errGone) {
			continue // it was one on its way down
		}
		if err != nil {
			return 0, err
		}
	}
	for {
		if at, ok := w.listens.take(c.Netns, echo, began); ok {
			return max(at, up), nil
		}
		if err := pause(ctx); err != nil {
			return 0, err
		}
	}
}

func pause(ctx context.Context) error {
	p := unix.NsecToTimespec(look.Nanoseconds())
	_ = unix.Nanosleep(&p, nil)
	return ctx.Err()
}

var errGone = errors.New("the network namespace has gone")

// routed joins the network namespace of a container, and waits there until it has an address and a default route. The thread
// must end afterwards.
func routed(ctx context.Context, c wake.Container, want netip.Addr) (stamp, error) {
	ns, err := unix.Open("/proc/"+strconv.Itoa(c.Pid)+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, errGone
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return 0, errGone
	}
	s, err := reach.Open(false)
	if err != nil {
		return 0, err
	}
	defer unix.Close(s)
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		return 0, err
	}
	dump := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtMsg) // those that are there already
	binary.NativeEndian.PutUint32(dump, uint32(len(dump)))
	binary.NativeEndian.PutUint16(dump[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(dump[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	dump[unix.SizeofNlMsghdr] = unix.AF_INET
	if err := unix.Sendto(s, dump, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	addressed, way := false, false
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(s, buf, 0)
		at := now()
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil { // nothing yet
			if unix.Access("/proc/"+strconv.Itoa(c.Pid), unix.F_OK) != nil {
				return 0, errGone
			}
			continue
		}
		for _, n := range reach.Parse(buf[:n]) {
			addressed, way = addressed || n.Addr == want, way || n.Default
		}
		if addressed && way {
			return at, nil
		}
	}
}
