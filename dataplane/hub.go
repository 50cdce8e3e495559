package dataplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// backlog is how many records wait for a slow reader before some are lost.
const backlog = 256

// hub lets several readers see one ring buffer. It is read only while somebody listens: what nobody reads is
// overwritten by nobody, the programs' records then find no room and are left out.
type hub[T any] struct {
	m      *ebpf.Map
	decode func([]byte) (T, bool)
	lost   func(*T, uint64) // notes how many records before this one a reader missed; may be nil

	mu      sync.Mutex
	readers map[chan T]*uint64
	ring    *ringbuf.Reader
	done    chan struct{}
}

// follow calls f for every record until ctx ends.
func (h *hub[T]) follow(ctx context.Context, f func(T)) error {
	ch := make(chan T, backlog)
	done, err := h.join(ch)
	if err != nil {
		return err
	}
	defer h.leave(ch)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return errors.New("the ring buffer was closed")
		case r := <-ch:
			f(r)
		}
	}
}

// join adds a reader; the first one starts the reading.
func (h *hub[T]) join(ch chan T) (done chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring == nil {
		ring, err := ringbuf.NewReader(h.m)
		if err != nil {
			return nil, fmt.Errorf("read the ring buffer: %w", err)
		}
		drain(ring)
		h.ring, h.done = ring, make(chan struct{})
		go h.pump(ring, h.done)
	}
	if h.readers == nil {
		h.readers = map[chan T]*uint64{}
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
func (h *hub[T]) leave(ch chan T) {
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
func (h *hub[T]) pump(ring *ringbuf.Reader, done chan struct{}) {
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
		if s, ok := h.decode(r.RawSample); ok {
			h.tell(s)
		}
	}
}

func (h *hub[T]) tell(r T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch, missed := range h.readers {
		if h.lost != nil {
			h.lost(&r, *missed)
		}
		select {
		case ch <- r:
			*missed = 0
		default:
			*missed++
		}
	}
}
