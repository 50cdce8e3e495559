package packettest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
)

// The functions here say what must hold for any frame at all. They know nothing about the one that went in beyond what
// a plain reading (View) tells, and return nil when all is well.

// Always is true of every program.
func (w *World) Always(in []byte, r Result, drops []DropCount) error {
	switch {
	case r.Verdict == Nonsense:
		return fmt.Errorf("return code %d", r.Code)
	case r.Verdict == Drop && (len(drops) != 1 || drops[0].Packets == 0): // a superframe counts as what it is made of
		return fmt.Errorf("one dropped frame was counted as %v", drops)
	case r.Verdict == Pass && !bytes.Equal(in, r.Out):
		return fmt.Errorf("a frame that is passed on was changed%s", difference(r.Out, in))
	case r.Verdict == Sent && (len(r.Out) < 14 || len(r.Out) > len(in)+TunnelSize+14):
		return fmt.Errorf("%d bytes became %d", len(in), len(r.Out))
	}
	if r.Verdict == Sent && CheckSums(in, w.Port) == nil {
		if err := CheckSums(r.Out, w.Port); err != nil {
			return fmt.Errorf("the frame came in right and went out wrong: %w", err)
		}
	}
	return nil
}

// PortInvariant is what must hold for any frame that WS1 sends, when nobody opened anything before.
func (w *World) PortInvariant(in []byte, r Result, drops []DropCount) error {
	if err := w.Always(in, r, drops); err != nil || r.Verdict == Drop {
		return err
	}
	before := Look(in)
	if !bytes.Equal(before.Src, w.WS1.MAC) {
		return fmt.Errorf("a frame from MAC %v got through", before.Src)
	}
	if before.Type == 0x0800 && (!before.V4 || before.From != w.WS1.IP && !w.isDHCP(before)) {
		return fmt.Errorf("an IPv4 packet from %v got through", before.From)
	}
	out := Look(r.Out)
	if r.Verdict == Pass {
		return w.slowInvariant(out)
	}
	switch r.To {
	case Redirect{ToDevice, w.Ifindex[w.WS1.Name]}:
		if !bytes.Equal(out.Dst, w.WS1.MAC) {
			return fmt.Errorf("turned round to MAC %v", out.Dst)
		}
		return nil
	case Redirect{ToPeer, w.Ifindex[w.WS1.Name]}, Redirect{ToPeer, w.Ifindex[w.WS2.Name]}, Redirect{ToPeer, w.Ifindex[w.Pod.Name]}:
		return w.laneInvariant(out, Host{})
	case Redirect{ToIngress, w.Ifindex[w.Node.Name]}:
		return w.nodeInvariant(out)
	case Redirect{ToDevice, w.Ifindex[Underlay]}, Redirect{ToNeighbor, w.Ifindex[Underlay]}:
		return w.wireInvariant(out)
	}
	return fmt.Errorf("sent %v", r.To)
}

func (w *World) isDHCP(v View) bool {
	return v.From.IsUnspecified() && v.Proto == 17 && v.L4 && v.SPort == 68 && v.DPort == 67
}

// slowInvariant: the bridge gets nothing that the node's own stack would take as opened towards it.
func (w *World) slowInvariant(v View) error {
	// The MAC of a webspace is on no device of the node: the bridge sends such a frame to a port, or nowhere.
	if h, ok := w.byMAC(v.Dst); !v.V4 || ok && h.Flag&1 == 0 {
		return nil
	}
	if (w.infra(v.To) || !w.Prefix.Contains(v.To) && !v.To.IsMulticast() && v.To != IP("255.255.255.255")) && !v.IsAnswer() {
		return fmt.Errorf("the bridge gets a packet to %v", v.To)
	}
	return nil
}

// laneInvariant: a frame into a port, or to an endpoint through a tunnel, is from WS1 (or routed by the gateway) and for
// the one who gets it; infrastructure gets only answers.
func (w *World) laneInvariant(v View, via Host) error {
	if !bytes.Equal(v.Src, w.WS1.MAC) && !bytes.Equal(v.Src, w.Gateway.MAC) {
		return fmt.Errorf("source MAC %v", v.Src)
	}
	h, ok := w.byMAC(v.Dst)
	if !ok || h.VTEP != via.VTEP {
		return fmt.Errorf("a frame to MAC %v goes to where it does not live", v.Dst)
	}
	own := v.From == w.WS1.IP || w.isDHCP(v) ||
		v.From == w.VTEP && v.To == w.WS1.IP && bytes.Equal(v.Src, w.Gateway.MAC) // its own forward: it must not see itself
	if v.Type == 0x0800 && !own {
		return fmt.Errorf("source address %v", v.From)
	}
	if h.Flag&1 != 0 && !(v.Type == 0x0806) && !v.IsAnswer() {
		return fmt.Errorf("infrastructure %s gets something that is no answer", h.Name)
	}
	return nil
}

// nodeInvariant: into the node go answers, and the services of the gateway.
func (w *World) nodeInvariant(v View) error {
	service := v.V4 && v.L4 && (w.isDHCP(v) ||
		v.Proto == 17 && v.SPort == 68 && v.DPort == 67 && (v.To == w.Gateway.IP || v.To == IP("255.255.255.255")) ||
		v.To == w.Gateway.IP && (v.Proto == 17 && v.DPort == 53 || v.Proto == 6 && v.DPort == 53 || v.Proto == 1 && v.ICMPType == 8))
	later := v.V4 && v.Offset > 0 && v.To == w.Gateway.IP // of a service's packet
	switch {
	case !bytes.Equal(v.Dst, w.Node.MAC):
		return fmt.Errorf("into the node with MAC %v", v.Dst)
	case v.Type == 0x0806 || service || later:
		return nil
	case v.IsAnswer() && (v.To == w.Node.IP || v.To == w.Gateway.IP):
		return nil
	}
	return fmt.Errorf("the node gets %v>%v proto %d ports %d>%d", v.From, v.To, v.Proto, v.SPort, v.DPort)
}

// wireInvariant: on the underlay go tunnel frames to peers, with WS1 as the source inside, and packets with the node's
// address to where webspaces may go.
func (w *World) wireInvariant(v View) error {
	if !v.V4 || v.From != w.VTEP {
		return fmt.Errorf("a packet from %v leaves the node", v.From)
	}
	if v.Proto == 17 && v.L4 && v.DPort == w.Port {
		inner := w.Inner(v)
		peer, ok := w.peer(v.To.String())
		if inner == nil || !ok {
			return errors.New("a forged tunnel frame leaves the node")
		}
		i := Look(inner)
		if bytes.Equal(i.Dst, w.Gateway.MAC) { // the answer of a forward that entered there
			if i.From != w.WS1.IP || !bytes.Equal(i.Src, w.WS1.MAC) {
				return fmt.Errorf("an answer from %v", i.From)
			}
			return nil
		}
		return w.laneInvariant(i, Host{VTEP: peer.VTEP})
	}
	if v.Proto != 1 && v.Proto != 6 && v.Proto != 17 {
		return fmt.Errorf("protocol %d leaves the node", v.Proto)
	}
	answer := v.L4 && w.isExternal(v.From, v.SPort, v.Proto) || v.Proto == 1 && v.IsAnswer()
	switch {
	case answer:
		return nil
	case w.denied(v.To):
		return fmt.Errorf("a packet to the denied %v leaves the node", v.To)
	case v.L4 && v.Proto != 1 && (v.SPort < w.NATFirst || v.SPort > w.NATLast):
		return fmt.Errorf("source port %d leaves the node", v.SPort)
	}
	return nil
}

func (n Net) peer(ip string) (Peer, bool) {
	for _, p := range []Peer{n.Peer2, n.Peer3, n.Peer5, n.Foreign} {
		if p.VTEP.String() == ip {
			return p, true
		}
	}
	return Peer{}, false
}

// UnderlayInvariant is what must hold for any frame from the underlay, for the tcx program and its XDP twin.
func (w *World) UnderlayInvariant(in []byte, r Result, drops []DropCount) error {
	if err := w.Always(in, r, drops); err != nil {
		return err
	}
	before, out := Look(in), Look(r.Out)
	inner := w.Inner(before)
	peer, known := w.peer(before.From.String())
	if inner != nil && before.To == w.VTEP && !known && r.Verdict != Drop {
		return fmt.Errorf("a tunnel frame from %v: %v", before.From, r.Verdict)
	}
	if r.Verdict != Sent {
		return nil
	}
	if inner != nil && (!known || peer.Flag&2 != 0) {
		return fmt.Errorf("a tunnel frame from %v was taken", before.From)
	}
	if before.Type != 0x0800 || !before.V4 {
		return errors.New("what is no IPv4 was sent somewhere")
	}
	for _, h := range []Host{w.WS1, w.WS2, w.Pod} {
		if r.To.Ifindex == w.Ifindex[h.Name] && (r.To.How == ToPeer || r.To.How == ToDevice) {
			return w.arriveInvariant(out, h, before, inner)
		}
	}
	switch r.To {
	case Redirect{ToIngress, w.Ifindex[w.Node.Name]}, Redirect{ToDevice, w.Ifindex[w.Node.Name]}:
		if inner == nil || !bytes.Equal(out.Dst, w.Node.MAC) {
			return fmt.Errorf("the node gets MAC %v", out.Dst)
		}
		return nil
	case Redirect{ToDevice, w.Ifindex[Underlay]}, Redirect{ToNeighbor, w.Ifindex[Underlay]}, Redirect{}: // the last: XDP_TX
		return w.relayInvariant(out, before, inner)
	}
	return fmt.Errorf("sent %v", r.To)
}

// arriveInvariant: a webspace gets what a peer tunnelled to its MAC, or a routed packet with the sender's own address.
func (w *World) arriveInvariant(out View, h Host, before View, inner []byte) error {
	if !bytes.Equal(out.Dst, h.MAC) {
		return fmt.Errorf("%s gets MAC %v", h.Name, out.Dst)
	}
	if inner != nil {
		if i := Look(inner); !bytes.Equal(i.Dst, h.MAC) {
			return fmt.Errorf("%s gets a frame for %v", h.Name, i.Dst)
		}
		return nil
	}
	if !bytes.Equal(out.Src, w.Gateway.MAC) || out.To != h.IP || out.From != before.From || before.To != w.VTEP {
		return fmt.Errorf("%s gets %v>%v, which came as %v>%v", h.Name, out.From, out.To, before.From, before.To)
	}
	if h.Flag&1 != 0 {
		return fmt.Errorf("infrastructure %s is reached by a forward", h.Name)
	}
	return nil
}

// relayInvariant: back onto the underlay go forwards to a peer (the client's address inside), answers that entered
// here, and ICMP errors to the sender.
func (w *World) relayInvariant(out, before View, inner []byte) error {
	if t := w.Inner(out); t != nil && out.From == w.VTEP {
		i := Look(t)
		peer, ok := w.peer(out.To.String())
		h, found := w.byMAC(i.Dst)
		if !ok || !found || h.VTEP != peer.VTEP || i.To != h.IP || !bytes.Equal(i.Src, w.Gateway.MAC) {
			return fmt.Errorf("relayed %v>%v to MAC %v through %v", i.From, i.To, net.HardwareAddr(i.Dst), out.To)
		}
		if inner == nil && i.From != before.From {
			return fmt.Errorf("relayed from %v, which came from %v", i.From, before.From)
		}
		return nil
	}
	if out.From != w.VTEP {
		return fmt.Errorf("a packet from %v leaves the node", out.From)
	}
	if inner == nil && out.To != before.From {
		return fmt.Errorf("an error about %v goes to %v", before.From, out.To)
	}
	if inner != nil && out.To != Look(inner).To && out.To != before.From {
		return fmt.Errorf("an answer to %v goes to %v", Look(inner).To, out.To)
	}
	return nil
}
