package packettest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/ringbuf"
)

// Event is a hint of the programs to user space.
type Event struct {
	Kind     int // enum event_kind
	IP, Peer netip.Addr
	Slot     uint32
	Proto    uint8
	Port     uint16
	PeerPort uint16
}

// Kinds of events.
const (
	Listen = iota + 1
	Bind
	Answered
	Verified
	Kicked
	FirstFrame
)

// TakeEvents reads all events that there are.
func (w *World) TakeEvents() ([]Event, error) {
	r, err := ringbuf.NewReader(w.Tables["events"].Map)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.SetDeadline(time.Now().Add(-time.Second)) // take what there is
	var t *btf.Struct
	if err := w.types.TypeByName("event", &t); err != nil {
		return nil, err
	}
	var out []Event
	for {
		next, err := r.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(next.RawSample) < int(t.Size) {
			return nil, fmt.Errorf("an event of %d bytes, struct event has %d", len(next.RawSample), t.Size)
		}
		v := Value{t, next.RawSample}
		address := func(name string) netip.Addr {
			a := netip.AddrFrom16([16]byte(v.bytes(name))).Unmap()
			if a == netip.IPv6Unspecified() {
				return netip.Addr{}
			}
			return a
		}
		out = append(out, Event{
			Kind: int(v.Uint("kind")), IP: address("ip"), Peer: address("peer"), Slot: uint32(v.Uint("slot")),
			Proto: uint8(v.Uint("proto")), Port: uint16(v.Uint("port")), PeerPort: uint16(v.Uint("peer_port")),
		})
	}
}
