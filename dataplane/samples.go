package dataplane

import (
	"context"
	"fmt"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/bpf"
)

// Hook says which program saw a frame.
type Hook uint8

// String is the name of the program.
func (h Hook) String() string {
	switch bpf.TcHook(h) {
	case bpf.TcHookHOOK_PORT:
		return progPort
	case bpf.TcHookHOOK_UNDERLAY:
		return progUnderlay
	case bpf.TcHookHOOK_NODE:
		return progNode
	case bpf.TcHookHOOK_UNDERLAY_XDP:
		return progXDP
	case bpf.TcHookHOOK_PARKING:
		return progParking
	}
	return fmt.Sprintf("hook_%d", uint8(h))
}

// MarshalText is for JSON.
func (h Hook) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Sample is one frame that was refused, cut to its headers.
type Sample struct {
	Time      time.Time `json:"time"`
	Owner     string    `json:"owner,omitempty"`
	Reason    Reason    `json:"reason"`
	Hook      Hook      `json:"hook"`
	Interface string    `json:"interface,omitempty"`
	Ifindex   int       `json:"ifindex"`
	Length    int       `json:"length"` // of the whole frame, bytes
	// Data is the frame from its Ethernet header on, cut to the sample's length. It is hostile.
	Data []byte `json:"data"`
	// Missed counts the samples before this one that this reader was too slow for.
	Missed uint64 `json:"missed,omitempty"`
}

// Samples calls f for every sampled drop until ctx ends, and then returns nil; f must not keep Data. Several readers may
// run at once, each sees all samples. A slow f loses samples, and delays nobody.
func (d *Dataplane) Samples(ctx context.Context, f func(Sample)) error {
	ctx, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return d.drops.follow(ctx, f)
}

// decode makes sense of one entry of the ring.
func (d *Dataplane) decode(raw []byte) (Sample, bool) {
	var r bpf.TcDropSample
	if len(raw) < int(unsafe.Sizeof(r)) {
		return Sample{}, false
	}
	r = *(*bpf.TcDropSample)(unsafe.Pointer(&raw[0]))
	s := Sample{
		Time: wallClock(r.Time), Reason: Reason(r.Reason), Hook: Hook(r.Hook),
		Ifindex: int(r.Ifindex), Length: int(r.Len),
		Data: append([]byte(nil), r.Data[:min(int(r.Captured), len(r.Data))]...),
	}
	d.mu.Lock()
	s.Owner = d.slots.name[r.Slot]
	if d.wanted != nil {
		s.Interface = d.wanted.ports[s.Ifindex].Name
	}
	d.mu.Unlock()
	if s.Interface == "" {
		if i, err := net.InterfaceByIndex(s.Ifindex); err == nil {
			s.Interface = i.Name
		}
	}
	return s, true
}

// monotonic is the clock of the programs, in ns.
func monotonic() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano())
}

// wallClock turns a time of the programs into one of people.
func wallClock(ns uint64) time.Time {
	return time.Now().Add(time.Duration(int64(ns) - int64(monotonic())))
}
