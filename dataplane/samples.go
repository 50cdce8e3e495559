package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
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

// backlog is how many samples wait for a slow reader before some are lost.
const backlog = 256

// hub lets several readers see the one ring buffer. It is read only while somebody listens: what nobody reads is
// overwritten by nobody, the programs' samples then find no room and are left out.
type hub struct {
	m       *ebpf.Map
	mu      sync.Mutex
	readers map[chan Sample]*uint64
	ring    *ringbuf.Reader
	done    chan struct{}
}

func (h *hub) init(m *ebpf.Map) { h.m, h.readers = m, map[chan Sample]*uint64{} }

// Samples calls f for every sampled drop until ctx ends, and then returns nil; f must not keep Data. Several readers may
// run at once, each sees all samples. A slow f loses samples, and delays nobody.
func (d *Dataplane) Samples(ctx context.Context, f func(Sample)) error {
	ctx, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	ch := make(chan Sample, backlog)
	done, err := d.drops.join(ch, d.decode)
	if err != nil {
		return err
	}
	defer d.drops.leave(ch)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return errors.New("the ring buffer of samples was closed")
		case s := <-ch:
			f(s)
		}
	}
}

// join adds a reader; the first one starts the reading.
func (h *hub) join(ch chan Sample, decode func([]byte) (Sample, bool)) (done chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring == nil {
		ring, err := ringbuf.NewReader(h.m)
		if err != nil {
			return nil, fmt.Errorf("read the samples of drops: %w", err)
		}
		drain(ring)
		h.ring, h.done = ring, make(chan struct{})
		go h.pump(ring, h.done, decode)
	}
	h.readers[ch] = new(uint64)
	return h.done, nil
}

// drain throws away what gathered while nobody listened.
func drain(ring *ringbuf.Reader) {
	ring.SetDeadline(time.Unix(1, 0))
	var r ringbuf.Record
	for range 1 << 16 {
		if err := ring.ReadInto(&r); err != nil {
			break
		}
	}
	ring.SetDeadline(time.Time{})
}

// leave removes a reader; with the last one the reading ends.
func (h *hub) leave(ch chan Sample) {
	h.mu.Lock()
	delete(h.readers, ch)
	var ring *ringbuf.Reader
	done := h.done
	if len(h.readers) == 0 {
		ring, h.ring = h.ring, nil
	}
	h.mu.Unlock()
	if ring != nil {
		ring.Close()
		<-done
	}
}

// pump ends when the ring is closed.
func (h *hub) pump(ring *ringbuf.Reader, done chan struct{}, decode func([]byte) (Sample, bool)) {
	defer close(done)
	var r ringbuf.Record
	for {
		err := ring.ReadInto(&r)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if s, ok := decode(r.RawSample); ok {
			h.tell(s)
		}
	}
}

func (h *hub) tell(s Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch, missed := range h.readers {
		s.Missed = *missed
		select {
		case ch <- s:
			*missed = 0
		default:
			*missed++
		}
	}
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
