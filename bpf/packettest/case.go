package packettest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Case is one row of a table: a frame, and what must become of it.
type Case struct {
	Name    string
	Program string // port, underlay, node, underlay_xdp
	On      string // device
	In      []byte
	GSO     uint32             // size of the segments of a superframe, 0: an ordinary frame
	With    func(*World) error // what is different from the fixture
	After   [][]byte           // frames that the same program saw just before, on the same device
	// Frames gives In and Out when they depend on what went before (a NAT port). It runs after With.
	Frames  func(*World) (in, out []byte, err error)
	Want    Verdict                  //
	Or      []Verdict                // also right: the page leaves it open. Only Pass is useful, and then Out need not match
	To      Redirect                 // Ifindex by ToName
	ToName  string                   // device of To
	Out     []byte                   // nil: as it came in
	Tunnel  *Peer                    // Out travels inside a tunnel frame to that peer
	NAT     func(port uint16) []byte // Out, when only the programs know the NAT port (or ICMP identifier)
	MACs    bool                     // compare the MACs of a frame that leaves by the neighbour table too
	Reason  string                   // counted drop reason; for Drop it must be one
	AnyOut  bool                     // bytes are for Check to judge
	BadSums bool                     // checksums of Out are expected to be as wrong as those of In
	Entries map[string]int           // change of the number of entries of maps
	Check   func(*World, Result) error
	twin    bool
}

// Run runs the case as a subtest on a world fresh from Reset.
func (c Case) Run(t *testing.T, w *World) {
	t.Helper()
	t.Run(c.Name, func(t *testing.T) {
		t.Helper()
		if err := c.run(w); err != nil {
			t.Error(err)
		}
	})
}

// RunTwin runs the case on the XDP program. It may leave any frame to tcx, untouched; what it does itself must have the
// same result. A veth's other end it cannot name, so it sends into this one, which is the same wire.
func (c Case) RunTwin(t *testing.T, w *World) {
	t.Helper()
	c.twin = true
	if c.To.How == ToPeer {
		c.To.How = ToDevice
	}
	c.MACs = false
	c.Run(t, w)
}

// prepare brings the world to the state in which the frame arrives.
func (c *Case) prepare(w *World) error {
	if err := w.Reset(); err != nil {
		return err
	}
	if c.With != nil {
		if err := c.With(w); err != nil {
			return fmt.Errorf("preparation: %w", err)
		}
	}
	if c.Frames != nil {
		var err error
		if c.In, c.Out, err = c.Frames(w); err != nil {
			return fmt.Errorf("preparation: %w", err)
		}
	}
	for i, frame := range c.After {
		r, err := w.Run(c.Program, c.On, frame, 0)
		if err == nil && c.twin && r.Verdict == Pass {
			_, err = w.Run("underlay", c.On, frame, 0)
		}
		if err != nil {
			return fmt.Errorf("frame %d before: %w", i, err)
		}
	}
	return nil
}

func (c Case) run(w *World) error {
	if err := c.prepare(w); err != nil {
		return err
	}
	before := map[string]int{}
	for name := range c.Entries {
		n, err := w.Count(name)
		if err != nil {
			return err
		}
		before[name] = n
	}
	if _, err := w.TakeDrops(); err != nil {
		return err
	}
	got, err := w.Run(c.Program, c.On, c.In, c.GSO)
	if err != nil {
		return err
	}
	if c.twin && got.Verdict == Pass { // untouched, and left to tcx
		c.Want, c.Out, c.Reason, c.Tunnel, c.NAT, c.Entries, c.Check = Pass, nil, "", nil, nil, nil, nil
	}
	if err := c.judge(w, got); err != nil {
		return fmt.Errorf("%w\n  got: %v %v: %s\n  in:  %s", err, got.Verdict, got.To, Describe(got.Out), Describe(c.In))
	}
	for name, want := range c.Entries {
		n, err := w.Count(name)
		if err != nil {
			return err
		}
		if n-before[name] != want {
			return fmt.Errorf("map %s: %+d entries, want %+d", name, n-before[name], want)
		}
	}
	if c.Check != nil {
		return c.Check(w, got)
	}
	return nil
}

func (c Case) judge(w *World, got Result) error {
	drops, err := w.TakeDrops()
	if err != nil {
		return err
	}
	if err := c.judgeDrops(w, got, drops); err != nil {
		return err
	}
	if got.Verdict != c.Want {
		if slices.Contains(c.Or, got.Verdict) {
			return nil
		}
		return fmt.Errorf("verdict %v (code %d, counted %v), want %v", got.Verdict, got.Code, drops, c.Want)
	}
	if got.Verdict == Drop {
		return nil
	}
	if c.ToName != "" && got.Verdict == Sent {
		want := Redirect{c.To.How, w.Ifindex[c.ToName]}
		// Out of a device or by its neighbour table: both leave by the same wire; the first packet of a flow does the latter.
		same := got.To == want || c.To.How == ToDevice && !c.MACs && got.To == Redirect{ToNeighbor, want.Ifindex}
		if !same {
			return fmt.Errorf("sent %v, want %v (%s)", got.To, want, c.ToName)
		}
	}
	if c.AnyOut {
		return nil
	}
	return c.judgeBytes(w, got)
}

func (c Case) judgeDrops(w *World, got Result, drops []DropCount) error {
	if c.Reason != "" && !w.HasReason(c.Reason) {
		return fmt.Errorf("the programs know no drop reason %q: a typing error here, or it was renamed in reasons.h", c.Reason)
	}
	switch {
	case got.Verdict != Drop && len(drops) > 0 && c.Reason == "":
		return fmt.Errorf("verdict %v, yet a drop was counted: %v", got.Verdict, drops)
	case got.Verdict == Drop && len(drops) != 1:
		return fmt.Errorf("one dropped frame must count once under one reason, not %v", drops)
	case c.Reason != "" && (len(drops) != 1 || drops[0].Reason != c.Reason):
		return fmt.Errorf("counted %v, want %s (verdict %v)", drops, c.Reason, got.Verdict)
	case len(drops) == 1 && drops[0].Packets != 1 && c.GSO == 0: // a superframe counts as what it is made of
		return fmt.Errorf("one frame counted as %d", drops[0].Packets)
	}
	return nil
}

func (c Case) judgeBytes(w *World, got Result) error {
	out := got.Out
	if c.Tunnel != nil {
		inner, err := w.Untunnel(out, *c.Tunnel)
		if err != nil {
			return err
		}
		out = inner
	}
	want := c.Out
	switch {
	case c.NAT != nil:
		port, err := w.NATPort(out)
		if err != nil {
			return err
		}
		want = c.NAT(port)
	case want == nil:
		want = c.In
	}
	a, b := out, want
	if got.To.How == ToNeighbor && len(a) > 12 && len(b) > 12 { // the kernel writes the MACs later
		a, b = a[12:], b[12:]
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("bytes differ%s\n  want: %s", difference(a, b), Describe(want))
	}
	sums := CheckSums(out, w.Port)
	if c.BadSums && sums == nil {
		return fmt.Errorf("a broken checksum came out right")
	}
	if !c.BadSums && got.Verdict == Sent {
		return sums
	}
	return nil
}

// NATPort reads the source port (or ICMP identifier) that NAT chose.
func (w *World) NATPort(out []byte) (uint16, error) {
	if len(out) < AtL4+8 {
		return 0, fmt.Errorf("frame of %d bytes after NAT", len(out))
	}
	at := AtIPv4 + int(out[AtIPv4]&15)*4
	if out[AtIPv4+9] == 1 {
		at += 4
	}
	if len(out) < at+2 {
		return 0, fmt.Errorf("frame of %d bytes after NAT", len(out))
	}
	port := binary.BigEndian.Uint16(out[at:])
	if port < w.NATFirst || port > w.NATLast {
		return 0, fmt.Errorf("NAT port %d is outside of %d-%d", port, w.NATFirst, w.NATLast)
	}
	return port, nil
}

// Untunnel checks everything about a tunnel frame to a peer, and gives the frame inside.
func (w *World) Untunnel(out []byte, to Peer) ([]byte, error) {
	if len(out) < TunnelSize+14 {
		return nil, fmt.Errorf("%d bytes are no tunnel frame", len(out))
	}
	if err := CheckSums(out, 0); err != nil {
		return nil, fmt.Errorf("outer headers: %w", err)
	}
	inner := out[TunnelSize:]
	sport := binary.BigEndian.Uint16(out[AtL4:])
	if sport < 49152 {
		return nil, fmt.Errorf("outer source port %d is not in the range of RFC 7348 section 5", sport)
	}
	want := Tunnel(w.UnderlayMAC, to.MAC, w.VTEP, to.VTEP, sport, w.Port, w.VNI, inner)
	copy(want[AtIPv4+4:AtIPv4+6], out[AtIPv4+4:]) // identification: free
	want[AtIPv4+6] = out[AtIPv4+6] & 0x40         // DF: left open
	want[AtIPv4+1] = out[AtIPv4+1]                // TOS: may be inherited (RFC 6040)
	want = FixIPv4(want)
	if !bytes.Equal(out[:TunnelSize], want[:TunnelSize]) {
		return nil, fmt.Errorf("outer headers%s\n  want: %s", difference(out[:TunnelSize], want[:TunnelSize]), Describe(want))
	}
	return inner, nil
}

func difference(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf(": %d bytes, want %d", len(got), len(want))
	}
	var b strings.Builder
	for i, n := 0, 0; i < len(got) && n < 16; i++ {
		if got[i] != want[i] {
			fmt.Fprintf(&b, " [%d] %02x, want %02x;", i, got[i], want[i])
			n++
		}
	}
	return b.String()
}

// Describe gives a frame in words, for messages.
func Describe(frame []byte) string {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: false, NoCopy: true})
	var b strings.Builder
	fmt.Fprintf(&b, "%d bytes", len(frame))
	for _, l := range p.Layers() {
		b.WriteString("\n    ")
		b.WriteString(gopacket.LayerString(l))
	}
	return b.String()
}

// SameBut says nothing when a frame is one of those that are right.
func SameBut(got []byte, right ...[]byte) error {
	for _, r := range right {
		if bytes.Equal(got, r) {
			return CheckSums(got, 0)
		}
	}
	return fmt.Errorf("bytes differ%s\n  want: %s\n  got: %s", difference(got, right[0]), Describe(right[0]), Describe(got))
}
