package wake

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing/synctest"
	"time"

	"github.com/lanyard-project/lanyard/control/ledger"
	"github.com/lanyard-project/lanyard/dataplane"
)

// send parks a packet, as the dataplane would.
func (w *world) send(to *box, proto dataplane.Proto, from netip.AddrPort, port uint16, text string) {
	w.frames <- packetTo(to.target.Addr, proto, from, port, text)
}

// starts counts how often LXD was asked to start it.
func (w *world) starts(b *box) int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return b.started
}

func (w *world) got(list *[]dataplane.Frame) []dataplane.Frame {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(*list)
}

func (w *world) ledger() []ledger.Record {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.records)
}

// state of a webspace, as the engine has it.
func (w *world) state(b *box) State {
	synctest.Wait()
	for _, s := range w.e.States() {
		if s.Addr == b.target.Addr {
			return s
		}
	}
	w.t.Fatalf("the engine does not know %s", b.target.Name)
	return State{}
}

func packetTo(to netip.Addr, proto dataplane.Proto, from netip.AddrPort, port uint16, text string) dataplane.Frame {
	f := dataplane.Frame{IP: to, Proto: proto, Peer: from.Addr(), PeerPort: from.Port(), Port: port, Time: time.Now()}
	head := 20
	if proto == dataplane.UDP {
		head = 8
	}
	b := make([]byte, ethernet+leastIPv4+head+len(text))
	b[12] = 8
	ip := b[ethernet:]
	ip[0], ip[9] = 0x45, byte(proto)
	binary.BigEndian.PutUint16(ip[2:], uint16(leastIPv4+head+len(text)))
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], to.AsSlice())
	l4 := ip[leastIPv4:]
	binary.BigEndian.PutUint16(l4, from.Port())
	binary.BigEndian.PutUint16(l4[2:], port)
	if proto == dataplane.TCP {
		l4[13] = flagSYN
	}
	copy(l4[head:], text)
	f.Data = b
	return f
}

func fromWire(b []byte) dataplane.Frame {
	ip := b[ethernet:]
	return dataplane.Frame{Data: b, IP: netip.AddrFrom4([4]byte(ip[16:])), Proto: dataplane.Proto(ip[9]), Peer: netip.AddrFrom4([4]byte(ip[12:])),
		PeerPort: binary.BigEndian.Uint16(ip[20:]), Port: binary.BigEndian.Uint16(ip[22:])}
}

func client(n int) netip.AddrPort { return netip.AddrPortFrom(outside, uint16(40000+n)) }
