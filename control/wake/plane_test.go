package wake

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
)

// The world's side of the dataplane, of the ledger and of what the kernel shows.

func (w *world) SetLife(ip netip.Addr, l dataplane.Life) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives = append(w.lives, l)
	return nil
}

func (w *world) Life(netip.Addr) dataplane.Life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pinned
}

func (w *world) Events(ctx context.Context, f func(dataplane.Event)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case v := <-w.events:
			f(v)
		}
	}
}

// WatchNetns works where sockets raise events.
func (w *world) WatchNetns(ip netip.Addr, _ uint32, _ bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.boxes {
		if b.target.Addr == ip && b.silent && !b.lost {
			return errors.New("this kernel has no such tracepoint")
		}
	}
	return nil
}

func (w *world) UnwatchNetns(netip.Addr) error { return nil }

func (w *world) Read(ctx context.Context, f func(dataplane.Frame)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case v := <-w.frames:
			f(v)
		}
	}
}

// Inject is what a container's kernel does with a packet.
func (w *world) Inject(data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := fromWire(data)
	w.injected = append(w.injected, f)
	for _, b := range w.boxes {
		if b.target.Addr != f.IP || b.answered == nil {
			continue
		}
		since := time.Since(b.began)
		if f.Proto == dataplane.TCP && f.Port == webPort && since >= b.address && since >= b.listen && !b.answered[f.Port] {
			b.answered[f.Port] = true
			w.events <- dataplane.Event{Kind: dataplane.EventAnswered, IP: f.IP, Proto: f.Proto, Port: f.Port}
		}
	}
	return nil
}

func (w *world) Refuse(f dataplane.Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, f)
	return nil
}

func (w *world) Add(r ledger.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r)
}

func (w *world) Find(name string) (Container, error) { return Container{Pid: 1, Netns: 2}, nil }

func (w *world) Sockets(_ Container, addr netip.Addr) (Sockets, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Sockets{Open: map[Port]bool{}}
	for _, b := range w.boxes {
		if b.target.Addr == addr {
			since := time.Since(b.began)
			s.Addressed = since >= b.address
			s.Open[Port{dataplane.TCP, webPort}] = since >= b.listen
			s.Open[Port{dataplane.UDP, gamePort}] = since >= b.bind
		}
	}
	for p, open := range s.Open {
		if !open {
			delete(s.Open, p)
		}
	}
	return s, nil
}

func (w *world) Thaw(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boxes[name].thaws++
	return nil
}
